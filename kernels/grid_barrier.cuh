// grid_barrier.cuh: a barrier over all blocks of a cooperative launch, which can also report to every block whether one
// of them has failed.
//
// A counter in memory only increases: a block adds 1 when it arrives, plus FAILURE if one of its threads has failed,
// and polls until all blocks have arrived. The release publishes what the block has written (the block barrier before
// it includes all of its threads). The acquire makes visible what other blocks have published, and invalidates L1. So
// plain loads after the barrier read what any block wrote before it. Loads through `const __restrict__` pointers may
// not: they may be served by the read-only cache.
//
// Cheaper than the barrier of cooperative groups, and without its headers, which take 2 seconds to compile.

#pragma once
#include "common.cuh"

class GridBarrier {
    using Word = unsigned long long;
    static constexpr int FAILURE_BIT = 40;  // the bits below count arrivals
    static constexpr Word FAILURE = 1ull << FAILURE_BIT;
    static constexpr int MOST_POLLS = 1 << 24;  // about ten seconds; a launch takes 0.05

    Word* words;  // the counter, and its value at the start of the launch
    Word target, failures;

    // Add `number` to the counter (1, or FAILURE + 1), and wait until all blocks have done so; return the counter, in
    // every thread.
    DEVICE Word pass(Word number) {
        __shared__ Word now;
        target += gridDim.x;
#ifdef GPUNET_SIMULATOR
        if (threadIdx.x == 0) atomicAdd(words, number);
        cooperative_groups::this_grid().sync();
        if (threadIdx.x == 0) now = atomicAdd(words, 0ull);
#else
        if (threadIdx.x == 0) {
            asm volatile("red.release.gpu.global.add.u64 [%0], %1;" ::"l"(words), "l"(number) : "memory");
            Word seen;
            int polls = 0;
            do {
                asm volatile("ld.acquire.gpu.global.u64 %0, [%1];" : "=l"(seen) : "l"(words) : "memory");
                if (++polls == MOST_POLLS) __trap();  // fail rather than hang
            } while (static_cast<long long>((seen - target) << (64 - FAILURE_BIT)) < 0);  // compares the arrivals only
            now = seen;
        }
#endif
        __syncthreads();
        return now;
    }

public:
    DEVICE explicit GridBarrier(Word* counter)
        : words(counter), target(counter[1] % FAILURE), failures(counter[1] / FAILURE) {}

    // Wait for all blocks.
    DEVICE void wait() {
        __syncthreads();
        pass(1);
    }

    // Wait for all blocks; return whether a thread of any block has failed. Two such barriers need a plain barrier in
    // between: a fast block arrives at the next barrier before a slow one has read the counter at this one.
    DEVICE bool wait_for_failures(bool failed) {
        const Word before = failures;
        failures = pass(__syncthreads_or(failed) ? FAILURE + 1 : 1) / FAILURE;
        return failures != before;
    }

    // After the last barrier of a launch: store the counter for the next launch.
    DEVICE void finish() const {
        if (blockIdx.x == 0 && threadIdx.x == 0) words[1] = failures * FAILURE + target % FAILURE;
    }
};

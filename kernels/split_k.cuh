// split_k.cuh: split-K in one launch: several blocks share a tile of a matrix product, each with its part of k.
//
// If c has too few tiles to fill the GPU, grid.y blocks share each of them. A block stores its partial sums in the
// order of its threads: coalesced for any layout of the tile. The last block to arrive adds up the parts in the order
// of k and runs the epilogue. So the result is bit-identical on every run, unlike with float atomics, and no second
// launch is needed, which in a small net costs more than the product.

#pragma once
#include "common.cuh"

// Add up the `sums`, a struct of T only, of the threads of all blocks of a tile; return whether this thread has the
// total. All threads of the block call it; THREADS of them hold sums, numbered by `thread`, and the others pass `holds`
// = false. `parts` has room for the sums of the whole grid, `arrivals` a zero per tile of the batch.
template <int THREADS, typename Sums>
DEVICE bool sum_splits(Sums& sums, T* parts, unsigned* arrivals, int thread, bool holds) {
    constexpr int COUNT = sizeof(Sums) / sizeof(T);
    constexpr int IN_FLIGHT = COUNT <= 32 ? 64 / COUNT : 1;  // parts loaded together, limited by registers
    if (gridDim.y == 1) return holds;
    const size_t tile = blockIdx.z * gridDim.x + blockIdx.x;
    T* values = reinterpret_cast<T*>(&sums);
    T* part = parts + tile * gridDim.y * COUNT * THREADS + thread;
    T* mine = part + blockIdx.y * COUNT * THREADS;
    if (holds)
#pragma unroll
        for (int i = 0; i < COUNT; ++i) mine[i * THREADS] = values[i];
    if (!last_to_arrive(arrivals + tile, gridDim.y) || !holds) return false;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) values[i] = 0;
#pragma unroll 1  // no registers are left
    for (unsigned split = 0; split < gridDim.y; split += IN_FLIGHT, part += IN_FLIGHT * COUNT * THREADS) {
        T loaded[IN_FLIGHT][COUNT];
#pragma unroll
        for (int s = 0; s < IN_FLIGHT; ++s)
#pragma unroll
            for (int i = 0; i < COUNT; ++i)  // from L2, where the other blocks' writes are
                loaded[s][i] = split + s < gridDim.y ? __ldcg(part + (s * COUNT + i) * THREADS) : T(0);
#pragma unroll
        for (int s = 0; s < IN_FLIGHT; ++s)
#pragma unroll
            for (int i = 0; i < COUNT; ++i) values[i] += loaded[s][i];
    }
    return true;
}

// async_copy.cuh: asynchronous copies from global to shared memory, which take no registers (cp.async, sm_80 and later;
// on earlier architectures the copy is synchronous).
//
// A thread issues copies, commits them as a group, and waits until at most a given number of its groups are in flight.
// The data is then visible to the thread itself, and to the block after the next barrier.

#pragma once
#include "common.cuh"

constexpr bool ASYNCHRONOUS = __CUDA_ARCH__ >= 800;  // synchronous copies take registers

// Copy BYTES (4, 8 or 16), to which both addresses are aligned. If `there` is 0, read nothing and write zeros. It is
// not a bool: the compiler would turn the test of a single bit into a shift, which the predicate does not need.
template <int BYTES>
DEVICE void copy_async(void* shared, const void* global, unsigned there) {
#if __CUDA_ARCH__ >= 800
    const unsigned place = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    if constexpr (BYTES == 16)  // bypasses L1, as no other thread of the block reads it
        asm volatile(
            "{.reg .pred p; .reg .b32 bytes; setp.ne.b32 p, %2, 0; selp.b32 bytes, 16, 0, p;"
            "cp.async.cg.shared.global [%0], [%1], 16, bytes;}" ::"r"(place), "l"(global), "r"(there) : "memory");
    else
        asm volatile(
            "{.reg .pred p; .reg .b32 bytes; setp.ne.b32 p, %2, 0; selp.b32 bytes, %3, 0, p;"
            "cp.async.ca.shared.global [%0], [%1], %3, bytes;}" ::"r"(place), "l"(global), "r"(there), "n"(BYTES)
            : "memory");
#else
    struct alignas(BYTES) Piece {
        unsigned words[BYTES / 4];
    };
    *static_cast<Piece*>(shared) = there ? *static_cast<const Piece*>(global) : Piece{};
#endif
}

// Commit the copies issued since the last group as a group, which may be empty.
DEVICE void commit_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Wait until at most the last PENDING of this thread's groups are in flight.
template <int PENDING>
DEVICE void wait_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

// async_copy.cuh: copies from memory to shared memory that no register holds on the way and that nobody waits for until
// they are needed (cp.async, sm_80 and later; on earlier ones the copy is done at once).
//
// A thread issues copies, closes a group of them, and waits until at most so many of its groups are on their way; what
// it copied is there for itself then, and for the block after the next barrier.

#pragma once
#include "common.cuh"

#ifdef GPUNET_SIMULATOR
using simulator::commit_copies;
using simulator::copy_async;
using simulator::wait_copies;
#else

// Copy BYTES, 4, 8 or 16, to which both addresses are aligned; put zeros where the source is not there.
template <int BYTES>
DEVICE void copy_async(void* shared, const void* global, bool there) {
#if __CUDA_ARCH__ >= 800
    const unsigned place = static_cast<unsigned>(__cvta_generic_to_shared(shared));
    const int bytes = there ? BYTES : 0;
    if constexpr (BYTES == 16)  // past L1, as no other thread of the block reads it again
        asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(place), "l"(global), "r"(bytes) : "memory");
    else
        asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(place), "l"(global), "n"(BYTES), "r"(bytes)
                     : "memory");
#else
    struct alignas(BYTES) Piece {
        unsigned words[BYTES / 4];
    };
    *static_cast<Piece*>(shared) = there ? *static_cast<const Piece*>(global) : Piece{};
#endif
}

// Close the group of the copies issued since the last one; it may be empty.
DEVICE void commit_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

// Wait until at most PENDING of this thread's groups are on their way: those closed last.
template <int PENDING>
DEVICE void wait_copies() {
#if __CUDA_ARCH__ >= 800
    asm volatile("cp.async.wait_group %0;" ::"n"(PENDING) : "memory");
#endif
}

#endif

// What a compiled kernel and the runtime know of each other.
//
// A kernel is ordinary C++ that the machine's compiler built with device.h included first. Wherever CUDA would leave
// the single thread (a barrier, a shuffle, an atomic), device.h calls one of the functions declared here.
#pragma once
#include <cstddef>
#include <cstdint>
#include <source_location>

#include "vectors.h"

namespace simulator {

using Where = std::source_location;  // as a default argument it names the line of the call in the .cu

struct Position {  // plain structs only: g++ takes no object with a constructor for a constant
  uint3 thread, block, block_size, grid_size;
};

#ifdef GPUNET_RUNTIME
extern Position position __asm__("gpunet_position");
#else
// Constant as far as one thread of a kernel can see, hence `const`: the compiler may keep the values across barriers,
// and the sanitizer does not instrument reads of them.
extern const Position position __asm__("gpunet_position");
#endif

// Dynamic shared memory has one address for the whole life of the process, so `extern __shared__` may stand anywhere.
constexpr size_t kMaxSharedBytes = 227 * 1024;
extern char dynamic_shared[kMaxSharedBytes] __asm__("gpunet_dynamic_shared");

// Abandons the launch: the kernel itself has found something wrong.
[[noreturn]] void trap(const char* what, Where where);

// Waits for the whole block; returns how many of its threads came with a predicate that is not zero.
unsigned block_barrier(int predicate, Where where);
void grid_barrier(Where where);

// A warp collective: each lane brings its bytes, and the last lane to arrive runs the operation once for all of them.
constexpr int kWarpSize = 32;
constexpr int kLaneBytes = 80;  // the fragments of a wmma product of 32 x 8 x 16

struct Lanes {
  alignas(16) char in[kWarpSize][kLaneBytes];
  alignas(16) char out[kWarpSize][kLaneBytes];
  unsigned misread;  // set by the operation: the lanes that took a value from a lane that brought none
};

using Operation = void (*)(Lanes& lanes, unsigned participants);
enum class Memory { unordered, ordered };  // does the collective order the lanes' accesses to memory?

void warp_collective(unsigned mask, Operation operation, const void* in, size_t in_bytes, void* out, size_t out_bytes,
                     Memory memory, Where where);

// Returns the lanes of the warp that are at this place together.
unsigned active_mask(Where where);

// Announces an atomic access to the checker (whose caller's address is the place that a finding names) and a fence.
// `store`: it reads nothing. `rounds`: it may be part of a sum of floating-point numbers, whose last bits depend on the order.
void atomic_access(void* address, size_t bytes, bool rounds, bool store = false);
void thread_fence();

inline int linear_thread() {
  const auto& [thread, block, size, grid] = position;
  return thread.x + size.x * (thread.y + size.y * thread.z);
}

inline int lane() { return linear_thread() % kWarpSize; }

}  // namespace simulator

// The interface between a compiled kernel and the runtime.
//
// A kernel is compiled as ordinary C++ after device.h. Where CUDA threads interact (a barrier, a shuffle, an atomic),
// device.h calls one of the functions declared here.
#pragma once
#include <cstddef>
#include <cstdint>
#include <source_location>

#include "vectors.h"

namespace simulator {

using Where = std::source_location;  // as a default argument it names the line of the call in the .cu

struct Position {  // without a constructor, so that g++ treats it as a constant
  uint3 thread, block, block_size, grid_size;
};

#ifdef GPUNET_RUNTIME
extern Position position __asm__("gpunet_position");
#else
// Constant for one thread of a kernel, hence `const`: the compiler may keep the values across barriers, and the
// sanitizer does not instrument reads of them.
extern const Position position __asm__("gpunet_position");
#endif

// Dynamic shared memory has the same address throughout the process, so `extern __shared__` may be declared anywhere.
constexpr size_t kMaxSharedBytes = 227 * 1024;
extern char dynamic_shared[kMaxSharedBytes] __asm__("gpunet_dynamic_shared");

// Records an error that the kernel itself detects, and stops the thread.
[[noreturn]] void trap(const char* what, Where where);

// Waits for the whole block; returns the number of its threads that passed a nonzero predicate.
unsigned block_barrier(int predicate, Where where);
void grid_barrier(Where where);

// A warp collective: each lane stores its operands, and the last lane to arrive runs the operation once for all lanes.
constexpr int kWarpSize = 32;
constexpr int kLaneBytes = 80;  // the fragments of a wmma product of 32 x 8 x 16

struct Lanes {
  alignas(16) char in[kWarpSize][kLaneBytes];
  alignas(16) char out[kWarpSize][kLaneBytes];
  unsigned misread;  // set by the operation: the lanes that read from a lane that does not participate
};

using Operation = void (*)(Lanes& lanes, unsigned participants);
enum class Memory { unordered, ordered };  // does the collective order the lanes' accesses to memory?

void warp_collective(unsigned mask, Operation operation, const void* in, size_t in_bytes, void* out, size_t out_bytes,
                     Memory memory, Where where);

// Returns the lanes of the warp that wait at the same __activemask.
unsigned active_mask(Where where);

// Pass an atomic access and a fence to the checker. A finding names the caller's line. `store`: the atomic does not
// read. `rounds`: it may add floating-point numbers, in which case the last bits of the sum depend on the order.
// `compares`: it is a compare-and-swap.
void atomic_access(void* address, size_t bytes, bool rounds, bool store = false, bool compares = false);
void thread_fence();

// memmove and memset, checked. A finding names the caller's line. Only in mode "check".
void* move_bytes(void* to, const void* from, size_t bytes);
void* fill_bytes(void* to, int value, size_t bytes);

inline int linear_thread() {
  const auto& [thread, block, size, grid] = position;
  return thread.x + size.x * (thread.y + size.y * thread.z);
}

inline int lane() { return linear_thread() % kWarpSize; }

}  // namespace simulator

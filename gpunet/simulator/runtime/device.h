// The CUDA device API for g++: included in front of every kernel source.
//
// `__global__`, `__shared__` and `__launch_bounds__` are not defined here: rewrite.py replaces these words.
#pragma once
#include "runtime.h"

#define __device__
#define __host__
#define __constant__
#define __managed__
#define __align__(n) __attribute__((aligned(n)))
#define __grid_constant__

// A kernel that is inlined into its uninstrumented caller would not be checked. In check mode device functions are
// inlined into the kernel, because g++ does not instrument the read of a struct passed by value, such as f(vectors[i]).
#ifdef __SANITIZE_THREAD__
#define GPUNET_KERNEL __attribute__((noinline, flatten))
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__
#else
#define GPUNET_KERNEL __attribute__((noinline))
#define __forceinline__ inline  // always_inline would double the compile time, and kernels would run no faster
#define __noinline__ __attribute__((noinline))
#endif

#define threadIdx (::simulator::position.thread)
#define blockIdx (::simulator::position.block)
#define blockDim (::simulator::position.block_size)
#define gridDim (::simulator::position.grid_size)
constexpr int warpSize = simulator::kWarpSize;

// A GPU runs no destructors of variables; the simulator must not run them when the process ends.
extern "C" {
__attribute__((used)) int __cxa_atexit(void (*)(void*), void*, void*) { return 0; }
__attribute__((used)) int __cxa_thread_atexit(void (*)(void*), void*, void*) { return 0; }
}

#include "device_math.h"
#include "device_integer.h"
#include "warp.h"
#include "async_copy.h"
#include "shared_layout.h"
#include "atomics.h"
#include "cooperative.h"
#include "tensor_core.h"

inline void __syncthreads(simulator::Where where = simulator::Where::current()) {
  simulator::block_barrier(0, where);
}

inline int __syncthreads_count(int predicate, simulator::Where where = simulator::Where::current()) {
  return simulator::block_barrier(predicate, where);
}

inline int __syncthreads_or(int predicate, simulator::Where where = simulator::Where::current()) {
  return simulator::block_barrier(predicate, where) != 0;
}

inline int __syncthreads_and(int predicate, simulator::Where where = simulator::Where::current()) {
  return simulator::block_barrier(!predicate, where) == 0;
}

inline void __threadfence() { simulator::thread_fence(); }
inline void __threadfence_system() { simulator::thread_fence(); }
inline void __threadfence_block() {}

// Loads and stores with cache hints, which the simulator ignores.
#define GPUNET_LOAD(NAME)                                              \
  template <class T>                                                   \
  inline __attribute__((always_inline)) T NAME(const T* pointer) {     \
    return *pointer;                                                   \
  }
#define GPUNET_STORE(NAME)                                                                          \
  template <class T>                                                                                \
  inline __attribute__((always_inline)) void NAME(T* pointer, std::type_identity_t<T> value) {      \
    *pointer = value;                                                                               \
  }
GPUNET_LOAD(__ldg)
GPUNET_LOAD(__ldca)
GPUNET_LOAD(__ldcg)
GPUNET_LOAD(__ldcs)
GPUNET_LOAD(__ldcv)
GPUNET_LOAD(__ldlu)
GPUNET_STORE(__stcg)
GPUNET_STORE(__stcs)
GPUNET_STORE(__stwb)
GPUNET_STORE(__stwt)
#undef GPUNET_LOAD
#undef GPUNET_STORE

inline void __trap(simulator::Where where = simulator::Where::current()) { simulator::trap("trap", where); }
#define assert(condition) \
  ((condition) ? void() : simulator::trap("assertion failed: " #condition, simulator::Where::current()))

// Prints in the first run only of a checked launch, which runs twice.
extern "C" int printf(const char* format, ...) __asm__("gpunet_printf");

// The clock of the host's CPU.
inline long long clock64() { return static_cast<long long>(__builtin_ia32_rdtsc()); }
inline long clock() { return static_cast<long>(clock64()); }
inline void __nanosleep(unsigned) {}
inline void __brkpt() {}
#define __builtin_assume(condition) static_cast<void>(0)

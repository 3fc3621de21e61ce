// Atomics. All threads are fibers of one host thread, so a plain read and write is atomic.
// atomic_access passes each to the checker.
#pragma once
#include <type_traits>

#include "runtime.h"

namespace simulator {

// Not instrumented, because atomic_access has passed the access to the checker.
template <class T, class Update>
__attribute__((no_sanitize("thread", "undefined"))) inline T exchange(T* address, Update update) {
  const T old = *address;
  *address = update(old);
  return old;
}

template <class T>
using Same = std::type_identity_t<T>;  // so that T is deduced from the pointer only, as with CUDA's overloads

// Integer atomics wrap around.
template <class T>
__attribute__((no_sanitize("undefined"))) inline T wrapping_add(T a, T b) {
  if constexpr (std::is_integral_v<T>) {
    using Unsigned = std::make_unsigned_t<T>;
    return static_cast<T>(static_cast<Unsigned>(a) + static_cast<Unsigned>(b));
  } else {
    return a + b;
  }
}

}  // namespace simulator

// always_inline, so that the return address of atomic_access is in the kernel's line, which findings name.
#define GPUNET_ATOMIC(NAME, EXPRESSION)                                                                     \
  template <class T>                                                                                        \
  inline __attribute__((always_inline)) T NAME(T* address, simulator::Same<T> value) {                      \
    simulator::atomic_access(address, sizeof(T), !std::is_integral_v<T>);                                   \
    return simulator::exchange(address, [value](T old) -> T { return EXPRESSION; });                        \
  }                                                                                                         \
  template <class T>                                                                                        \
  inline __attribute__((always_inline)) T NAME##_block(T* address, simulator::Same<T> value) {              \
    return NAME(address, value);                                                                            \
  }                                                                                                         \
  template <class T>                                                                                        \
  inline __attribute__((always_inline)) T NAME##_system(T* address, simulator::Same<T> value) {             \
    return NAME(address, value);                                                                            \
  }
GPUNET_ATOMIC(atomicAdd, simulator::wrapping_add(old, value))
GPUNET_ATOMIC(atomicSub, simulator::wrapping_add(old, static_cast<T>(-value)))
GPUNET_ATOMIC(atomicMax, old < value ? value : old)
GPUNET_ATOMIC(atomicMin, value < old ? value : old)
GPUNET_ATOMIC(atomicExch, (static_cast<void>(old), value))
GPUNET_ATOMIC(atomicAnd, old & value)
GPUNET_ATOMIC(atomicOr, old | value)
GPUNET_ATOMIC(atomicXor, old ^ value)
GPUNET_ATOMIC(atomicInc, old >= value ? 0 : old + 1)
GPUNET_ATOMIC(atomicDec, old == 0 || old > value ? value : old - 1)
#undef GPUNET_ATOMIC

#define GPUNET_ATOMIC_CAS(NAME)                                                                                  \
  template <class T>                                                                                             \
  inline __attribute__((always_inline)) T NAME(T* address, simulator::Same<T> expected, simulator::Same<T> value) { \
    simulator::atomic_access(address, sizeof(T), true, false, true); /* it can implement any operation */        \
    return simulator::exchange(address, [=](T old) -> T { return old == expected ? value : old; });              \
  }
GPUNET_ATOMIC_CAS(atomicCAS)
GPUNET_ATOMIC_CAS(atomicCAS_block)
GPUNET_ATOMIC_CAS(atomicCAS_system)
#undef GPUNET_ATOMIC_CAS

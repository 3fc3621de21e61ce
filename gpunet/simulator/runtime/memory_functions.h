// memcpy, memmove and memset of kernels. g++ does not instrument them, so in check mode functions of the runtime check
// both ranges. Only copies of a constant 1, 2 or 4 bytes are left to g++, which makes them loads and stores.
#pragma once
#include <cstring>

#include "runtime.h"

#ifdef __SANITIZE_THREAD__

// always_inline, so that findings name the kernel's line.
inline __attribute__((always_inline)) void* gpunet_memmove(void* to, const void* from, size_t bytes) {
  if (__builtin_constant_p(bytes) && (bytes == 1 || bytes == 2 || bytes == 4))
    return __builtin_memmove(to, from, bytes);
  return simulator::move_bytes(to, from, bytes);
}
inline __attribute__((always_inline)) void* gpunet_memset(void* to, int value, size_t bytes) {
  return simulator::fill_bytes(to, value, bytes);
}
namespace std {
using ::gpunet_memmove;
using ::gpunet_memset;
}  // namespace std

#define memcpy gpunet_memmove
#define memmove gpunet_memmove
#define memset gpunet_memset

#endif

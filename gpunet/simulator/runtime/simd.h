// The SIMD functions on two or four parts of a word, such as __vadd4. Included only if a source calls one.
#pragma once
#include "device_integer.h"

namespace simulator {

template <class T, class Function>
constexpr unsigned each_part(unsigned a, unsigned b, Function function) {
  constexpr unsigned mask = ~0u >> (32 - 8 * sizeof(T));
  unsigned result = 0;
  for (unsigned i = 0; i < 4 / sizeof(T); ++i)
    result |= (static_cast<unsigned>(function(int{part<T>(a, i)}, int{part<T>(b, i)})) & mask) << i * 8 * sizeof(T);
  return result;
}

}  // namespace simulator

// S and U: the signed and the unsigned type of a part; N: the number of parts in a word.
#define GPUNET_SIMD(NAME, T, EXPRESSION)                                                         \
  inline unsigned NAME(unsigned x, unsigned y) {                                                 \
    return simulator::each_part<T>(x, y, [](int a, int b) { return EXPRESSION; });               \
  }
#define GPUNET_SIMD_COMPARISON(NAME, N, S, U, OPERATOR)         \
  GPUNET_SIMD(__vcmp##NAME##s##N, S, -(a OPERATOR b))           \
  GPUNET_SIMD(__vcmp##NAME##u##N, U, -(a OPERATOR b))           \
  GPUNET_SIMD(__vset##NAME##s##N, S, a OPERATOR b)              \
  GPUNET_SIMD(__vset##NAME##u##N, U, a OPERATOR b)
#define GPUNET_SIMD_FUNCTIONS(N, S, U, LOW, HIGH, TOP)                     \
  GPUNET_SIMD(__vadd##N, U, a + b)                                         \
  GPUNET_SIMD(__vsub##N, U, a - b)                                         \
  GPUNET_SIMD(__vaddss##N, S, max(LOW, min(HIGH, a + b)))                  \
  GPUNET_SIMD(__vsubss##N, S, max(LOW, min(HIGH, a - b)))                  \
  GPUNET_SIMD(__vaddus##N, U, min(TOP, a + b))                             \
  GPUNET_SIMD(__vsubus##N, U, max(0, a - b))                               \
  GPUNET_SIMD(__vmaxs##N, S, max(a, b))                                    \
  GPUNET_SIMD(__vmaxu##N, U, max(a, b))                                    \
  GPUNET_SIMD(__vmins##N, S, min(a, b))                                    \
  GPUNET_SIMD(__vminu##N, U, min(a, b))                                    \
  GPUNET_SIMD(__vavgu##N, U, (a + b + 1) >> 1)                             \
  GPUNET_SIMD(__vhaddu##N, U, (a + b) >> 1)                                \
  GPUNET_SIMD(__vabsdiffs##N, S, a > b ? a - b : b - a)                    \
  GPUNET_SIMD(__vabsdiffu##N, U, a > b ? a - b : b - a)                    \
  GPUNET_SIMD(__vcmpeq##N, U, -(a == b))                                   \
  GPUNET_SIMD(__vcmpne##N, U, -(a != b))                                   \
  GPUNET_SIMD_COMPARISON(lt, N, S, U, <)                                   \
  GPUNET_SIMD_COMPARISON(le, N, S, U, <=)                                  \
  GPUNET_SIMD_COMPARISON(gt, N, S, U, >)                                   \
  GPUNET_SIMD_COMPARISON(ge, N, S, U, >=)                                  \
  inline unsigned __vneg##N(unsigned v) { return __vsub##N(0, v); }        \
  inline unsigned __vabs##N(unsigned v) { return __vabsdiffs##N(v, 0); }
GPUNET_SIMD_FUNCTIONS(4, signed char, unsigned char, -128, 127, 255)
GPUNET_SIMD_FUNCTIONS(2, short, unsigned short, -32768, 32767, 65535)
#undef GPUNET_SIMD
#undef GPUNET_SIMD_COMPARISON
#undef GPUNET_SIMD_FUNCTIONS

inline unsigned __vsadu4(unsigned a, unsigned b) { return __dp4a(__vabsdiffu4(a, b), 0x01010101u, 0u); }

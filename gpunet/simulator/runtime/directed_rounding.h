// Arithmetic that rounds down, up or towards zero, such as __fadd_rd. Included only if a source calls it.
#pragma once
#include "small_float.h"

namespace simulator {

enum class Direction { zero, down, up };

// Rounds a double to a float. The double may be rounded itself, but never onto a float unless it is exact.
inline float directed(double v, Direction direction) {
  const float near = static_cast<float>(v);
  const double got = near;
  if (direction == Direction::zero && fabs(got) > fabs(v)) return nextafterf(near, 0.0f);
  if (direction == Direction::down && got > v) return nextafterf(near, -__builtin_huge_valf());
  if (direction == Direction::up && got < v) return nextafterf(near, __builtin_huge_valf());
  return near;
}

}  // namespace simulator

#define GPUNET_DIRECTED(SUFFIX, D)                                                                                     \
  inline float __fadd_##SUFFIX(float a, float b) { return simulator::directed(simulator::add_to_odd(a, b), D); }       \
  inline float __fsub_##SUFFIX(float a, float b) { return simulator::directed(simulator::add_to_odd(a, -b), D); }      \
  inline float __fmul_##SUFFIX(float a, float b) { return simulator::directed(double{a} * b, D); }                     \
  inline float __fdiv_##SUFFIX(float a, float b) { return simulator::directed(double{a} / b, D); }                     \
  inline float __frcp_##SUFFIX(float a) { return simulator::directed(1 / double{a}, D); }                              \
  inline float __fsqrt_##SUFFIX(float a) { return simulator::directed(sqrt(double{a}), D); }                           \
  inline float __fmaf_##SUFFIX(float a, float b, float c) {                                                            \
    return simulator::directed(simulator::add_to_odd(double{a} * b, c), D);                                            \
  }                                                                                                                    \
  inline float __double2float_##SUFFIX(double a) { return simulator::directed(a, D); }                                 \
  inline float __int2float_##SUFFIX(int a) { return simulator::directed(a, D); }                                       \
  inline float __uint2float_##SUFFIX(unsigned a) { return simulator::directed(a, D); }
GPUNET_DIRECTED(rz, simulator::Direction::zero)
GPUNET_DIRECTED(rd, simulator::Direction::down)
GPUNET_DIRECTED(ru, simulator::Direction::up)
#undef GPUNET_DIRECTED

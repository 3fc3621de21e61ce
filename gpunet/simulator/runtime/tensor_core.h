// Tensor-core products, for a kernel that wraps `mma.sync` in one function and calls these `#ifdef GPUNET_SIMULATOR`.
#pragma once
#include "warp.h"

namespace simulator {

// cvt.rna.tf32.f32: rounds to 10 bits of mantissa, ties away from zero; infinities and NaN stay.
inline unsigned float_to_tf32(float value) {
  const unsigned bits = __float_as_uint(value);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return (finite ? bits + 0x1000u : bits) & 0xffffe000u;
}

struct MmaArgument {
  float d[4];
  unsigned a[4], b[2];
};

// The hardware does not look at the lowest 13 bits of an operand.
inline float tf32_operand(unsigned bits) { return __uint_as_float(bits & 0xffffe000u); }

// Which element of the 16x8 A, the 8x8 B and the 16x8 D a lane holds in its i-th register: PTX ISA, section
// "Matrix fragments for mma.m16n8k8", type .tf32.
inline void mma_m16n8k8_tf32_lanes(Lanes& lanes, unsigned participants) {
  float a[16][8], b[8][8];
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const auto& fragment = in<MmaArgument>(lanes, lane);
    const int group = lane / 4, member = lane % 4;
    for (int i = 0; i < 4; ++i) a[group + 8 * (i % 2)][member + 4 * (i / 2)] = tf32_operand(fragment.a[i]);
    for (int i = 0; i < 2; ++i) b[member + 4 * i][group] = tf32_operand(fragment.b[i]);
  }
  if (participants != ~0u) lanes.misread = participants;
  for (int lane = 0; lane < kWarpSize; ++lane) {
    const int group = lane / 4, member = lane % 4;
    for (int i = 0; i < 4; ++i) {
      float sum = in<MmaArgument>(lanes, lane).d[i];
      for (int k = 0; k < 8; ++k) sum += a[group + 8 * (i / 2)][k] * b[k][2 * member + i % 2];
      reinterpret_cast<float*>(lanes.out[lane])[i] = sum;
    }
  }
}

// mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32: d += a b, by all 32 lanes together.
inline void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], GPUNET_WHERE) {
  const MmaArgument argument{{d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  warp_collective(~0u, mma_m16n8k8_tf32_lanes, &argument, sizeof argument, d, sizeof d, Memory::unordered, where);
}

}  // namespace simulator

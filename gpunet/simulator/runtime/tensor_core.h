// Tensor-core products, for kernels that call these functions `#ifdef GPUNET_SIMULATOR`.
#pragma once
#include "warp.h"

namespace simulator {

// cvt.rna.tf32.f32: rounds to 10 bits of mantissa, ties away from zero. Infinities and NaN are unchanged.
inline unsigned float_to_tf32(float value) {
  const unsigned bits = __float_as_uint(value);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return (finite ? bits + 0x1000u : bits) & 0xffffe000u;
}

// The elements of a register of an operand: one TF32, two halves, four bytes.
struct Tf32 {
  static constexpr int kPerRegister = 1;
  // The hardware ignores the lowest 13 bits of an operand.
  static float element(unsigned bits, int) { return __uint_as_float(bits & 0xffffe000u); }
};

template <class Element, class Sum, int K>
struct Mma {
  static constexpr int kPer = Element::kPerRegister, kRegistersOfA = K / (2 * kPer), kRegistersOfB = K / (4 * kPer);
  struct Argument {
    Sum d[4];
    unsigned a[kRegistersOfA], b[kRegistersOfB];
  };

  // The element of A (16 x K), B (K x 8) and D (16 x 8) that a lane holds in its i-th register: PTX ISA, section
  // "Matrix fragments for mma.m16n8k...".
  static void run(Lanes& lanes, unsigned participants) {
    using Value = decltype(Element::element(0, 0));
    Value a[16][K], b[K][8];
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const auto& fragment = in<Argument>(lanes, lane);
      const int group = lane / 4, first = lane % 4 * kPer;
      for (int j = 0; j < kPer; ++j) {
        for (int i = 0; i < kRegistersOfA; ++i)
          a[group + 8 * (i % 2)][first + 4 * kPer * (i / 2) + j] = Element::element(fragment.a[i], j);
        for (int i = 0; i < kRegistersOfB; ++i) b[first + 4 * kPer * i + j][group] = Element::element(fragment.b[i], j);
      }
    }
    if (participants != ~0u) lanes.misread = participants;
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const int group = lane / 4, member = lane % 4;
      for (int i = 0; i < 4; ++i) {
        Sum sum = in<Argument>(lanes, lane).d[i];
        for (int k = 0; k < K; ++k) sum += a[group + 8 * (i / 2)][k] * b[k][2 * member + i % 2];
        reinterpret_cast<Sum*>(lanes.out[lane])[i] = sum;
      }
    }
  }
};

// d += a b, by all 32 lanes together.
template <class Element, int K, class Sum, int A, int B>
inline void mma_m16n8(Sum (&d)[4], const unsigned (&a)[A], const unsigned (&b)[B], Where where) {
  using Product = Mma<Element, Sum, K>;
  static_assert(A == Product::kRegistersOfA && B == Product::kRegistersOfB);
  typename Product::Argument argument;
  std::memcpy(argument.d, d, sizeof d);
  std::memcpy(argument.a, a, sizeof a);
  std::memcpy(argument.b, b, sizeof b);
  warp_collective(~0u, Product::run, &argument, sizeof argument, d, sizeof d, Memory::unordered, where);
}

// mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32: d += a b, by all 32 lanes together.
inline void mma_m16n8k8_tf32(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], GPUNET_WHERE) {
  mma_m16n8<Tf32, 8>(d, a, b, where);
}

}  // namespace simulator

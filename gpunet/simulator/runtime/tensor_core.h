// Products on tensor cores (mma.sync), as inline PTX issues them. wmma.h uses the same rounding.
#pragma once
#include "warp.h"

namespace simulator {

// cvt.rna.tf32.f32: rounds to 10 bits of mantissa, ties away from zero. Infinities and NaN are unchanged.
inline unsigned float_to_tf32(float value) {
  const unsigned bits = __float_as_uint(value);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return (finite ? bits + 0x1000u : bits) & 0xffffe000u;
}

// cvt.rn.tf32.f32: the same, ties to even.
inline unsigned float_to_even_tf32(float value) {
  const unsigned bits = __float_as_uint(value);
  const bool finite = (bits & 0x7f800000u) != 0x7f800000u;
  return (finite ? bits + 0xfffu + (bits >> 13 & 1) : bits) & 0xffffe000u;
}

// The elements of a register of an operand: one TF32, two halves, four bytes.
struct Tf32 {
  static constexpr int kPerRegister = 1;
  // The hardware ignores the lowest 13 bits of an operand.
  static float element(unsigned bits, int) { return __uint_as_float(bits & 0xffffe000u); }
};

// Adds the products of the 16 x k matrix a and the k x 8 matrix b to the 16 x 8 matrix d, rounded as by tensor cores.
void add_products(float* d, const float* a, const float* b, int k);

inline void add_products(int* d, const int* a, const int* b, int k) {
  for (int i = 0; i < 16 * 8; ++i)
    for (int j = 0; j < k; ++j) d[i] += a[i / 8 * k + j] * b[j * 8 + i % 8];
}

template <class Element, class Sum, int K>
struct Mma {
  static constexpr int kPer = Element::kPerRegister, kRegistersOfA = K / (2 * kPer), kRegistersOfB = K / (4 * kPer);
  struct Argument {
    Sum d[4];
    unsigned a[kRegistersOfA], b[kRegistersOfB];
  };

  // The element of A (16 x K), B (K x 8) and D (16 x 8) that a lane holds in its i-th register: PTX ISA, section
  // "Matrix fragments for mma.m16n8k...".
  __attribute__((no_sanitize("thread", "undefined"))) static void run(Lanes& lanes, unsigned participants) {
    Sum a[16][K], b[K][8], d[16][8];
    for (int lane = 0; lane < kWarpSize; ++lane) {
      const auto& fragment = *reinterpret_cast<const Argument*>(lanes.in[lane]);
      const int group = lane / 4, member = lane % 4, first = member * kPer;
      for (int j = 0; j < kPer; ++j) {
        for (int i = 0; i < kRegistersOfA; ++i)
          a[group + 8 * (i % 2)][first + 4 * kPer * (i / 2) + j] = Element::element(fragment.a[i], j);
        for (int i = 0; i < kRegistersOfB; ++i) b[first + 4 * kPer * i + j][group] = Element::element(fragment.b[i], j);
      }
      for (int i = 0; i < 4; ++i) d[group + 8 * (i / 2)][2 * member + i % 2] = fragment.d[i];
    }
    if (participants != ~0u) lanes.misread = participants;
    add_products(d[0], a[0], b[0], K);
    for (int lane = 0; lane < kWarpSize; ++lane)
      for (int i = 0; i < 4; ++i)
        reinterpret_cast<Sum*>(lanes.out[lane])[i] = d[lane / 4 + 8 * (i / 2)][2 * (lane % 4) + i % 2];
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

}  // namespace simulator

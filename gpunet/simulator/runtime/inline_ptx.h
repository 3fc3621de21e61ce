// Functions for PTX instructions that are more than one operator; inline_ptx.py translates `asm` into calls of them.
#pragma once
#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "tensor_core.h"

namespace simulator {

using pred = bool;
using b8 = unsigned char;
using u8 = unsigned char;
using s8 = signed char;
using b16 = unsigned short;
using u16 = unsigned short;
using s16 = short;
using b32 = unsigned;
using u32 = unsigned;
using s32 = int;
using b64 = unsigned long long;
using u64 = unsigned long long;
using s64 = long long;
using f32 = float;
using f64 = double;

// Between a floating-point and an integer register of the same size, copies the bits.
template <class To, class From>
inline void move(To& to, From from) {
  if constexpr (std::is_floating_point_v<To> != std::is_floating_point_v<From> && sizeof(To) == sizeof(From))
    to = bits_as<To>(from);
  else
    to = static_cast<To>(from);
}

template <class T>
inline unsigned bits32(T value) {
  return bits_as<unsigned>(value);
}

template <class Small>
inline unsigned pair_of(float high, float low) {
  return unsigned{Small(high).__x} << 16 | unsigned{Small(low).__x};
}

inline unsigned lop3(unsigned a, unsigned b, unsigned c, unsigned table) {
  unsigned result = 0;
  for (int bit = 0; bit < 32; ++bit)
    result |= (table >> ((a >> bit & 1) << 2 | (b >> bit & 1) << 1 | (c >> bit & 1)) & 1) << bit;
  return result;
}

// always_inline, here and below, so that findings name the kernel's line.
template <class T, class... Results>
inline __attribute__((always_inline)) void load(const void* from, Results&... results) {
  typedef T Vector __attribute__((vector_size(sizeof...(results) * sizeof(T))));
  const Vector values = *static_cast<const Vector*>(from);
  int i = 0;
  ((results = values[i++]), ...);
}

template <class T, class... Values>
inline __attribute__((always_inline)) void store(void* to, Values... values) {
  typedef T Vector __attribute__((vector_size(sizeof...(values) * sizeof(T))));
  *static_cast<Vector*>(to) = Vector{static_cast<T>(values)...};
}

template <int BYTES>
inline __attribute__((always_inline)) void copy_or_zero_fill(size_t shared, const void* global, unsigned bytes,
                                                             Where where) {
  if (bytes != 0 && bytes != BYTES) trap("cp.async with partial zero-fill is not simulated", where);
  copy_async<BYTES>(shared_pointer(shared), global, bytes != 0);
}

// ldmatrix: lane 8 i + j loads row j of matrix i, eight 16-bit numbers; each lane gets two numbers of each matrix.
using MatrixRow = uint4;

template <int COUNT, bool TRANSPOSED>
void load_matrices_lanes(Lanes& lanes, unsigned participants) {
  if (participants != ~0u) lanes.misread = participants;
  for (int lane = 0; lane < kWarpSize; ++lane)
    for (int i = 0; i < COUNT; ++i) {
      const auto element = [&](int row, int column) {
        return reinterpret_cast<const unsigned short*>(lanes.in[8 * i + row])[column];
      };
      const int major = lane / 4, minor = lane % 4 * 2;
      const unsigned low = TRANSPOSED ? element(minor, major) : element(major, minor);
      const unsigned high = TRANSPOSED ? element(minor + 1, major) : element(major, minor + 1);
      reinterpret_cast<unsigned*>(lanes.out[lane])[i] = high << 16 | low;
    }
}

template <bool TRANSPOSED, class... Results>
inline __attribute__((always_inline)) void load_matrices(size_t address, Where where, Results&... results) {
  constexpr int count = sizeof...(results);
  MatrixRow row{};
  if (lane() < 8 * count) row = *reinterpret_cast<const MatrixRow*>(shared_pointer(address));
  unsigned registers[count];
  warp_collective(~0u, load_matrices_lanes<count, TRANSPOSED>, &row, sizeof row, registers, sizeof registers,
                  Memory::unordered, where);
  int i = 0;
  ((results = registers[i++]), ...);
}

template <class Format>
struct Halves {
  static constexpr int kPerRegister = 2;
  static float element(unsigned bits, int i) { return Format::widen(static_cast<unsigned short>(bits >> 16 * i)); }
};
template <class Byte>
struct Bytes {
  static constexpr int kPerRegister = 4;
  static int element(unsigned bits, int i) { return static_cast<Byte>(bits >> 8 * i); }
};
using F16 = Halves<HalfFormat>;
using Bf16 = Halves<BfloatFormat>;

// d = a b + c; `given` contains the registers of a, b and c.
template <class Element, int K, class Sum>
inline void mma_of(Sum (&d)[4], const unsigned* given, Where where) {
  using Product = Mma<Element, Sum, K>;
  unsigned a[Product::kRegistersOfA], b[Product::kRegistersOfB];
  std::memcpy(a, given, sizeof a);
  std::memcpy(b, given + Product::kRegistersOfA, sizeof b);
  mma_m16n8<Element, K>(d, a, b, where);
}

template <class Element, int K, class Sum, class... Operands>
inline void mma(Sum& d0, Sum& d1, Sum& d2, Sum& d3, Where where, Operands... operands) {
  const unsigned given[] = {bits32(operands)...};
  Sum d[4];
  std::memcpy(d, given + sizeof...(operands) - 4, sizeof d);
  mma_of<Element, K>(d, given, where);
  d0 = d[0], d1 = d[1], d2 = d[2], d3 = d[3];
}

// The same for 16-bit accumulators, two in a register.
template <class Element, int K, class... Operands>
inline void mma(auto& d0, auto& d1, Where where, Operands... operands) {
  const unsigned given[] = {bits32(operands)...};
  float d[4];
  for (int i = 0; i < 4; ++i) d[i] = Element::element(given[sizeof...(operands) - 2 + i / 2], i % 2);
  mma_of<Element, K>(d, given, where);
  d0 = pair_of<__half>(d[1], d[0]);
  d1 = pair_of<__half>(d[3], d[2]);
}

}  // namespace simulator

// Integer intrinsics: byte permutations, dot products, averages.
#pragma once
#include "device_math.h"

namespace simulator {

// Returns byte or half-word i of a word, depending on T.
template <class T>
constexpr T part(unsigned word, int i) {
  return static_cast<T>(word >> i * 8 * sizeof(T));
}

// Adds with wrap-around.
template <class A, class B, class C>
constexpr C dot_of_bytes(A a, B b, C c) {
  using ByteOfA = std::conditional_t<std::is_signed_v<A>, signed char, unsigned char>;
  using ByteOfB = std::conditional_t<std::is_signed_v<B>, signed char, unsigned char>;
  unsigned sum = c;
  for (int i = 0; i < 4; ++i) sum += part<ByteOfA>(a, i) * part<ByteOfB>(b, i);
  return sum;
}

// Multiplies the two half-words of a by two bytes of b, the low ones or the high ones.
template <class A, class B>
constexpr A dot_of_halves(A a, B b, A c, int first) {
  using Half = std::conditional_t<std::is_signed_v<A>, short, unsigned short>;
  using Byte = std::conditional_t<std::is_signed_v<A>, signed char, unsigned char>;
  unsigned sum = c;
  for (int i = 0; i < 2; ++i) sum += part<Half>(a, i) * part<Byte>(b, first + i);
  return sum;
}

}  // namespace simulator

inline unsigned __byte_perm(unsigned x, unsigned y, unsigned selector) {
  const unsigned long long bytes = static_cast<unsigned long long>(y) << 32 | x;
  unsigned result = 0;
  for (int i = 0; i < 4; ++i) result |= (bytes >> 8 * (selector >> 4 * i & 7) & 0xff) << 8 * i;
  return result;
}

inline int __dp4a(int a, int b, int c) { return simulator::dot_of_bytes(a, b, c); }
inline unsigned __dp4a(unsigned a, unsigned b, unsigned c) { return simulator::dot_of_bytes(a, b, c); }
inline int __dp2a_lo(int a, int b, int c) { return simulator::dot_of_halves(a, b, c, 0); }
inline int __dp2a_hi(int a, int b, int c) { return simulator::dot_of_halves(a, b, c, 2); }
inline unsigned __dp2a_lo(unsigned a, unsigned b, unsigned c) { return simulator::dot_of_halves(a, b, c, 0); }
inline unsigned __dp2a_hi(unsigned a, unsigned b, unsigned c) { return simulator::dot_of_halves(a, b, c, 2); }

inline unsigned __umul24(unsigned a, unsigned b) { return (a & 0xffffff) * (b & 0xffffff); }
inline unsigned __usad(unsigned a, unsigned b, unsigned c) { return (a > b ? a - b : b - a) + c; }
inline unsigned __sad(int a, int b, unsigned c) {
  return (a > b ? unsigned(a) - unsigned(b) : unsigned(b) - unsigned(a)) + c;
}
inline int __hadd(int a, int b) { return static_cast<int>((static_cast<long long>(a) + b) >> 1); }
inline int __rhadd(int a, int b) { return static_cast<int>((static_cast<long long>(a) + b + 1) >> 1); }
inline unsigned __uhadd(unsigned a, unsigned b) { return static_cast<unsigned>((0ull + a + b) >> 1); }
inline unsigned __urhadd(unsigned a, unsigned b) { return static_cast<unsigned>((1ull + a + b) >> 1); }
inline unsigned long long __brevll(unsigned long long v) {
  const unsigned long long low = __brev(static_cast<unsigned>(v)), high = __brev(static_cast<unsigned>(v >> 32));
  return low << 32 | high;
}

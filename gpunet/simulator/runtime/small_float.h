// half and bfloat16: 16-bit numbers. Every operation is rounded once, to nearest (ties to even), as on hardware: the
// result is computed in double precision, which has enough extra bits that rounding it again equals rounding once.
#pragma once
#include "device_math.h"
#include "vectors.h"

namespace simulator {

// Adds with round-to-odd: an inexact sum gets an odd last bit, so that rounding the sum again equals rounding once.
inline double add_to_odd(double a, double b) {
  const double sum = a + b, rounded_b = sum - a, error = (a - (sum - rounded_b)) + (b - rounded_b);
  long long bits = bits_as<long long>(sum);
  if (!isfinite(sum) || error == 0 || bits & 1) return sum;
  return bits_as<double>((error > 0) == (sum > 0) ? bits + 1 : bits - 1);
}

struct HalfFormat {
  static constexpr unsigned short kNan = 0x7fff;
  static float widen(unsigned short bits) { return bits_as<_Float16>(bits); }
  static unsigned short round(double v) { return isnan(v) ? kNan : bits_as<unsigned short>(static_cast<_Float16>(v)); }
};

struct BfloatFormat {
  static constexpr unsigned short kNan = 0x7fff;
  static float widen(unsigned short bits) { return bits_as<float>(static_cast<unsigned>(bits) << 16); }
  static unsigned short round(double v) {
    if (isnan(v)) return kNan;
    float near = static_cast<float>(v);  // made odd below (round-to-odd), so that the last rounding is the only one
    unsigned bits = bits_as<unsigned>(near);
    if (isfinite(near) && near != v && !(bits & 1)) bits += (fabs(v) > fabs(static_cast<double>(near))) ? 1 : -1;
    else if (isinf(near) && !isinf(v)) bits -= 1;  // the largest float, which is odd
    return static_cast<unsigned short>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
  }
};

template <class Format>
struct SmallFloat {
  unsigned short __x;

  SmallFloat() = default;
  template <class Number>
    requires std::is_arithmetic_v<Number>
  SmallFloat(Number v) : __x(Format::round(static_cast<double>(v))) {}
  static SmallFloat from_bits(unsigned short bits) {
    SmallFloat result;
    result.__x = bits;
    return result;
  }
  operator float() const { return Format::widen(__x); }

  // `rounding`: -1 down, 1 up, 0 towards zero.
  static SmallFloat directed(double v, int rounding) {
    SmallFloat near(v);
    const double got = near;
    const bool high = rounding == 0 ? fabs(got) > fabs(v) : rounding < 0 && got > v, low = rounding > 0 && got < v;
    if (!high && !low) return near;
    if (near.__x << 1 == 0) return from_bits(high ? 0x8001 : 1);  // from zero to the smallest number
    return from_bits(near.__x + ((got > 0) == low ? 1 : -1));
  }

  friend SmallFloat operator+(SmallFloat a, SmallFloat b) { return double{a} + double{b}; }
  friend SmallFloat operator-(SmallFloat a, SmallFloat b) { return double{a} - double{b}; }
  friend SmallFloat operator*(SmallFloat a, SmallFloat b) { return double{a} * double{b}; }
  friend SmallFloat operator/(SmallFloat a, SmallFloat b) { return double{a} / double{b}; }
  friend SmallFloat operator-(SmallFloat a) { return from_bits(a.__x ^ 0x8000); }
  friend SmallFloat operator+(SmallFloat a) { return a; }
  friend SmallFloat& operator+=(SmallFloat& a, SmallFloat b) { return a = a + b; }
  friend SmallFloat& operator-=(SmallFloat& a, SmallFloat b) { return a = a - b; }
  friend SmallFloat& operator*=(SmallFloat& a, SmallFloat b) { return a = a * b; }
  friend SmallFloat& operator/=(SmallFloat& a, SmallFloat b) { return a = a / b; }
  friend bool operator==(SmallFloat a, SmallFloat b) { return float{a} == float{b}; }
  friend bool operator!=(SmallFloat a, SmallFloat b) { return float{a} != float{b}; }
  friend bool operator<(SmallFloat a, SmallFloat b) { return float{a} < float{b}; }
  friend bool operator<=(SmallFloat a, SmallFloat b) { return float{a} <= float{b}; }
  friend bool operator>(SmallFloat a, SmallFloat b) { return float{a} > float{b}; }
  friend bool operator>=(SmallFloat a, SmallFloat b) { return float{a} >= float{b}; }
};

template <class Format>
inline SmallFloat<Format> fused(SmallFloat<Format> a, SmallFloat<Format> b, SmallFloat<Format> c) {
  return add_to_odd(double{a} * double{b}, double{c});
}

template <class Format>
struct alignas(4) SmallFloat2 {
  SmallFloat<Format> x, y;
  friend SmallFloat2 operator+(SmallFloat2 a, SmallFloat2 b) { return {a.x + b.x, a.y + b.y}; }
  friend SmallFloat2 operator-(SmallFloat2 a, SmallFloat2 b) { return {a.x - b.x, a.y - b.y}; }
  friend SmallFloat2 operator*(SmallFloat2 a, SmallFloat2 b) { return {a.x * b.x, a.y * b.y}; }
  friend SmallFloat2 operator/(SmallFloat2 a, SmallFloat2 b) { return {a.x / b.x, a.y / b.y}; }
  friend SmallFloat2& operator+=(SmallFloat2& a, SmallFloat2 b) { return a = a + b; }
  friend SmallFloat2& operator*=(SmallFloat2& a, SmallFloat2 b) { return a = a * b; }
  friend bool operator==(SmallFloat2 a, SmallFloat2 b) { return a.x == b.x && a.y == b.y; }
};

}  // namespace simulator

// The functions of both headers, for a type S and its pair type P. Operations on pairs are elementwise.
#define GPUNET_SMALL_UNARY(S, P, NAME, NAME2, EXPRESSION) \
  inline S NAME(S a) { return EXPRESSION; }               \
  inline P NAME2(P a) { return {NAME(a.x), NAME(a.y)}; }
#define GPUNET_SMALL_BINARY(S, P, NAME, NAME2, EXPRESSION) \
  inline S NAME(S a, S b) { return EXPRESSION; }           \
  inline P NAME2(P a, P b) { return {NAME(a.x, b.x), NAME(a.y, b.y)}; }
#define GPUNET_SMALL_COMPARISON(S, P, NAME, OPERATOR)                                             \
  inline bool __h##NAME(S a, S b) { return a OPERATOR b; }                                        \
  inline P __h##NAME##2(P a, P b) { return {S(a.x OPERATOR b.x), S(a.y OPERATOR b.y)}; }          \
  inline bool __hb##NAME##2(P a, P b) { return a.x OPERATOR b.x && a.y OPERATOR b.y; }
#define GPUNET_SMALL_FLOAT(S, P)                                                                    \
  GPUNET_SMALL_BINARY(S, P, __hadd, __hadd2, a + b)                                                 \
  GPUNET_SMALL_BINARY(S, P, __hsub, __hsub2, a - b)                                                 \
  GPUNET_SMALL_BINARY(S, P, __hmul, __hmul2, a * b)                                                 \
  GPUNET_SMALL_BINARY(S, P, __hdiv, __h2div, a / b)                                                 \
  GPUNET_SMALL_BINARY(S, P, __hadd_rn, __hadd2_rn, a + b)                                           \
  GPUNET_SMALL_BINARY(S, P, __hmul_rn, __hmul2_rn, a * b)                                           \
  GPUNET_SMALL_BINARY(S, P, __hmax, __hmax2, isnan(float{a}) ? b : isnan(float{b}) || a > b ? a : b) \
  GPUNET_SMALL_BINARY(S, P, __hmin, __hmin2, isnan(float{a}) ? b : isnan(float{b}) || a < b ? a : b) \
  inline S __hfma(S a, S b, S c) { return simulator::fused(a, b, c); }                              \
  inline P __hfma2(P a, P b, P c) { return {__hfma(a.x, b.x, c.x), __hfma(a.y, b.y, c.y)}; }        \
  GPUNET_SMALL_UNARY(S, P, __hneg, __hneg2, -a)                                                     \
  GPUNET_SMALL_UNARY(S, P, __habs, __habs2, S::from_bits(a.__x & 0x7fff))                           \
  GPUNET_SMALL_UNARY(S, P, hsqrt, h2sqrt, sqrt(double{a}))                                          \
  GPUNET_SMALL_UNARY(S, P, hrsqrt, h2rsqrt, 1 / sqrt(double{a}))                                    \
  GPUNET_SMALL_UNARY(S, P, hrcp, h2rcp, 1 / double{a})                                              \
  GPUNET_SMALL_UNARY(S, P, hexp, h2exp, exp(double{a}))                                             \
  GPUNET_SMALL_UNARY(S, P, hexp2, h2exp2, exp2(double{a}))                                          \
  GPUNET_SMALL_UNARY(S, P, hexp10, h2exp10, exp10(double{a}))                                       \
  GPUNET_SMALL_UNARY(S, P, hlog, h2log, log(double{a}))                                             \
  GPUNET_SMALL_UNARY(S, P, hlog2, h2log2, log2(double{a}))                                          \
  GPUNET_SMALL_UNARY(S, P, hlog10, h2log10, log10(double{a}))                                       \
  GPUNET_SMALL_UNARY(S, P, hsin, h2sin, sin(double{a}))                                             \
  GPUNET_SMALL_UNARY(S, P, hcos, h2cos, cos(double{a}))                                             \
  GPUNET_SMALL_UNARY(S, P, htanh, h2tanh, tanh(double{a}))                                          \
  GPUNET_SMALL_UNARY(S, P, hfloor, h2floor, floor(double{a}))                                       \
  GPUNET_SMALL_UNARY(S, P, hceil, h2ceil, ceil(double{a}))                                          \
  GPUNET_SMALL_UNARY(S, P, htrunc, h2trunc, trunc(double{a}))                                       \
  GPUNET_SMALL_UNARY(S, P, hrint, h2rint, rint(double{a}))                                          \
  GPUNET_SMALL_COMPARISON(S, P, eq, ==)                                                             \
  GPUNET_SMALL_COMPARISON(S, P, ne, !=)                                                             \
  GPUNET_SMALL_COMPARISON(S, P, lt, <)                                                              \
  GPUNET_SMALL_COMPARISON(S, P, le, <=)                                                             \
  GPUNET_SMALL_COMPARISON(S, P, gt, >)                                                              \
  GPUNET_SMALL_COMPARISON(S, P, ge, >=)                                                             \
  inline bool __hisnan(S a) { return isnan(float{a}); }                                             \
  inline int __hisinf(S a) { return isinf(float{a}) ? (a > S(0) ? 1 : -1) : 0; }                    \
  inline float __low2float(P a) { return a.x; }                                                     \
  inline float __high2float(P a) { return a.y; }

// Conversions, whose names contain the type: NAME is "half" or "bfloat16", PAIR is "half2" or "bfloat162".
#define GPUNET_SMALL_CONVERSIONS(S, P, NAME, PAIR)                        \
  inline S __float2##NAME(float v) { return v; }                               \
  inline S __double2##NAME(double v) { return v; }                             \
  inline S __float2##NAME##_rn(float v) { return v; }                          \
  inline S __float2##NAME##_rz(float v) { return S::directed(v, 0); }          \
  inline S __float2##NAME##_rd(float v) { return S::directed(v, -1); }         \
  inline S __float2##NAME##_ru(float v) { return S::directed(v, 1); }          \
  inline S __int2##NAME##_rn(int v) { return v; }                              \
  inline S __uint2##NAME##_rn(unsigned v) { return v; }                        \
  inline S __short2##NAME##_rn(short v) { return v; }                          \
  inline S __ushort2##NAME##_rn(unsigned short v) { return v; }                \
  inline float __##NAME##2float(S v) { return v; }                             \
  inline int __##NAME##2int_rn(S v) { return __float2int_rn(v); }              \
  inline int __##NAME##2int_rz(S v) { return __float2int_rz(v); }              \
  inline int __##NAME##2int_rd(S v) { return __float2int_rd(v); }              \
  inline int __##NAME##2int_ru(S v) { return __float2int_ru(v); }              \
  inline unsigned __##NAME##2uint_rn(S v) { return __float2uint_rn(v); }       \
  inline unsigned __##NAME##2uint_rz(S v) { return __float2uint_rz(v); }       \
  inline S __ushort_as_##NAME(unsigned short bits) { return S::from_bits(bits); } \
  inline S __short_as_##NAME(short bits) { return S::from_bits(bits); }        \
  inline unsigned short __##NAME##_as_ushort(S v) { return v.__x; }            \
  inline short __##NAME##_as_short(S v) { return v.__x; }                      \
  inline P __float2##PAIR##_rn(float v) { return {v, v}; }                     \
  inline P __floats2##PAIR##_rn(float a, float b) { return {a, b}; }           \
  inline P __float22##PAIR##_rn(float2 v) { return {v.x, v.y}; }               \
  inline float2 __##PAIR##2float2(P v) { return {v.x, v.y}; }                  \
  inline P __##NAME##2##PAIR(S v) { return {v, v}; }                           \
  inline P __halves2##PAIR(S a, S b) { return {a, b}; }                        \
  inline P make_##PAIR(S a, S b) { return {a, b}; }                            \
  inline S __low2##NAME(P v) { return v.x; }                                   \
  inline S __high2##NAME(P v) { return v.y; }                                  \
  inline P __low2##PAIR(P v) { return {v.x, v.x}; }                            \
  inline P __high2##PAIR(P v) { return {v.y, v.y}; }                           \
  inline P __lows2##PAIR(P a, P b) { return {a.x, b.x}; }                      \
  inline P __highs2##PAIR(P a, P b) { return {a.y, b.y}; }

// Math and bit functions of the device. They are the host's, so results may differ from a GPU's in the last bits.
#pragma once
#include <cstring>
#include <type_traits>

// Declared here, because <cmath> and <algorithm> would add 35,000 lines and double the compile time. As in CUDA, each
// function exists as f(double), f(float) and ff(float).
#define GPUNET_MATH(NAME, PARAMETERS, ARGUMENTS)                                           \
  extern "C" double NAME PARAMETERS(double) noexcept;                                      \
  extern "C" float NAME##f PARAMETERS(float) noexcept;                                     \
  inline __attribute__((always_inline)) float NAME PARAMETERS(float) noexcept { return NAME##f ARGUMENTS; }
#define UNARY(T) (T x)
#define BINARY(T) (T x, T y)
#define TERNARY(T) (T x, T y, T z)
GPUNET_MATH(acos, UNARY, (x))
GPUNET_MATH(acosh, UNARY, (x))
GPUNET_MATH(asin, UNARY, (x))
GPUNET_MATH(asinh, UNARY, (x))
GPUNET_MATH(atan, UNARY, (x))
GPUNET_MATH(atanh, UNARY, (x))
GPUNET_MATH(cbrt, UNARY, (x))
GPUNET_MATH(ceil, UNARY, (x))
GPUNET_MATH(cos, UNARY, (x))
GPUNET_MATH(cosh, UNARY, (x))
GPUNET_MATH(erf, UNARY, (x))
GPUNET_MATH(erfc, UNARY, (x))
GPUNET_MATH(exp, UNARY, (x))
GPUNET_MATH(exp10, UNARY, (x))
GPUNET_MATH(exp2, UNARY, (x))
GPUNET_MATH(expm1, UNARY, (x))
GPUNET_MATH(fabs, UNARY, (x))
GPUNET_MATH(floor, UNARY, (x))
GPUNET_MATH(j0, UNARY, (x))
GPUNET_MATH(j1, UNARY, (x))
GPUNET_MATH(lgamma, UNARY, (x))
GPUNET_MATH(log, UNARY, (x))
GPUNET_MATH(log10, UNARY, (x))
GPUNET_MATH(log1p, UNARY, (x))
GPUNET_MATH(log2, UNARY, (x))
GPUNET_MATH(logb, UNARY, (x))
GPUNET_MATH(nearbyint, UNARY, (x))
GPUNET_MATH(rint, UNARY, (x))
GPUNET_MATH(round, UNARY, (x))
GPUNET_MATH(sin, UNARY, (x))
GPUNET_MATH(sinh, UNARY, (x))
GPUNET_MATH(sqrt, UNARY, (x))
GPUNET_MATH(tan, UNARY, (x))
GPUNET_MATH(tanh, UNARY, (x))
GPUNET_MATH(tgamma, UNARY, (x))
GPUNET_MATH(trunc, UNARY, (x))
GPUNET_MATH(atan2, BINARY, (x, y))
GPUNET_MATH(copysign, BINARY, (x, y))
GPUNET_MATH(fdim, BINARY, (x, y))
GPUNET_MATH(fmax, BINARY, (x, y))
GPUNET_MATH(fmin, BINARY, (x, y))
GPUNET_MATH(fmod, BINARY, (x, y))
GPUNET_MATH(hypot, BINARY, (x, y))
GPUNET_MATH(nextafter, BINARY, (x, y))
GPUNET_MATH(pow, BINARY, (x, y))
GPUNET_MATH(remainder, BINARY, (x, y))
GPUNET_MATH(fma, TERNARY, (x, y, z))
#undef GPUNET_MATH
#undef UNARY
#undef BINARY
#undef TERNARY

extern "C" void sincosf(float x, float* sine, float* cosine) noexcept;
extern "C" void sincos(double x, double* sine, double* cosine) noexcept;
extern "C" float ldexpf(float x, int exponent) noexcept;
extern "C" double ldexp(double x, int exponent) noexcept;
extern "C" float frexpf(float x, int* exponent) noexcept;
extern "C" double frexp(double x, int* exponent) noexcept;
extern "C" float modff(float x, float* whole) noexcept;
extern "C" double modf(double x, double* whole) noexcept;
extern "C" int ilogbf(float x) noexcept;
extern "C" float scalbnf(float x, int exponent) noexcept;
extern "C" long lrintf(float x) noexcept;
extern "C" long lroundf(float x) noexcept;
extern "C" long long llrintf(float x) noexcept;
extern "C" long long llroundf(float x) noexcept;
extern "C" int abs(int) noexcept;
extern "C" long long llabs(long long) noexcept;
inline float abs(float x) { return fabsf(x); }
inline double abs(double x) { return fabs(x); }
inline long long abs(long long x) { return llabs(x); }

template <class T>
constexpr bool isnan(T x) { return __builtin_isnan(x); }
template <class T>
constexpr bool isinf(T x) { return __builtin_isinf(x); }
template <class T>
constexpr bool isfinite(T x) { return __builtin_isfinite(x); }
template <class T>
constexpr bool signbit(T x) { return __builtin_signbit(x); }

// CUDA's min and max accept mixed types.
template <class A, class B>
constexpr std::common_type_t<A, B> min(A a, B b) {
  return b < a ? b : a;
}
template <class A, class B>
constexpr std::common_type_t<A, B> max(A a, B b) {
  return a < b ? b : a;
}

inline unsigned umin(unsigned a, unsigned b) { return min(a, b); }
inline unsigned umax(unsigned a, unsigned b) { return max(a, b); }
inline long long llmin(long long a, long long b) { return min(a, b); }
inline long long llmax(long long a, long long b) { return max(a, b); }
inline unsigned long long ullmin(unsigned long long a, unsigned long long b) { return min(a, b); }
inline unsigned long long ullmax(unsigned long long a, unsigned long long b) { return max(a, b); }

namespace simulator {
template <class To, class From>
inline To bits_as(From value) {
  static_assert(sizeof(To) == sizeof(From));
  To result;
  std::memcpy(&result, &value, sizeof result);
  return result;
}

// Converts to an integer as a GPU does: values out of range saturate, NaN becomes 0. Both are undefined in C++.
template <class To, class From>
inline To saturated(From value) {
  constexpr To highest = std::is_signed_v<To> ? static_cast<To>(~std::make_unsigned_t<To>{0} >> 1) : ~To{0};
  constexpr To lowest = std::is_signed_v<To> ? -highest - 1 : 0;
  if (value != value) return 0;
  if (value <= static_cast<From>(lowest)) return lowest;
  if (value >= static_cast<From>(highest)) return highest;
  return static_cast<To>(value);
}
}  // namespace simulator

inline float __int_as_float(int v) { return simulator::bits_as<float>(v); }
inline int __float_as_int(float v) { return simulator::bits_as<int>(v); }
inline float __uint_as_float(unsigned v) { return simulator::bits_as<float>(v); }
inline unsigned __float_as_uint(float v) { return simulator::bits_as<unsigned>(v); }
inline double __longlong_as_double(long long v) { return simulator::bits_as<double>(v); }
inline long long __double_as_longlong(double v) { return simulator::bits_as<long long>(v); }

// rn rounds to nearest (ties to even), rz towards zero, rd down, ru up.
#define GPUNET_CONVERSIONS(NAME, FROM, TO)                                              \
  inline TO __##NAME##_rn(FROM v) { return simulator::saturated<TO>(rint(v)); }    \
  inline TO __##NAME##_rz(FROM v) { return simulator::saturated<TO>(trunc(v)); }   \
  inline TO __##NAME##_rd(FROM v) { return simulator::saturated<TO>(floor(v)); }   \
  inline TO __##NAME##_ru(FROM v) { return simulator::saturated<TO>(ceil(v)); }
GPUNET_CONVERSIONS(float2int, float, int)
GPUNET_CONVERSIONS(float2uint, float, unsigned)
GPUNET_CONVERSIONS(float2ll, float, long long)
GPUNET_CONVERSIONS(float2ull, float, unsigned long long)
GPUNET_CONVERSIONS(double2int, double, int)
GPUNET_CONVERSIONS(double2uint, double, unsigned)
GPUNET_CONVERSIONS(double2ll, double, long long)
GPUNET_CONVERSIONS(double2ull, double, unsigned long long)
#undef GPUNET_CONVERSIONS
inline float __int2float_rn(int v) { return static_cast<float>(v); }
inline float __uint2float_rn(unsigned v) { return static_cast<float>(v); }
inline float __ll2float_rn(long long v) { return static_cast<float>(v); }
inline float __ull2float_rn(unsigned long long v) { return static_cast<float>(v); }
inline double __uint2double_rn(unsigned v) { return v; }
inline int __double2hiint(double v) { return static_cast<int>(__double_as_longlong(v) >> 32); }
inline int __double2loint(double v) { return static_cast<int>(__double_as_longlong(v)); }
inline double __int2double_rn(int v) { return v; }
inline float __double2float_rn(double v) { return static_cast<float>(v); }

inline float rsqrtf(float v) { return 1.0f / sqrtf(v); }
inline double rsqrt(double v) { return 1.0 / sqrt(v); }
inline float rcbrtf(float v) { return 1.0f / cbrtf(v); }
inline float normcdff(float v) { return 0.5f * erfcf(-v * 0.70710678f); }
inline double normcdf(double v) { return 0.5 * erfc(-v * 0.7071067811865475244); }
inline float __expf(float v) { return expf(v); }
inline float __exp10f(float v) { return exp10f(v); }
inline float __logf(float v) { return logf(v); }
inline float __log2f(float v) { return log2f(v); }
inline float __log10f(float v) { return log10f(v); }
inline float __powf(float base, float exponent) { return powf(base, exponent); }
inline float __sinf(float v) { return sinf(v); }
inline float __cosf(float v) { return cosf(v); }
inline float __tanf(float v) { return tanf(v); }
inline void __sincosf(float v, float* sine, float* cosine) { sincosf(v, sine, cosine); }
inline float sinpif(float v) { return static_cast<float>(sin(3.14159265358979323846 * v)); }
inline float cospif(float v) { return static_cast<float>(cos(3.14159265358979323846 * v)); }
inline void sincospif(float v, float* sine, float* cosine) {
  *sine = sinpif(v);
  *cosine = cospif(v);
}
inline float rhypotf(float a, float b) { return 1.0f / hypotf(a, b); }
inline float norm3df(float a, float b, float c) { return sqrtf(a * a + b * b + c * c); }
inline float rnorm3df(float a, float b, float c) { return 1.0f / norm3df(a, b, c); }
inline float fdividef(float a, float b) { return a / b; }
inline float __fdividef(float a, float b) { return a / b; }
inline float __frcp_rn(float v) { return 1.0f / v; }
inline float __fsqrt_rn(float v) { return sqrtf(v); }
inline float __frsqrt_rn(float v) { return rsqrtf(v); }
inline float __saturatef(float v) { return v > 0.0f ? (v < 1.0f ? v : 1.0f) : 0.0f; }
inline float __fmaf_rn(float a, float b, float c) { return fmaf(a, b, c); }
inline double __fma_rn(double a, double b, double c) { return fma(a, b, c); }

// Not inlined, so that they are never contracted into a fused multiply-add, as CUDA guarantees.
__attribute__((noinline)) inline float __fmul_rn(float a, float b) { return a * b; }
__attribute__((noinline)) inline float __fadd_rn(float a, float b) { return a + b; }
__attribute__((noinline)) inline float __fsub_rn(float a, float b) { return a - b; }
__attribute__((noinline)) inline float __fdiv_rn(float a, float b) { return a / b; }
__attribute__((noinline)) inline double __dmul_rn(double a, double b) { return a * b; }
__attribute__((noinline)) inline double __dadd_rn(double a, double b) { return a + b; }

inline int __popc(unsigned v) { return __builtin_popcount(v); }
inline int __popcll(unsigned long long v) { return __builtin_popcountll(v); }
inline int __clz(int v) { return v ? __builtin_clz(v) : 32; }
inline int __clzll(long long v) { return v ? __builtin_clzll(v) : 64; }
inline int __ffs(int v) { return __builtin_ffs(v); }
inline int __ffsll(long long v) { return __builtin_ffsll(v); }
inline unsigned __brev(unsigned v) {
  unsigned reversed = 0;
  for (int bit = 0; bit < 32; ++bit) reversed |= (v >> bit & 1u) << (31 - bit);
  return reversed;
}

inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
inline int __mulhi(int a, int b) { return static_cast<int>(static_cast<long long>(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline long long __mul64hi(long long a, long long b) {
  return static_cast<long long>(static_cast<__int128>(a) * b >> 64);
}
inline int __mul24(int a, int b) { return (a << 8 >> 8) * (b << 8 >> 8); }
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>(((static_cast<unsigned long long>(high) << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
  return static_cast<unsigned>((static_cast<unsigned long long>(high) << 32 | low) >> (shift & 31));
}

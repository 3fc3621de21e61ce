// cuda_math.h: CUDA's math functions, for the expressions of a user-defined activation (../activations.h).
//
// The overloads below vectorize, in float and double. The other functions are those of the C library in the global
// namespace; those that only CUDA has are defined here.

#pragma once
#include <math.h>

namespace user {

// As in CUDA, each is defined as f(float), f(double) and ff(float).
#define OVERLOADS(name, ff, PARAMETERS, result) \
    DEVICE float name PARAMETERS(float) { return result; } \
    DEVICE double name PARAMETERS(double) { return result; } \
    DEVICE float ff PARAMETERS(float) { return result; }
#define UNARY(Real) (Real x)
#define BINARY(Real) (Real x, Real y)
OVERLOADS(exp, expf, UNARY, real::exp(x))
OVERLOADS(expm1, expm1f, UNARY, real::expm1(x))
OVERLOADS(log, logf, UNARY, real::log(x))
OVERLOADS(log1p, log1pf, UNARY, real::log1p(x))
OVERLOADS(tanh, tanhf, UNARY, real::tanh(x))
OVERLOADS(erf, erff, UNARY, real::erf(x))
OVERLOADS(sqrt, sqrtf, UNARY, real::sqrt(x))
OVERLOADS(rsqrt, rsqrtf, UNARY, 1 / real::sqrt(x))
OVERLOADS(fabs, fabsf, UNARY, real::abs(x))
OVERLOADS(normcdf, normcdff, UNARY, erfc(x * decltype(x)(-0.70710678118654752)) / 2)
OVERLOADS(fmax, fmaxf, BINARY, x > y || y != y ? x : y)
OVERLOADS(fmin, fminf, BINARY, x < y || y != y ? x : y)
#undef OVERLOADS
#undef UNARY
#undef BINARY

DEVICE int abs(int x) { return x < 0 ? -x : x; }
DEVICE float abs(float x) { return real::abs(x); }
DEVICE double abs(double x) { return real::abs(x); }

template <typename A, typename B>
DEVICE std::common_type_t<A, B> max(A a, B b) { return a < b ? b : a; }
template <typename A, typename B>
DEVICE std::common_type_t<A, B> min(A a, B b) { return b < a ? b : a; }

// CUDA's fast-math intrinsics. They are less accurate on a GPU, but not here.
DEVICE float __expf(float x) { return real::exp(x); }
DEVICE float __logf(float x) { return real::log(x); }
DEVICE float __powf(float x, float y) { return ::powf(x, y); }
DEVICE float __fdividef(float x, float y) { return x / y; }
DEVICE float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }

}  // namespace user

// The functions of kernels/cpu/math.h over arrays, each beside the machine's long double function of the same name. A
// loop has a line of its own, by which the compiler reports whether it vectorized it.

#include "math.h"

#include <cmath>

#define EXPORT extern "C" __attribute__((visibility("default")))

// The reference as a sum of two doubles, and so with more digits than the result for which it is the reference.
#define LOOP(name, type) \
    EXPORT void name##_##type(const type* __restrict__ x, type* __restrict__ y, long n) { \
        for (long i = 0; i < n; ++i) y[i] = real::name(x[i]); \
    }
#define REFERENCE(name) \
    EXPORT void name##_reference(const double* x, double* high, double* low, long n) { \
        for (long i = 0; i < n; ++i) { \
            const long double y = std::name(static_cast<long double>(x[i])); \
            high[i] = static_cast<double>(y); \
            low[i] = static_cast<double>(y - high[i]); \
        } \
    }

LOOP(exp, float)
LOOP(exp, double)
LOOP(expm1, float)
LOOP(expm1, double)
LOOP(log, float)
LOOP(log, double)
LOOP(log1p, float)
LOOP(log1p, double)
LOOP(tanh, float)
LOOP(tanh, double)
LOOP(erf, float)
LOOP(erf, double)
LOOP(sqrt, float)
LOOP(sqrt, double)
LOOP(abs, float)
LOOP(abs, double)

REFERENCE(exp)
REFERENCE(expm1)
REFERENCE(log)
REFERENCE(log1p)
REFERENCE(tanh)
REFERENCE(erf)
REFERENCE(sqrt)
REFERENCE(abs)

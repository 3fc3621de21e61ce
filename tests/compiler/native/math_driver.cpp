// The functions of kernels/cpu/math.h on arrays, and the long double functions of the C++ library as references.
//
// Each loop is on its own line, which the compiler's vectorization report names. -DONE_FUNCTION=exp
// -DONE_TYPE=float compiles only that loop.

#include "math.h"

#define EXPORT extern "C" __attribute__((visibility("default")))

#define LOOP(name, type) LOOP_NAMED(name##_##type, name, type)
#define LOOP_NAMED(symbol, name, type)                                         \
    EXPORT void symbol(const type* __restrict__ x, type* __restrict__ y, long n) { \
        for (long i = 0; i < n; ++i) y[i] = real::name(x[i]);                  \
    }

#ifdef ONE_FUNCTION

#define EXPANDED(name, type) LOOP(name, type)
EXPANDED(ONE_FUNCTION, ONE_TYPE)

#else

#include <cmath>

// The reference as a sum of two doubles, which has more digits than the results.
#define REFERENCE(name)                                                               \
    EXPORT void name##_reference(const double* x, double* high, double* low, long n) { \
        for (long i = 0; i < n; ++i) {                                                \
            const long double y = std::name(static_cast<long double>(x[i]));          \
            high[i] = static_cast<double>(y);                                         \
            low[i] = static_cast<double>(y - high[i]);                                \
        }                                                                             \
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

#endif

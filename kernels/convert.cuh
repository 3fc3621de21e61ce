// convert.cuh: features in their stored type S, set by -DSOURCE=... (default: T), and their conversion to T.

#pragma once
#include "common.cuh"

#ifndef SOURCE
#define SOURCE REAL
#endif
using S = SOURCE;

// WIDTH adjacent elements of any type; at most 16 bytes are loaded at once.
template <typename A, int WIDTH>
struct alignas(WIDTH * sizeof(A) < 16 ? WIDTH * sizeof(A) : 16) Group {
    A v[WIDTH];
};

// A feature converted to T or, with means and factors, standardised; rounded once, as on the host (Standardizer.write).
// A difference and a product cannot be contracted to an FMA, so every compiler gives these bits.
DEVICE T converted(S x, const double* mean, const double* factor, int column) {
    return mean ? static_cast<T>((static_cast<double>(x) - mean[column]) * factor[column]) : static_cast<T>(x);
}

// convert.cuh: features as they are stored, of type S, which -DSOURCE=... says (by default T), and as the layers take them.

#pragma once
#include "common.cuh"

#ifndef SOURCE
#define SOURCE REAL
#endif
using S = SOURCE;

// WIDTH neighbours in memory of any type, as one object; at most 16 bytes are loaded at once.
template <typename A, int WIDTH>
struct alignas(WIDTH * sizeof(A) < 16 ? WIDTH * sizeof(A) : 16) Group {
    A v[WIDTH];
};

// A feature as the layers take it: converted or, with means and factors, standardised; rounded once, as on the host
// (Standardizer.write). A difference and a product cannot be contracted, so every compiler gives these bits.
DEVICE T converted(S x, const double* mean, const double* factor, int column) {
    return mean ? static_cast<T>((static_cast<double>(x) - mean[column]) * factor[column]) : static_cast<T>(x);
}

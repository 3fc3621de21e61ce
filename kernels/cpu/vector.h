// vector.h: loops and sums that vectorize without -ffast-math.

#pragma once
#include "common.h"

// Marks a loop whose iterations are independent: two of its arrays are either disjoint or identical. Without it, the
// compiler's aliasing check would treat an output that is also an input as a conflict and run the loop as scalar code.
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

// The sum of term(0) ... term(n - 1) in `Real`: lane i % WIDTH takes term(i), and the lanes are added up pairwise.
template <typename Real, Int WIDTH = LANES, typename Term>
DEVICE Real sum_terms(Int n, Term term) {
    Real lanes[WIDTH] = {};
    Int i = 0;
    for (; i + WIDTH <= n; i += WIDTH) {
        INDEPENDENT
        for (Int lane = 0; lane < WIDTH; ++lane) lanes[lane] += term(i + lane);
    }
    INDEPENDENT
    for (Int lane = 0; lane < n - i; ++lane) lanes[lane] += term(i + lane);
    for (Int width = WIDTH / 2; width > 0; width /= 2)
        for (Int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
    return lanes[0];
}

// The largest of a[0] ... a[n - 1], n > 0; a NaN may be ignored.
DEVICE T largest_of(const T* a, Int n) {
    T lanes[LANES];
    for (Int lane = 0; lane < LANES; ++lane) lanes[lane] = a[0];
    Int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (Int lane = 0; lane < LANES; ++lane) lanes[lane] = a[i + lane] > lanes[lane] ? a[i + lane] : lanes[lane];
    for (Int lane = 0; lane < n - i; ++lane) lanes[lane] = a[i + lane] > lanes[lane] ? a[i + lane] : lanes[lane];
    for (Int width = LANES / 2; width > 0; width /= 2)
        for (Int lane = 0; lane < width; ++lane)
            lanes[lane] = lanes[lane + width] > lanes[lane] ? lanes[lane + width] : lanes[lane];
    return lanes[0];
}

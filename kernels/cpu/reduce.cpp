// reduce.cpp: out = the sum of a (n,), in double and in a fixed order.
//
// The losses of a batch, or its row weights: few numbers, so one call does everything.

#include "common.h"
#include "vector.h"

// FLOPs: n
static void sum(Int begin, Int end,
                const T* a,    // [n]
                T* out,        // [1]
                Int n) {
    out[0] = static_cast<T>(sum_terms<double>(n, [=](Int i) { return static_cast<double>(a[i]); }));
}
WHOLE(sum)

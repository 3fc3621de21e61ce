// reduce.cpp: `sum` adds all elements of a (n,), in double; `sum_columns` adds each column of a (rows, n). The order is
// fixed.
//
// The elements are the losses of a batch or its row weights: they are few, so one call sums them all. The columns are
// those of dz, whose sums are the bias gradient. They are divided into slices, and the sums of adjacent columns stay in
// registers during the loop over the rows.

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

// The sums of the WIDTH columns starting at `a`.
template <Int WIDTH>
DEVICE void sum_adjacent(const T* __restrict__ a, T* __restrict__ out, Int rows, Int n) {
    T sums[WIDTH] = {};
    for (Int i = 0; i < rows; ++i)
        for (Int j = 0; j < WIDTH; ++j) sums[j] += a[i * n + j];
    for (Int j = 0; j < WIDTH; ++j) out[j] = sums[j];
}

// Sum all columns with the largest WIDTH that fits; the last group overlaps the one before.
template <Int WIDTH>
DEVICE void sum_in_widths(const T* a, T* out, Int rows, Int n, Int begin, Int end) {
    if constexpr (WIDTH > 1)
        if (end - begin < WIDTH) return sum_in_widths<WIDTH / 2>(a, out, rows, n, begin, end);
    for (Int j = begin; j + WIDTH < end; j += WIDTH) sum_adjacent<WIDTH>(a + j, out + j, rows, n);
    sum_adjacent<WIDTH>(a + end - WIDTH, out + end - WIDTH, rows, n);
}

// FLOPs: rows * n
static void sum_columns(Int begin, Int end,
                        const T* a,    // [rows * n]
                        T* out,        // [n]
                        Int rows, Int n) {
    if (begin < end) sum_in_widths<4 * LANES>(a, out, rows, n, begin, end);
}
SLICES(sum_columns)

// bias_activation.cpp: what follows a matrix product, in one pass over memory.
//
//     out = f(z + bias)                                   forward;  z is (rows, n), bias (n,)
//     dz = dy * f'(saved), out = sum over rows of dz      backward
//
// Options: REAL; ACTIVATION, and USER_FORWARD, USER_BACKWARD for a function of your own (see ../activations.h).
//
// Forward and dz divide by rows. Without a bias the rows of a call are one long array. The column sums divide by
// columns: each is the sum over the rows in their order, so that its bits do not depend on the division.

#include "common.h"
#include "math.h"
#include "../activations.h"
#include "vector.h"

template <bool BIAS, bool KEEP>
DEVICE void forward(const T* z, const T* bias, T* preactivation, T* out, Int n, T parameter) {
    INDEPENDENT
    for (Int j = 0; j < n; ++j) {
        const T value = BIAS ? z[j] + bias[j] : z[j];
        if constexpr (KEEP) preactivation[j] = value;
        out[j] = Activation::forward(value, parameter);
    }
}

template <bool KEEP>
DEVICE void forward_rows(const T* z, const T* bias, T* preactivation, T* out, Int rows, Int n, T parameter) {
    if (!bias) return forward<false, KEEP>(z, bias, preactivation, out, rows * n, parameter);
    for (Int i = 0; i < rows; ++i)
        forward<true, KEEP>(z + i * n, bias, KEEP ? preactivation + i * n : nullptr, out + i * n, n, parameter);
}

// z may be preactivation or out; preactivation may be out only where f is the identity.
// FLOPs: 2 * rows * n
static void bias_activation_forward(Int begin, Int end,
                                    const T* z,          // [rows * n]
                                    const T* bias,       // [n] or null
                                    T* preactivation,    // [rows * n] or null: z + bias, for the backward pass
                                    T* out,              // [rows * n]
                                    Int rows, Int n, T parameter) {
    z += begin * n;
    out += begin * n;
    if (preactivation) forward_rows<true>(z, bias, preactivation + begin * n, out, end - begin, n, parameter);
    else forward_rows<false>(z, bias, nullptr, out, end - begin, n, parameter);
}
ROWS(bias_activation_forward)

// dz may be dy or saved.
// FLOPs: 2 * rows * n
static void activation_backward(Int begin, Int end,
                                const T* dy,       // [rows * n]
                                const T* saved,    // [rows * n] or null: out, or z + bias where f' needs it
                                T* dz,             // [rows * n]
                                Int rows, Int n, T parameter) {
    const T* kept = saved ? saved : dy;  // the identity looks at neither
    INDEPENDENT
    for (Int i = begin * n; i < end * n; ++i) dz[i] = dy[i] * Activation::backward(kept[i], parameter);
}
ROWS(activation_backward)

// The sums of the WIDTH columns from `a` on.
template <Int WIDTH>
DEVICE void sum_adjacent(const T* __restrict__ a, T* __restrict__ out, Int rows, Int n) {
    T sums[WIDTH] = {};
    for (Int i = 0; i < rows; ++i)
        for (Int j = 0; j < WIDTH; ++j) sums[j] += a[i * n + j];
    for (Int j = 0; j < WIDTH; ++j) out[j] = sums[j];
}

// The widest WIDTH that the columns hold takes them all; the last time it overlaps the time before.
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

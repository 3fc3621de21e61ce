// bias_activation.cpp: bias and activation in one pass, after a matrix product.
//
//     out = f(z + bias)       forward; z is (rows, n), bias (n,)
//     dz = dy * f'(saved)     backward
//
// Options: REAL; ACTIVATION, and USER_FORWARD, USER_BACKWARD for a user-defined function (see ../activations.h).
//
// Both are divided by rows. Without a bias the rows of a call are processed as one long array.

#include "common.h"
#include "math.h"
#ifdef USER_FORWARD
#include "cuda_math.h"
#endif
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

// z may be preactivation or out; preactivation may be out only if f is the identity.
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
                                const T* saved,    // [rows * n] or null: out, or z + bias if f' needs it
                                T* dz,             // [rows * n]
                                Int rows, Int n, T parameter) {
    const T* kept = saved ? saved : dy;  // the identity reads neither
    INDEPENDENT
    for (Int i = begin * n; i < end * n; ++i) dz[i] = dy[i] * Activation::backward(kept[i], parameter);
}
ROWS(activation_backward)

// product.cpp: matrix products by the BLAS that NumPy uses, called through the address of its cblas_sgemm or
// cblas_dgemm.
//
//     c (m, n) = a (m, k) b (k, n), or b stored as (n, k); the work is divided by rows of the batch (ROWS)
//     c (m, n) = a^T b, a stored as (k, m), b (k, n); divided by rows of c, which are features (SLICES)
//
// All matrices are row-major, with lda, ldb and ldc elements between rows.
//
// Options: REAL; BLAS_INT, the integer type of the library.

#include "common.h"

#ifndef BLAS_INT
#define BLAS_INT int64_t
#endif
using BlasInt = BLAS_INT;

constexpr int ROW_MAJOR = 101, NORMAL = 111, TRANSPOSED = 112;  // cblas.h

using Gemm = void (*)(int order, int transpose_a, int transpose_b, BlasInt m, BlasInt n, BlasInt k, T alpha, const T* a,
                      BlasInt lda, const T* b, BlasInt ldb, T beta, T* c, BlasInt ldc);

// c = op(a) op(b); zeros if k is 0.
DEVICE void multiply(Int gemm, int transpose_a, int transpose_b, Int m, Int n, Int k, const T* a, Int lda,
                     const T* b, Int ldb, T* c, Int ldc) {
    if (m <= 0 || n <= 0) return;
    if (k == 0) {
        for (Int i = 0; i < m; ++i)
            for (Int j = 0; j < n; ++j) c[i * ldc + j] = 0;
        return;
    }
    reinterpret_cast<Gemm>(gemm)(
        ROW_MAJOR, transpose_a, transpose_b, static_cast<BlasInt>(m), static_cast<BlasInt>(n), static_cast<BlasInt>(k),
        T(1), a, static_cast<BlasInt>(lda), b, static_cast<BlasInt>(ldb), T(0), c, static_cast<BlasInt>(ldc));
}

// FLOPs: 2 * m * n * k
static void product(Int begin, Int end,
                    Int gemm,      // the address of the function
                    const T* a,    // [m * lda]
                    const T* b,    // (k, n), or (n, k) with transpose_b
                    T* c,          // [m * ldc]
                    Int m, Int n, Int k, Int lda, Int ldb, Int ldc, bool transpose_b) {
    // BLAS packs a few rows at a time, with long strides; prefetching the rows in their order is faster.
    for (Int i = begin * lda; i < end * lda; i += LANES) __builtin_prefetch(a + i, 0, 2);
    multiply(gemm, NORMAL, transpose_b ? TRANSPOSED : NORMAL, end - begin, n, k, a + begin * lda, lda, b, ldb,
             c + begin * ldc, ldc);
}
ROWS(product)

// FLOPs: 2 * m * n * k
static void transposed_product(Int begin, Int end,
                               Int gemm,      // the address of the function
                               const T* a,    // [k * lda]
                               const T* b,    // [k * ldb]
                               T* c,          // [m * ldc]
                               Int m, Int n, Int k, Int lda, Int ldb, Int ldc) {
    multiply(gemm, TRANSPOSED, NORMAL, end - begin, n, k, a + begin, lda, b, ldb, c + begin * ldc, ldc);
}
SLICES(transposed_product)

// matmul.cuh: shared by the matrix product kernels: operands, epilogue, and a simple tile loader.
//
// Every kernel matmul_*.cu computes, for each of a batch of matrices,
//
//     c = f(op(a) op(b) + bias)
//     c = op(a) op(b) * f'(saved)            with GRADIENT=1: the gradient before the activation of the layer below
//
// for op(a) of (m, k), op(b) of (k, n), c of (m, n), all row-major and contiguous. Any m, n, k >= 0; edges are
// predicated. 2 m n k FLOPs; each operand is read at least once: 4 (m k + k n + m n) bytes in float.
//
// Options of every kernel: REAL; TRANSPOSE_A=1 if a is stored as (k, m), TRANSPOSE_B=1 if b is stored as (n, k);
// ACTIVATION (activations.h); GRADIENT=1. NN is a forward pass, NT the gradient dx = dz W^T, TN the gradient dW = x^T
// dz.
//
// Launch of every kernel: grid (ceil(m / BM) * ceil(n / BN), splits, batch), where a block computes a BM x BN tile of
// c. Only matmul_split_k, matmul_tiled, matmul_mma and matmul_mma3 support several splits. All tiles are numbered along
// x, since y and z are limited to 65,535. stride_a and stride_b are the elements between the matrices of a batch, 0 for
// a shared matrix.

#pragma once
#include "common.cuh"
#include "activations.h"

#ifndef TRANSPOSE_A
#define TRANSPOSE_A 0
#endif
#ifndef TRANSPOSE_B
#define TRANSPOSE_B 0
#endif
#ifndef GRADIENT
#define GRADIENT 0
#endif

// The options of matmul_tiled, matmul_mma and matmul_mma3 (matmul_tiled.cu).
#ifndef MIN_BLOCKS
#define MIN_BLOCKS 1
#endif
#ifndef VECTOR_A
#define VECTOR_A 0
#endif
#ifndef VECTOR_B
#define VECTOR_B 0
#endif
#ifndef VECTOR_C
#define VECTOR_C 0
#endif
#ifndef COLUMN_SUMS
#define COLUMN_SUMS 0
#endif

// The operations on an element of op(a) op(b) while it is in a register: bias and activation cost no memory traffic of
// their own.
template <typename F, bool TIMES_DERIVATIVE>
struct EpilogueOf {
    const T* bias;     // (n,) or null
    const T* saved;    // like c: with GRADIENT, the input of f'
    T* preactivation;  // like c, or null: op(a) op(b) + bias, for the backward pass
    T* c;
    int m, n;
    T parameter;

    // Process WIDTH adjacent elements of a row. Sizes and pointers must be multiples of WIDTH elements.
    template <int WIDTH>
    DEVICE void operator()(int row, int column, Pack<WIDTH> values) const {
        if (row >= m || column >= n) return;
        const size_t place = static_cast<size_t>(blockIdx.z * m + row) * n + column;
        if (TIMES_DERIVATIVE) {
            const auto s = load<WIDTH>(saved + place);
            for (int j = 0; j < WIDTH; ++j) values.v[j] *= F::backward(s.v[j], parameter);
        } else {
            if (bias) {
                const auto b = load<WIDTH>(bias + column);
                for (int j = 0; j < WIDTH; ++j) values.v[j] += b.v[j];
            }
            if (preactivation) store(preactivation + place, values);
            for (int j = 0; j < WIDTH; ++j) values.v[j] = F::forward(values.v[j], parameter);
        }
        store(c + place, values);
    }

    DEVICE void operator()(int row, int column, T value) const { (*this)(row, column, Pack<1>{{value}}); }
};

using Epilogue = EpilogueOf<Activation, GRADIENT>;

// op(a)[row][i] and op(b)[i][column], zero past the edges.
DEVICE T element_a(const T* a, int row, int i, int m, int k) {
    if (row >= m || i >= k) return 0;
    return TRANSPOSE_A ? a[static_cast<size_t>(i) * m + row] : a[static_cast<size_t>(row) * k + i];
}

DEVICE T element_b(const T* b, int i, int column, int n, int k) {
    if (i >= k || column >= n) return 0;
    return TRANSPOSE_B ? b[static_cast<size_t>(column) * k + i] : b[static_cast<size_t>(i) * n + column];
}

// Copy the tiles of op(a), ROWS from `row` on, and of op(b), COLUMNS from `column` on, into shared memory: DEPTH steps
// along k from `first` on. Adjacent threads read adjacent elements in either layout, so loads are coalesced.
template <int ROWS, int COLUMNS, int DEPTH, int THREADS>
DEVICE void copy_tiles(T (&tile_a)[DEPTH][ROWS + 1], T (&tile_b)[DEPTH][COLUMNS + 1], const T* a, const T* b, int row,
                       int column, int first, int m, int n, int k) {
    for (int index = threadIdx.x; index < ROWS * DEPTH; index += THREADS) {
        const int i = TRANSPOSE_A ? index / ROWS : index % DEPTH, x = TRANSPOSE_A ? index % ROWS : index / DEPTH;
        tile_a[i][x] = element_a(a, row + x, first + i, m, k);
    }
    for (int index = threadIdx.x; index < COLUMNS * DEPTH; index += THREADS) {
        const int i = TRANSPOSE_B ? index % DEPTH : index / COLUMNS, x = TRANSPOSE_B ? index / DEPTH : index % COLUMNS;
        tile_b[i][x] = element_b(b, first + i, column + x, n, k);
    }
}

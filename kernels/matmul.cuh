// matmul.cuh: what the rungs of the matrix product share: their operands, the epilogue, and a simple tile loader.
//
// Every rung computes, for each of a batch of matrices,
//
//     c = f(op(a) op(b) + bias)
//     c = op(a) op(b) * f'(saved)            with GRADIENT=1: the gradient goes on through the activation below
//
// for op(a) of (m, k), op(b) of (k, n), c of (m, n), all row-major without gaps. Any m, n, k >= 0; edges are
// predicated. 2 m n k FLOPs; each operand has to be read at least once: 4 (m k + k n + m n) bytes in float.
//
// Options, the same for every rung: REAL; TRANSPOSE_A=1 where a lies in memory as (k, m), TRANSPOSE_B=1 where b lies as
// (n, k); ACTIVATION (activations.h); GRADIENT=1. So NN is a forward pass, NT the gradient dx = dz W^T, TN the
// gradient dW = x^T dz.
//
// Launch, the same for every rung: grid (ceil(m / BM) * ceil(n / BN), splits, batch) where BM x BN is the tile of c
// that a block computes; only the last two rungs take more than one split. Tiles are numbered along x alone, since y and z
// stop at 65,535. stride_a and stride_b are the elements from one matrix of the batch to the next, 0 for a matrix that
// they share.

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

// What happens to an element of op(a) op(b) on its way to memory. Done while the element is in a register, bias and
// activation cost no memory traffic of their own.
template <typename F, bool TIMES_DERIVATIVE>
struct EpilogueOf {
    const T* bias;     // (n,) or null
    const T* saved;    // like c: with GRADIENT, what f' is computed from
    T* preactivation;  // like c, or null: op(a) op(b) + bias, for a backward pass that needs it
    T* c;
    int m, n;
    T parameter;

    // Finish WIDTH neighbours of a row. The sizes and pointers must be multiples of as many elements.
    template <int WIDTH>
    DEVICE void operator()(int row, int column, Neighbours<WIDTH> values) const {
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

    DEVICE void operator()(int row, int column, T value) const { (*this)(row, column, Neighbours<1>{{value}}); }
};

using Epilogue = EpilogueOf<Activation, GRADIENT>;

// op(a)[row][i] and op(b)[i][column], zero beyond the edges.
DEVICE T element_a(const T* a, int row, int i, int m, int k) {
    if (row >= m || i >= k) return 0;
    return TRANSPOSE_A ? a[static_cast<size_t>(i) * m + row] : a[static_cast<size_t>(row) * k + i];
}

DEVICE T element_b(const T* b, int i, int column, int n, int k) {
    if (i >= k || column >= n) return 0;
    return TRANSPOSE_B ? b[static_cast<size_t>(column) * k + i] : b[static_cast<size_t>(i) * n + column];
}

// Copy the tiles of op(a), ROWS from `row` on, and of op(b), COLUMNS from `column` on, into shared memory: DEPTH steps
// along k from `first` on. Neighbouring threads take neighbours in memory, whichever way the operand lies, so that a
// warp reads whole lines.
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

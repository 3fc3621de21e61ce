// vector_tiles.cuh: tiles in shared memory whose rows are read by vectors, for matmul_vectorized.cu and the kernels
// after it up to matmul_split_k.cu; the asynchronous copies of matmul_double_buffered.cu.

#pragma once
#include "async_copy.cuh"
#include "matmul.cuh"

// A tile of an operand: a row for each of DEPTH steps along k, of SIZE elements along m or n. The padding keeps the
// rows aligned to vectors of four elements, and the rows of adjacent steps in different banks.
constexpr int PADDING = 4;
template <int SIZE, int DEPTH>
using VectorTile = T[DEPTH][SIZE + PADDING];

// Multiply a step: ROWS elements of a column of op(a) by COLUMNS elements of a row of op(b), loaded by vectors.
template <int ROWS, int COLUMNS>
DEVICE void multiply_step(T (&sum)[ROWS][COLUMNS], const T* a, const T* b) {
    const auto column_a = load<ROWS>(a);
    const auto row_b = load<COLUMNS>(b);
#pragma unroll
    for (int p = 0; p < ROWS; ++p)
#pragma unroll
        for (int q = 0; q < COLUMNS; ++q) sum[p][q] += column_a.v[p] * row_b.v[q];
}

// Pass a thread's sums to the epilogue; the first one is c[row][column].
template <int ROWS, int COLUMNS>
DEVICE void store_sums(const Epilogue& finish, const T (&sum)[ROWS][COLUMNS], int row, int column) {
#pragma unroll
    for (int p = 0; p < ROWS; ++p)
#pragma unroll
        for (int q = 0; q < COLUMNS; ++q) finish(row + p, column + q, sum[p][q]);
}

// Issue the asynchronous copies of a tile of op(a) or op(b): SIZE elements along m or n from `x` on, DEPTH steps along
// k from `i` on; zeros past the ends `size` and `k`. An operand contiguous along k (ALONG_K) is transposed: its vectors
// would be parts of a column of the tile, so its elements are copied one by one.
template <bool ALONG_K, int WIDTH, int THREADS, int SIZE, int DEPTH>
DEVICE void copy_async_by(T (&tile)[DEPTH][SIZE + PADDING], const T* operand, int x, int i, int size, int k) {
    constexpr int ACROSS = (ALONG_K ? DEPTH : SIZE) / WIDTH;  // copies of a row in global memory
    const int rows = ALONG_K ? size : k, length = ALONG_K ? k : size;
#pragma unroll 1  // unrolled, the addresses would take half of the registers
    for (int index = threadIdx.x; index < SIZE * DEPTH / WIDTH; index += THREADS) {
        const int down = index / ACROSS, right = index % ACROSS * WIDTH;
        const int row = (ALONG_K ? x : i) + down, place = (ALONG_K ? i : x) + right;
        copy_async<WIDTH * sizeof(T)>(ALONG_K ? &tile[right][down] : &tile[down][right],
                                      operand + static_cast<size_t>(row) * length + place,
                                      row < rows && place < length);
    }
}

// Copy by vectors if the operand's rows consist of aligned vectors, so that no vector crosses an edge.
template <bool ALONG_K, int THREADS, int SIZE, int DEPTH>
DEVICE void copy_tile_async(T (&tile)[DEPTH][SIZE + PADDING], const T* operand, int x, int i, int size, int k) {
    if (ALONG_K || size % VECTOR != 0 || !aligned(operand))
        copy_async_by<ALONG_K, 1, THREADS, SIZE>(tile, operand, x, i, size, k);
    else
        copy_async_by<ALONG_K, VECTOR, THREADS, SIZE>(tile, operand, x, i, size, k);
}

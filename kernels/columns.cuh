// columns.cuh: sums over the rows of a matrix, one for each column, in a fixed order.
//
// A block of COLUMN_LANES x COLUMN_ROWS threads covers 32 vectors of columns (128 in float) and a chunk of rows. Each
// of its warps takes every eighth row, so that a warp reads 512 bytes in a row; the warps' sums meet in shared memory.
// With more than one chunk the blocks leave partial sums, one row for each chunk, and the last to arrive adds those up
// in the order of the chunks: one launch, and the same bits every time.
//
// Launch: grid (ceil(n / (32 * VECTOR)), chunks), block (32, 8), rows_per_chunk = ceil(rows / chunks).

#pragma once
#include "common.cuh"

constexpr int COLUMN_LANES = WARP;
constexpr int COLUMN_ROWS = 8;
constexpr int COLUMNS = COLUMN_LANES * VECTOR;

// The column of this lane's j-th element: neighbours where vectors are loaded, else one warp apart, so that a warp
// reads whole lines either way.
DEVICE int column_of(int j, bool vectors) {
    const int first = blockIdx.x * COLUMNS;
    return vectors ? first + threadIdx.x * VECTOR + j : first + j * COLUMN_LANES + threadIdx.x;
}

// This lane's elements of a row of n; 0 beyond its end.
DEVICE Vector load_columns(const T* row, int n, bool vectors) {
    Vector values = {};
    if (vectors) return column_of(0, true) < n ? load(row + column_of(0, true)) : values;
#pragma unroll
    for (int j = 0; j < VECTOR; ++j)
        if (column_of(j, false) < n) values.v[j] = row[column_of(j, false)];
    return values;
}

// Call add_row(row, sum) for every row of the chunk, which adds to several sums a column, then leave the sums of all
// chunks in `sums`, those with a place there. With more than one chunk, `partial_sums` has room for SUMS * n numbers
// each, `arrivals` a zero for each block along x.
template <int SUMS, typename Row>
DEVICE void sum_columns_in_chunks(T* partial_sums, unsigned* arrivals, T* const (&sums)[SUMS], int rows, int n,
                                  int rows_per_chunk, bool vectors, Row add_row) {
    __shared__ T of_row[SUMS][COLUMN_ROWS][COLUMNS];
    T sum[SUMS][VECTOR] = {};
    const int first_row = blockIdx.y * rows_per_chunk;
    const int last_row = min(rows - first_row, rows_per_chunk) + first_row;
    for (int row = first_row + threadIdx.y; row < last_row; row += COLUMN_ROWS) add_row(row, sum);
#pragma unroll
    for (int s = 0; s < SUMS; ++s)
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) of_row[s][threadIdx.y][j * COLUMN_LANES + threadIdx.x] = sum[s][j];
    __syncthreads();
    if (threadIdx.y == 0) {
#pragma unroll
        for (int s = 0; s < SUMS; ++s) {
            T* of_chunk = gridDim.y == 1 ? sums[s] : partial_sums + (blockIdx.y * SUMS + s) * n;
#pragma unroll
            for (int j = 0; j < VECTOR; ++j) {
                T total = 0;
                for (int i = 0; i < COLUMN_ROWS; ++i) total += of_row[s][i][j * COLUMN_LANES + threadIdx.x];
                const int column = column_of(j, vectors);
                if (column < n && of_chunk) of_chunk[column] = total;
            }
        }
    }
    if (gridDim.y == 1 || !last_to_arrive(arrivals + blockIdx.x, gridDim.y) || threadIdx.y != 0) return;
#pragma unroll
    for (int s = 0; s < SUMS; ++s)
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) {
            const int column = column_of(j, vectors);
            if (column >= n || !sums[s]) continue;
            T total = 0;
            for (unsigned chunk = 0; chunk < gridDim.y; ++chunk)
                total += __ldcg(partial_sums + (chunk * SUMS + s) * n + column);
            sums[s][column] = total;
        }
}

// The same for one sum a column.
template <typename Row>
DEVICE void sum_columns_in_chunks(T* partial_sums, unsigned* arrivals, T* sums, int rows, int n, int rows_per_chunk,
                                  bool vectors, Row add_row) {
    T* const only[1] = {sums};
    sum_columns_in_chunks(partial_sums, arrivals, only, rows, n, rows_per_chunk, vectors,
                          [&](int row, T (&sum)[1][VECTOR]) { add_row(row, sum[0]); });
}

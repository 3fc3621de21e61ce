// columns.cuh: sums over the rows of a matrix, one or more for each column, in a fixed order.
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

DEVICE void store_columns(T* row, int n, bool vectors, const Vector& values) {
    if (vectors) {
        if (column_of(0, true) < n) store(row + column_of(0, true), values);
        return;
    }
#pragma unroll
    for (int j = 0; j < VECTOR; ++j)
        if (column_of(j, false) < n) row[column_of(j, false)] = values.v[j];
}

// Call use(row, load(row)) for the rows of this warp in its block's chunk, with the loads of IN_FLIGHT rows in flight:
// none of them waits for what `use` stores.
template <int IN_FLIGHT, typename Load, typename Use>
DEVICE void visit_rows(int rows, int rows_per_chunk, Load load, Use use) {
    const int first_row = blockIdx.y * rows_per_chunk;
    const int last_row = min(rows - first_row, rows_per_chunk) + first_row;
    for (int row = first_row + threadIdx.y; row < last_row; row += IN_FLIGHT * COLUMN_ROWS) {
        decltype(load(row)) loaded[IN_FLIGHT];
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i)
            if (row + i * COLUMN_ROWS < last_row) loaded[i] = load(row + i * COLUMN_ROWS);
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i)
            if (row + i * COLUMN_ROWS < last_row) use(row + i * COLUMN_ROWS, loaded[i]);
    }
}

// Call visit(row) for these rows.
template <typename Visit>
DEVICE void visit_rows(int rows, int rows_per_chunk, Visit visit) {
    visit_rows<1>(rows, rows_per_chunk, [](int row) { return row; }, [&](int row, int) { visit(row); });
}

// Add up the `sums` of each of the lanes' columns over the warps of a block and over the chunks, and call leave(column,
// totals) once for each column. Return whether this block is the one that did so for its columns. With more than one
// chunk, `partial_sums` has room for SUMS * n numbers each, `arrivals` a zero for each block along x.
template <int SUMS, typename Leave>
DEVICE bool add_up_chunks(const T (&sums)[SUMS][VECTOR], T* partial_sums, unsigned* arrivals, int n, bool vectors,
                          Leave leave) {
    __shared__ T of_row[SUMS][COLUMN_ROWS][COLUMNS];
#pragma unroll
    for (int s = 0; s < SUMS; ++s)
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) of_row[s][threadIdx.y][j * COLUMN_LANES + threadIdx.x] = sums[s][j];
    __syncthreads();
    const bool alone = gridDim.y == 1;
    if (threadIdx.y == 0) {
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) {
            const int column = column_of(j, vectors);
            if (column >= n) continue;
            T totals[SUMS] = {};
#pragma unroll
            for (int s = 0; s < SUMS; ++s) {
                for (int i = 0; i < COLUMN_ROWS; ++i) totals[s] += of_row[s][i][j * COLUMN_LANES + threadIdx.x];
                if (!alone) partial_sums[(blockIdx.y * SUMS + s) * n + column] = totals[s];
            }
            if (alone) leave(column, totals);
        }
    }
    if (alone) return true;
    if (!last_to_arrive(arrivals + blockIdx.x, gridDim.y)) return false;
    if (threadIdx.y == 0) {
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) {
            const int column = column_of(j, vectors);
            if (column >= n) continue;
            T totals[SUMS] = {};
            for (unsigned chunk = 0; chunk < gridDim.y; ++chunk)
#pragma unroll
                for (int s = 0; s < SUMS; ++s) totals[s] += __ldcg(partial_sums + (chunk * SUMS + s) * n + column);
            leave(column, totals);
        }
    }
    return true;
}

// Call add_row(row, sums) for every row, which adds to SUMS sums of each of the lane's columns, and add up the chunks.
template <int SUMS, typename Row, typename Leave>
DEVICE bool sum_columns_in_chunks(T* partial_sums, unsigned* arrivals, int rows, int n, int rows_per_chunk,
                                  bool vectors, Row add_row, Leave leave) {
    T sums[SUMS][VECTOR] = {};
    visit_rows(rows, rows_per_chunk, [&](int row) { add_row(row, sums); });
    return add_up_chunks(sums, partial_sums, arrivals, n, vectors, leave);
}

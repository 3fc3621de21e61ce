// columns.cuh: sums over the rows of a matrix, one or more per column, in a fixed order.
//
// A block of COLUMN_LANES x COLUMN_ROWS threads covers 32 vectors of columns (128 in float) and a chunk of rows. Each
// of its warps takes every eighth row, and reads 512 contiguous bytes of it. The warps' sums are combined in shared
// memory. With several chunks, the blocks store partial sums, one row per chunk, and the last block to arrive adds them
// up in the order of the chunks: one launch, bit-identical on every run.
//
// Launch: grid (ceil(n / (32 * VECTOR)), chunks), block (32, 8), rows_per_chunk = ceil(rows / chunks).

#pragma once
#include "common.cuh"

constexpr int COLUMN_LANES = WARP;
constexpr int COLUMN_ROWS = 8;
constexpr int COLUMNS = COLUMN_LANES * VECTOR;

// The column of this lane's j-th element: adjacent columns with vector loads, else a warp apart. Both are coalesced.
DEVICE int column_of(int j, bool vectors) {
    const int first = blockIdx.x * COLUMNS;
    return vectors ? first + threadIdx.x * VECTOR + j : first + j * COLUMN_LANES + threadIdx.x;
}

// This lane's elements of a row of n; 0 past its end.
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

// Call use(row, load(row)) for this warp's rows of the block's chunk. The loads of IN_FLIGHT rows are in flight
// together, before any store in `use`.
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

// Call visit(row) for this warp's rows of the block's chunk.
template <typename Visit>
DEVICE void visit_rows(int rows, int rows_per_chunk, Visit visit) {
    visit_rows<1>(rows, rows_per_chunk, [](int row) { return row; }, [&](int row, int) { visit(row); });
}

// Add the `sums` of each lane's columns over the warps of a block and over the chunks, and call finish(column, totals)
// once per column. Return whether this block did so for its columns. With several chunks, `partial_sums` has SUMS * n
// numbers per chunk, `arrivals` a zero per block along x.
template <int SUMS, typename Finish>
DEVICE bool sum_chunks(const T (&sums)[SUMS][VECTOR], T* partial_sums, unsigned* arrivals, int n, bool vectors,
                       Finish finish) {
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
            if (alone) finish(column, totals);
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
            finish(column, totals);
        }
    }
    return true;
}

// Call add_row(row, sums), which adds to SUMS sums of each of the lane's columns, for every row; then add up the
// chunks.
template <int SUMS, typename Row, typename Finish>
DEVICE bool sum_columns_in_chunks(T* partial_sums, unsigned* arrivals, int rows, int n, int rows_per_chunk,
                                  bool vectors, Row add_row, Finish finish) {
    T sums[SUMS][VECTOR] = {};
    visit_rows(rows, rows_per_chunk, [&](int row) { add_row(row, sums); });
    return sum_chunks(sums, partial_sums, arrivals, n, vectors, finish);
}

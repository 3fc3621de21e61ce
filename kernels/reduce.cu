// reduce.cu: sums in a fixed order.
//
// A sum takes two launches, or one where one block is enough: blocks leave partial sums, and a second launch adds those
// up in their order. No float atomics, whose order, and so whose last bits, would change from run to run.
//
// Memory-bound: 4 bytes an element in float, one FLOP each. Options: REAL.

#include "columns.cuh"

// partial_sums[block] = the sum of the elements that the block walks over. With one block it is the sum of x.
// Launch: grid-stride; grid as you like, block (256,).
extern "C" __global__ void __launch_bounds__(256) sum(
    const T* __restrict__ x,         // [size]
    T* __restrict__ partial_sums,    // [grid_x]
    int size) {
    __shared__ T scratch[256 / WARP];
    T total = 0;
    for (unsigned i = flat_thread(); i < size; i += flat_stride()) total += x[i];
    total = block_sum(total, scratch);
    if (threadIdx.x == 0) partial_sums[blockIdx.x] = total;
}

// The same of the squares.
extern "C" __global__ void __launch_bounds__(256) sum_squares(
    const T* __restrict__ x,         // [size]
    T* __restrict__ partial_sums,    // [grid_x]
    int size) {
    __shared__ T scratch[256 / WARP];
    const unsigned vectors = aligned(x) ? size / VECTOR : 0;
    T total = 0;
    for (unsigned i = flat_thread(); i < vectors; i += flat_stride()) {
        const Vector value = load(x + i * VECTOR);
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) total += value.v[j] * value.v[j];
    }
    for (unsigned i = vectors * VECTOR + flat_thread(); i < size; i += flat_stride()) total += x[i] * x[i];
    total = block_sum(total, scratch);
    if (threadIdx.x == 0) partial_sums[blockIdx.x] = total;
}

// partial_sums[chunk][column] = the sum over a chunk of the rows of x (rows, n): the bias gradient where dz is there
// already. Launch: see columns.cuh.
extern "C" __global__ void __launch_bounds__(256) sum_columns(
    const T* __restrict__ x,         // [rows * n]
    T* __restrict__ partial_sums,    // [grid_y * n]
    int rows, int n, int rows_per_chunk) {
    const bool vectors = n % VECTOR == 0 && aligned(x);
    const int first = column_of(0, vectors);
    sum_columns_of_chunk(partial_sums, rows, n, rows_per_chunk, vectors, [&](int row, T (&total)[VECTOR]) {
        if (vectors) {
            if (first >= n) return;
            const Vector value = load(x + row * n + first);
#pragma unroll
            for (int j = 0; j < VECTOR; ++j) total[j] += value.v[j];
            return;
        }
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) {
            const int column = column_of(j, false);
            if (column < n) total[j] += x[row * n + column];
        }
    });
}

// sums[column] = the sum over the rows of partial_sums (rows, n), few of them, in their order.
// Launch: grid (ceil(n / 256),), block (256,).
extern "C" __global__ void __launch_bounds__(256) sum_rows(
    const T* __restrict__ partial_sums,    // [rows * n]
    T* __restrict__ sums,                  // [n]
    int rows, int n) {
    const int column = flat_thread();
    if (column >= n) return;
    T total = 0;
    for (int row = 0; row < rows; ++row) total += partial_sums[row * n + column];
    sums[column] = total;
}

// reduce.cu: sums in a fixed order.
//
// Blocks store partial sums, and the last block to arrive adds them up in their order. Float atomics are not
// used: their order changes from run to run, and with it the last bits of the result.
//
// Memory-bound: 4 bytes per element in float, one FLOP each. Options: REAL.

#include "columns.cuh"

// Launch: grid-stride; any grid, block (256,).
// FLOPs: size
extern "C" __global__ void __launch_bounds__(256) sum(
    const T* __restrict__ x,    // [size]
    T* partial_sums,            // [grid_x] or null
    unsigned* arrivals,         // [1] or null: zero, if there are several blocks
    T* __restrict__ total,      // [1]
    int size) {
    __shared__ T scratch[256 / WARP];
    T sum = 0;
    for (unsigned i = flat_thread(); i < size; i += flat_stride()) sum += x[i];
    if (grid_sum(sum, scratch, partial_sums, arrivals) && threadIdx.x == 0) total[0] = sum;
}

// sums[column] = the sum over the rows of x (rows, n), such as a bias gradient of dz. Launch, partial_sums and
// arrivals: see columns.cuh.
// FLOPs: rows * n
extern "C" __global__ void __launch_bounds__(256) sum_columns(
    const T* __restrict__ x,    // [rows * n]
    T* partial_sums,            // [grid_y * n] or null
    unsigned* arrivals,         // [grid_x] or null
    T* __restrict__ sums,       // [n]
    int rows, int n, int rows_per_chunk) {
    const bool vectors = n % VECTOR == 0 && aligned(x);
    sum_columns_in_chunks<1>(
        partial_sums, arrivals, rows, n, rows_per_chunk, vectors,
        [&](int row, T (&total)[1][VECTOR]) {
            const Vector value = load_columns(x + row * n, n, vectors);
#pragma unroll
            for (int j = 0; j < VECTOR; ++j) total[0][j] += value.v[j];
        },
        [&](int column, const T (&total)[1]) { sums[column] = total[0]; });
}

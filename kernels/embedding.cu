// embedding.cu: the gradient of a table whose rows were looked up; the look-up itself is gather.cu.
//
//     dweight[r] = sum of dy[i] over the positions i with indices[i] = r
//
// dy is (positions, width), dweight (rows, width), every row of it written, also those that nobody looked up. Indices
// beyond the ends count as the ends, as in gather.cu; the row `padding` gets zeros (-1: there is none).
//
// No float atomics and no sort: a block owns a row of the table and COLUMNS of its columns. Each of its warps reads every
// eighth run of 32 indices, a lane each, and adds the rows of dy where its own comes up, in their order; the warps' sums
// meet in shared memory. So the bits are the same every time. The price: every block reads all indices, rows * positions
// * 8 bytes from the cache. That is little for the tables of small models (10,000 rows and 2,000 positions: 160 MB); for
// 10^9 pairs of row and position and more a sort would be cheaper.
//
// Options: REAL. Bytes that must move: 4 * (positions + rows) * width in float, and the indices.

#include "columns.cuh"

// Launch: grid (rows, ceil(width / COLUMNS)), block (32, 8).
// FLOPs: positions * width
extern "C" __global__ void __launch_bounds__(256) embedding_backward(
    const T* __restrict__ dy,                 // [positions * width]
    const long long* __restrict__ indices,    // [positions]
    T* __restrict__ dweight,                  // [grid_x * width]
    int positions, int width, int padding) {
    __shared__ T of_warp[COLUMN_ROWS][COLUMNS];
    const int row = blockIdx.x, last_row = gridDim.x - 1;
    const int end = row == padding ? 0 : positions;
    T sum[VECTOR] = {};
    for (int first = threadIdx.y * WARP; first < end; first += COLUMN_ROWS * WARP) {
        const int i = first + threadIdx.x;
        const bool own = i < end && min(max(indices[i], 0LL), static_cast<long long>(last_row)) == row;
        for (unsigned found = __ballot_sync(ALL_LANES, own); found; found &= found - 1) {
            const T* gradient = dy + (first + __ffs(found) - 1) * width;
#pragma unroll
            for (int j = 0; j < VECTOR; ++j) {
                const int column = blockIdx.y * COLUMNS + j * COLUMN_LANES + threadIdx.x;
                if (column < width) sum[j] += gradient[column];
            }
        }
    }
#pragma unroll
    for (int j = 0; j < VECTOR; ++j) of_warp[threadIdx.y][j * COLUMN_LANES + threadIdx.x] = sum[j];
    __syncthreads();
    if (threadIdx.y != 0) return;
#pragma unroll
    for (int j = 0; j < VECTOR; ++j) {
        const int column = blockIdx.y * COLUMNS + j * COLUMN_LANES + threadIdx.x;
        if (column >= width) continue;
        T total = 0;
        for (int warp = 0; warp < COLUMN_ROWS; ++warp) total += of_warp[warp][j * COLUMN_LANES + threadIdx.x];
        dweight[row * width + column] = total;
    }
}

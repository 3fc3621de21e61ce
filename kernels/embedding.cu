// embedding.cu: the gradient of an embedding table; the look-up is gather.cu. Also look-up and gradient for one
// category of rows of numbers and categories (gpunet/ops/_entity_embedding.py).
//
//     dweight[r] = sum of dy[i] over the positions i with indices[i] = r
//
// dy is (positions, width), dweight (rows, width). Every row of dweight is written, also those without a position.
// Indices are clamped to the table, as in gather.cu. The row `padding` gets zeros (-1: none). A category is a column of
// x, and its features are columns of y and dy.
//
// No float atomics and no sort: a block owns a row of the table and COLUMNS of its columns. Each of its warps reads
// every eighth group of 32 indices, one per lane, and adds the matching rows of dy in their order. The warps' sums are
// combined in shared memory, so results are bit-identical on every run. The price: every block reads all indices, rows
// * positions * 8 bytes from the cache. That is little for the tables of small models (10,000 rows and 2,000 positions:
// 160 MB); from about 10^9 pairs of row and position on, a sort would be cheaper.
//
// Options: REAL. Minimum traffic: 4 * (positions + rows) * width bytes in float, and the indices.

#include "columns.cuh"

// Write row blockIdx.x of dweight: the sum of the `width` numbers at dy + i * stride over all i < positions with
// row_of(i) = blockIdx.x.
template <typename Row>
DEVICE void sum_of_row(const T* dy, int stride, T* dweight, int positions, int width, Row row_of) {
    __shared__ T of_warp[COLUMN_ROWS][COLUMNS];
    const int row = blockIdx.x;
    T sum[VECTOR] = {};
    for (int first = threadIdx.y * WARP; first < positions; first += COLUMN_ROWS * WARP) {
        const int i = first + threadIdx.x;
        const bool own = i < positions && row_of(i) == row;
        for (unsigned found = __ballot_sync(ALL_LANES, own); found; found &= found - 1) {
            const T* gradient = dy + (first + __ffs(found) - 1) * stride;
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

// Launch: grid (rows, ceil(width / COLUMNS)), block (32, 8).
// FLOPs: positions * width
extern "C" __global__ void __launch_bounds__(256) embedding_backward(
    const T* __restrict__ dy,                 // [positions * width]
    const long long* __restrict__ indices,    // [positions]
    T* __restrict__ dweight,                  // [grid_x * width]
    int positions, int width, int padding) {
    const int last_row = gridDim.x - 1;
    const auto row_of = [=](int i) {
        return static_cast<int>(min(max(indices[i], 0LL), static_cast<long long>(last_row)));
    };
    sum_of_row(dy, width, dweight, static_cast<int>(blockIdx.x) == padding ? 0 : positions, width, row_of);
}

// The table row of a category: its value plus 1, or 0 for an unknown one, including NaN and fractions.
DEVICE int row_of_category(T category, int rows) {
    const bool known = category >= T(0) && category < T(rows - 1) && category == rint(category);
    return known ? static_cast<int>(category) + 1 : 0;
}

// Launch: grid-stride; any grid, block (256,).
// FLOPs: 0
extern "C" __global__ void __launch_bounds__(256) category_forward(
    const T* __restrict__ x,         // [count * width_x]
    const T* __restrict__ weight,    // [rows * width]
    T* __restrict__ y,               // [count * width_y]: the columns from `first` on are written
    int column, int rows, int width, int first, int width_x, int width_y, int count) {
    for (unsigned e = flat_thread(); e < static_cast<unsigned>(count) * width; e += flat_stride()) {
        const unsigned i = e / width, j = e % width;
        y[i * width_y + first + j] = weight[row_of_category(x[i * width_x + column], rows) * width + j];
    }
}

// Launch: grid (rows, ceil(width / COLUMNS)), block (32, 8).
// FLOPs: count * width
extern "C" __global__ void __launch_bounds__(256) category_backward(
    const T* __restrict__ dy,     // [count * width_y]
    const T* __restrict__ x,      // [count * width_x]
    T* __restrict__ dweight,      // [rows * width]
    int column, int rows, int width, int first, int width_x, int width_y, int count) {
    const auto row_of = [=](int i) { return row_of_category(x[i * width_x + column], rows); };
    sum_of_row(dy + first, width_y, dweight, count, width, row_of);
}

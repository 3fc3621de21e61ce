// layer_norm.cu: normalize each row to mean 0 and variance 1, then scale and shift it by feature; with -DRMS=1 RMS
// norm.
//
//     normal = (x - mean) / sqrt(variance + eps),  y = normal * weight + bias        x is (rows, n)
//     g = dy * weight,  dx = (g - mean(g) - normal * mean(g * normal)) / sqrt(variance + eps)
//     dweight = sum over rows of dy * normal,  dbias = sum over rows of dy
//
// RMS norm subtracts no means; `mean` is null then, and bias usually too.
//
// Memory-bound: forward moves 8 bytes per element in float, layer_norm_backward 12, layer_norm_columns 8. One warp per
// row, so its sums need no barrier. Forward goes over the row three times, since the variance is computed from
// differences to the mean. The second and third pass read from L1, which holds a row of a few thousand features. The
// sums over rows are a separate launch, as they need a different assignment of threads.
//
// Options: REAL; RMS.

#include "columns.cuh"

#ifndef RMS
#define RMS 0
#endif

// The loop of a thread over a row: vectors of WIDTH, one warp of them per iteration.
template <int WIDTH, typename Visit>
DEVICE void walk(int n, Visit visit) {
#pragma unroll 1  // the default, by 4, takes up to 160 registers: too few warps to hide latency
    for (int i = threadIdx.x % WARP * WIDTH; i < n; i += WARP * WIDTH) visit(i);
}

DEVICE int first_row() { return flat_thread() / WARP; }
DEVICE int row_stride() { return flat_stride() / WARP; }

template <int WIDTH>
DEVICE void forward(const T* x, const T* weight, const T* bias, T* y, T* means, T* scales, int rows, int n, T eps) {
    for (int row = first_row(); row < rows; row += row_stride()) {
        const T* x_row = x + row * n;
        T* y_row = y + row * n;
        T mean = 0, squares = 0;
        if (!RMS) {
            walk<WIDTH>(n, [&](int i) {
                const auto value = load<WIDTH>(x_row + i);
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) mean += value.v[j];
            });
            mean = warp_sum(mean) / static_cast<T>(n);
        }
        walk<WIDTH>(n, [&](int i) {
            const auto value = load<WIDTH>(x_row + i);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) squares += (value.v[j] - mean) * (value.v[j] - mean);
        });
        const T scale = T(1) / real::sqrt(warp_sum(squares) / static_cast<T>(n) + eps);
        walk<WIDTH>(n, [&](int i) {
            auto value = load<WIDTH>(x_row + i);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                value.v[j] = (value.v[j] - mean) * scale;
                if (weight) value.v[j] *= weight[i + j];
                if (bias) value.v[j] += bias[i + j];
            }
            store(y_row + i, value);
        });
        if (threadIdx.x % WARP == 0) {
            if (!RMS) means[row] = mean;
            scales[row] = scale;
        }
    }
}

// Launch: one warp per row, grid-stride; grid (ceil(rows / 8),) or fewer, block (256,).
// FLOPs: 8 * rows * n
extern "C" __global__ void __launch_bounds__(256, 1) layer_norm_forward(
    const T* __restrict__ x,         // [rows * n]
    const T* __restrict__ weight,    // [n] or null: ones
    const T* __restrict__ bias,      // [n] or null: zeros
    T* __restrict__ y,               // [rows * n]
    T* __restrict__ mean,            // [rows] or null: with RMS
    T* __restrict__ scale,           // [rows]: 1 / sqrt(variance + eps)
    int rows, int n, T eps) {
    if (n % VECTOR == 0 && aligned(x) && aligned(y))
        forward<VECTOR>(x, weight, bias, y, mean, scale, rows, n, eps);
    else
        forward<1>(x, weight, bias, y, mean, scale, rows, n, eps);
}

template <int WIDTH>
DEVICE void backward(const T* dy, const T* x, const T* weight, const T* means, const T* scales, T* dx, int rows,
                     int n) {
    for (int row = first_row(); row < rows; row += row_stride()) {
        const int start = row * n;
        const T mean = RMS ? T(0) : means[row], scale = scales[row];
        // g and normal of the elements from i on
        const auto both = [&](int i, Pack<WIDTH>& g, Pack<WIDTH>& normal) {
            g = load<WIDTH>(dy + start + i);
            normal = load<WIDTH>(x + start + i);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                if (weight) g.v[j] *= weight[i + j];
                normal.v[j] = (normal.v[j] - mean) * scale;
            }
        };
        Pack<WIDTH> g, normal;
        T sum = 0, product = 0;
        walk<WIDTH>(n, [&](int i) {
            both(i, g, normal);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) {
                sum += g.v[j];
                product += g.v[j] * normal.v[j];
            }
        });
        sum = RMS ? T(0) : warp_sum(sum) / static_cast<T>(n);
        product = warp_sum(product) / static_cast<T>(n);
        walk<WIDTH>(n, [&](int i) {
            both(i, g, normal);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) g.v[j] = (g.v[j] - sum - normal.v[j] * product) * scale;
            store(dx + start + i, g);
        });
    }
}

// Launch: as layer_norm_forward.
// FLOPs: 13 * rows * n
extern "C" __global__ void __launch_bounds__(256, 1) layer_norm_backward(
    const T* __restrict__ dy,        // [rows * n]
    const T* __restrict__ x,         // [rows * n]
    const T* __restrict__ weight,    // [n] or null: ones
    const T* __restrict__ mean,      // [rows] or null
    const T* __restrict__ scale,     // [rows]
    T* __restrict__ dx,              // [rows * n]
    int rows, int n) {
    if (n % VECTOR == 0 && aligned(dy) && aligned(x) && aligned(dx))
        backward<VECTOR>(dy, x, weight, mean, scale, dx, rows, n);
    else
        backward<1>(dy, x, weight, mean, scale, dx, rows, n);
}

// dweight and dbias. Launch, partial_sums and arrivals: see columns.cuh.
// FLOPs: 5 * rows * n
extern "C" __global__ void __launch_bounds__(256, 1) layer_norm_columns(
    const T* __restrict__ dy,       // [rows * n]
    const T* __restrict__ x,        // [rows * n]
    const T* __restrict__ mean,     // [rows] or null
    const T* __restrict__ scale,    // [rows]
    T* partial_sums,                // [grid_y * 2 * n] or null
    unsigned* arrivals,             // [grid_x] or null
    T* __restrict__ dweight,        // [n]
    T* __restrict__ dbias,          // [n] or null: not computed
    int rows, int n, int rows_per_chunk) {
    const bool vectors = n % VECTOR == 0 && aligned(dy) && aligned(x);
    sum_columns_in_chunks<2>(
        partial_sums, arrivals, rows, n, rows_per_chunk, vectors,
        [&](int row, T (&sums)[2][VECTOR]) {
            const T center = RMS ? T(0) : mean[row], unit = scale[row];
            const Vector gradient = load_columns(dy + row * n, n, vectors);
            const Vector value = load_columns(x + row * n, n, vectors);
#pragma unroll
            for (int j = 0; j < VECTOR; ++j) {
                sums[0][j] += gradient.v[j] * ((value.v[j] - center) * unit);
                sums[1][j] += gradient.v[j];
            }
        },
        [&](int column, const T (&sums)[2]) {
            dweight[column] = sums[0];
            if (dbias) dbias[column] = sums[1];
        });
}

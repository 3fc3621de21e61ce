// batch_norm.cu: normalize each channel to mean 0 and variance 1 over the batch, then scale and shift it.
//
//     normal = (x - mean) / sqrt(variance + eps),  y = normal * weight + bias       x is (rows, channels, size)
//     dweight = sum of dy * normal,  dbias = sum of dy                              over rows and size
//     dx = (dy - dbias / count - normal * dweight / count) * weight / sqrt(variance + eps)     count = rows * size
//
// All kernels treat x as a matrix of `rows` rows and n = channels * size columns, launched as in columns.cuh (size is
// 1, the length of a signal or the pixels of an image). A thread keeps its columns, so the values of their channels
// stay in registers. The sum of a channel is the sum over its columns. With size 1 the block that has the column is
// done; otherwise the last block adds the columns up, one warp per channel.
//
// Memory-bound: forward takes three launches that read x, and one of them writes y: 16 bytes per element in float. The
// variance is computed from differences to the mean, so the mean needs its own pass. Backward takes two: 20 bytes.
//
// Options: REAL.

#include "columns.cuh"

// A value per channel for each of this lane's columns; zero past the end.
struct Channels {
    T v[VECTOR];
    DEVICE Channels(const T* of_channel, int n, int size, bool vectors) {
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) {
            const int column = column_of(j, vectors);
            v[j] = column < n ? of_channel[column / size] : T(0);
        }
    }
};

DEVICE T reciprocal_deviation(T variance, T eps) { return T(1) / real::sqrt(variance + eps); }

// Call add_row as sum_columns_in_chunks does, and finish(channel, totals) once per channel. `column_sums` has SUMS *
// channels * size numbers, and `done` is a zero; neither is used if size is 1.
template <int SUMS, typename Row, typename Finish>
DEVICE void sum_channels(T* column_sums, unsigned* done, T* partial_sums, unsigned* arrivals, int rows, int channels,
                         int size, int rows_per_chunk, bool vectors, Row add_row, Finish finish) {
    const int n = channels * size;
    const bool has_columns = sum_columns_in_chunks<SUMS>(
        partial_sums, arrivals, rows, n, rows_per_chunk, vectors, add_row, [&](int column, const T (&totals)[SUMS]) {
            if (size == 1) return finish(column, totals);
#pragma unroll
            for (int s = 0; s < SUMS; ++s) column_sums[s * n + column] = totals[s];
        });
    if (size == 1 || !has_columns || !last_to_arrive(done, gridDim.x)) return;
    for (int channel = threadIdx.y; channel < channels; channel += COLUMN_ROWS) {
        T totals[SUMS] = {};
        for (int i = threadIdx.x; i < size; i += WARP)
#pragma unroll
            for (int s = 0; s < SUMS; ++s) totals[s] += __ldcg(column_sums + s * n + channel * size + i);
#pragma unroll
        for (int s = 0; s < SUMS; ++s) totals[s] = warp_sum(totals[s]);
        if (threadIdx.x == 0) finish(channel, totals);
    }
}

// Launch, partial_sums and arrivals: see columns.cuh; column_sums and done: see sum_channels.
// FLOPs: rows * channels * size
extern "C" __global__ void __launch_bounds__(256, 1) batch_norm_mean(
    const T* __restrict__ x,    // [rows * channels * size]
    T* column_sums,             // [channels * size] or null: size is 1
    unsigned* done,             // [1] or null: size is 1
    T* partial_sums,            // [grid_y * channels * size] or null
    unsigned* arrivals,         // [grid_x] or null
    T* __restrict__ mean,       // [channels]
    T* __restrict__ batches,    // [1] or null: the number of batches, incremented
    int rows, int channels, int size, int rows_per_chunk) {
    const int n = channels * size;
    const bool vectors = n % VECTOR == 0 && aligned(x);
    const T count = max(rows * size, 1);
    sum_channels<1>(
        column_sums, done, partial_sums, arrivals, rows, channels, size, rows_per_chunk, vectors,
        [&](int row, T (&sum)[1][VECTOR]) {
            const Vector value = load_columns(x + row * n, n, vectors);
#pragma unroll
            for (int j = 0; j < VECTOR; ++j) sum[0][j] += value.v[j];
        },
        [&](int channel, const T (&sum)[1]) {
            mean[channel] = sum[0] / count;
            if (channel == 0 && batches) batches[0] += T(1);
        });
}

// Move a running statistic towards the value of this batch. Skip a value that is not finite: the statistic would never
// recover from it.
DEVICE void follow(T* running, T number, T momentum) {
    const T change = momentum * (number - *running);
    if (change - change == T(0)) *running += change;
}

// A momentum below 0 stands for the plain mean over all batches. Launch: as batch_norm_mean.
// FLOPs: 3 * rows * channels * size
extern "C" __global__ void __launch_bounds__(256, 1) batch_norm_variance(
    const T* __restrict__ x,          // [rows * channels * size]
    const T* __restrict__ mean,       // [channels]
    T* column_sums,                   // [channels * size] or null: size is 1
    unsigned* done,                   // [1] or null: size is 1
    T* partial_sums,                  // [grid_y * channels * size] or null
    unsigned* arrivals,               // [grid_x] or null
    T* __restrict__ variance,         // [channels]
    T* __restrict__ running_mean,     // [channels] or null: no running statistics
    T* __restrict__ running_var,      // [channels] or null
    const T* __restrict__ batches,    // [1] or null: read if momentum is below 0
    int rows, int channels, int size, int rows_per_chunk, T momentum) {
    const int n = channels * size;
    const bool vectors = n % VECTOR == 0 && aligned(x);
    const Channels center(mean, n, size, vectors);
    const T count = max(rows * size, 1);
    sum_channels<1>(
        column_sums, done, partial_sums, arrivals, rows, channels, size, rows_per_chunk, vectors,
        [&](int row, T (&sum)[1][VECTOR]) {
            const Vector value = load_columns(x + row * n, n, vectors);
#pragma unroll
            for (int j = 0; j < VECTOR; ++j) sum[0][j] += (value.v[j] - center.v[j]) * (value.v[j] - center.v[j]);
        },
        [&](int channel, const T (&sum)[1]) {
            variance[channel] = sum[0] / count;
            if (!running_mean || rows * size < 2) return;
            const T step = momentum < T(0) ? T(1) / batches[0] : momentum;
            follow(running_mean + channel, mean[channel], step);
            follow(running_var + channel, sum[0] / (count - T(1)), step);
        });
}

// y from mean and variance, of the batch or running. Launch: see columns.cuh.
// FLOPs: 4 * rows * channels * size
extern "C" __global__ void __launch_bounds__(256, 1) batch_norm_forward(
    const T* __restrict__ x,           // [rows * channels * size]
    const T* __restrict__ mean,        // [channels]
    const T* __restrict__ variance,    // [channels]
    const T* __restrict__ weight,      // [channels] or null: ones
    const T* __restrict__ bias,        // [channels] or null: zeros
    T* __restrict__ y,                 // [rows * channels * size]
    int rows, int channels, int size, int rows_per_chunk, T eps) {
    const int n = channels * size;
    const bool vectors = n % VECTOR == 0 && aligned(x) && aligned(y);
    const Channels center(mean, n, size, vectors);
    T scale[VECTOR] = {}, shift[VECTOR] = {};
#pragma unroll
    for (int j = 0; j < VECTOR; ++j) {
        const int column = column_of(j, vectors);
        if (column >= n) continue;
        const int channel = column / size;
        scale[j] = reciprocal_deviation(variance[channel], eps) * (weight ? weight[channel] : T(1));
        shift[j] = bias ? bias[channel] : T(0);
    }
    visit_rows(rows, rows_per_chunk, [&](int row) {
        Vector value = load_columns(x + row * n, n, vectors);
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) value.v[j] = (value.v[j] - center.v[j]) * scale[j] + shift[j];
        store_columns(y + row * n, n, vectors, value);
    });
}

// dweight and dbias. Launch: as batch_norm_mean.
// FLOPs: 5 * rows * channels * size
extern "C" __global__ void __launch_bounds__(256, 2) batch_norm_sums(
    const T* __restrict__ dy,          // [rows * channels * size]
    const T* __restrict__ x,           // [rows * channels * size]
    const T* __restrict__ mean,        // [channels]
    const T* __restrict__ variance,    // [channels]
    T* column_sums,                    // [2 * channels * size] or null: size is 1
    unsigned* done,                    // [1] or null: size is 1
    T* partial_sums,                   // [grid_y * 2 * channels * size] or null
    unsigned* arrivals,                // [grid_x] or null
    T* __restrict__ dweight,           // [channels]
    T* __restrict__ dbias,             // [channels]
    int rows, int channels, int size, int rows_per_chunk, T eps) {
    const int n = channels * size;
    const bool vectors = n % VECTOR == 0 && aligned(dy) && aligned(x);
    const Channels center(mean, n, size, vectors);
    sum_channels<2>(
        column_sums, done, partial_sums, arrivals, rows, channels, size, rows_per_chunk, vectors,
        [&](int row, T (&sums)[2][VECTOR]) {
            const Vector gradient = load_columns(dy + row * n, n, vectors);
            const Vector value = load_columns(x + row * n, n, vectors);
#pragma unroll
            for (int j = 0; j < VECTOR; ++j) {
                sums[0][j] += gradient.v[j] * (value.v[j] - center.v[j]);
                sums[1][j] += gradient.v[j];
            }
        },
        [&](int channel, const T (&sums)[2]) {
            dweight[channel] = sums[0] * reciprocal_deviation(variance[channel], eps);
            dbias[channel] = sums[1];
        });
}

// Launch: see columns.cuh.
// FLOPs: 6 * rows * channels * size
extern "C" __global__ void __launch_bounds__(256, 1) batch_norm_backward(
    const T* __restrict__ dy,          // [rows * channels * size]
    const T* __restrict__ x,           // [rows * channels * size]
    const T* __restrict__ mean,        // [channels]
    const T* __restrict__ variance,    // [channels]
    const T* __restrict__ weight,      // [channels] or null: ones
    const T* __restrict__ dweight,     // [channels]
    const T* __restrict__ dbias,       // [channels]
    T* __restrict__ dx,                // [rows * channels * size]
    int rows, int channels, int size, int rows_per_chunk, T eps) {
    const int n = channels * size;
    const bool vectors = n % VECTOR == 0 && aligned(dy) && aligned(x) && aligned(dx);
    const T count = max(rows * size, 1);
    const Channels center(mean, n, size, vectors);
    T scale[VECTOR] = {}, slope[VECTOR] = {}, shift[VECTOR] = {};  // dx = (dy - shift - (x - center) * slope) * scale
#pragma unroll
    for (int j = 0; j < VECTOR; ++j) {
        const int column = column_of(j, vectors);
        if (column >= n) continue;
        const int channel = column / size;
        const T unit = reciprocal_deviation(variance[channel], eps);
        scale[j] = unit * (weight ? weight[channel] : T(1));
        slope[j] = dweight[channel] / count * unit;
        shift[j] = dbias[channel] / count;
    }
    visit_rows(rows, rows_per_chunk, [&](int row) {
        Vector gradient = load_columns(dy + row * n, n, vectors);
        const Vector value = load_columns(x + row * n, n, vectors);
#pragma unroll
        for (int j = 0; j < VECTOR; ++j)
            gradient.v[j] = (gradient.v[j] - shift[j] - (value.v[j] - center.v[j]) * slope[j]) * scale[j];
        store_columns(dx + row * n, n, vectors, gradient);
    });
}

// bias_activation.cu: bias and activation in one pass, after a matrix product.
//
//     y = f(z + bias)                      forward;  z is (rows, n), bias (n,)
//     dz = dy * f'(saved), dbias = sum over rows of dz     backward
//
// Options: REAL; ACTIVATION, and USER_FORWARD, USER_BACKWARD for a user-defined function (see activations.h).
//
// Memory-bound: forward moves 8 bytes per element in float, backward 12, for a few FLOPs. So loads and stores are
// vectorized if n and the pointers allow it, and each thread has several loads in flight. These are issued explicitly
// before the stores: the compiler does not reorder them, as arrays may alias. Backward sums the columns of dz for the
// bias gradient while dz is in registers; a second pass would read 4 bytes per element more.
//
// matmul_tiled.cu avoids the pass: its epilogue computes the forward part and the derivative.

#include "common.cuh"
#include "activations.h"
#include "columns.cuh"

// Vectors per thread forward, rows backward. In double the registers do not suffice for more.
constexpr int IN_FLIGHT = sizeof(T) == sizeof(float) ? 4 : 1;

// Launch: grid-stride; grid (ceil(rows * n / (256 * VECTOR)),), a quarter of it if that fills the GPU; block (256,). z,
// preactivation and y may be one array, but y and preactivation only if f is the identity.
// FLOPs: 2 * rows * n
extern "C" __global__ void __launch_bounds__(256) bias_activation_forward(
    const T* z,                     // [rows * n]
    const T* __restrict__ bias,     // [n] or null
    T* preactivation,               // [rows * n] or null: z + bias, for the backward pass
    T* y,                           // [rows * n]
    int rows, int n, T parameter) {
    const unsigned size = rows * n;
    const bool whole = n % VECTOR == 0 && aligned(z) && aligned(bias) && aligned(preactivation) && aligned(y);
    const unsigned vectors = whole ? size / VECTOR : 0;
    const unsigned width = max(n, 1), step = flat_stride() * VECTOR % width;
    unsigned column = flat_thread() * VECTOR % width;  // incremented: a division costs more than all the rest
    for (unsigned first = flat_thread(); first < vectors; first += IN_FLIGHT * flat_stride()) {
        Vector values[IN_FLIGHT];
#pragma unroll
        for (int v = 0; v < IN_FLIGHT; ++v)
            if (const unsigned i = first + v * flat_stride(); i < vectors) values[v] = load(z + i * VECTOR);
#pragma unroll
        for (int v = 0; v < IN_FLIGHT; ++v) {
            const unsigned i = first + v * flat_stride();
            if (i >= vectors) break;
            if (bias) {
                const Vector b = load(bias + column);
#pragma unroll
                for (int j = 0; j < VECTOR; ++j) values[v].v[j] += b.v[j];
            }
            if (preactivation) store(preactivation + i * VECTOR, values[v]);
#pragma unroll
            for (int j = 0; j < VECTOR; ++j) values[v].v[j] = Activation::forward(values[v].v[j], parameter);
            store(y + i * VECTOR, values[v]);
            column += column + step < width ? step : step - width;
        }
    }
    for (unsigned i = vectors * VECTOR + flat_thread(); i < size; i += flat_stride()) {
        const T value = bias ? z[i] + bias[i % n] : z[i];
        if (preactivation) preactivation[i] = value;
        y[i] = Activation::forward(value, parameter);
    }
}

// Launch, partial_sums and arrivals: see columns.cuh. dz may be dy or saved.
// FLOPs: 3 * rows * n
extern "C" __global__ void __launch_bounds__(256, 1) bias_activation_backward(
    const T* dy,                     // [rows * n]
    const T* saved,                  // [rows * n]: y, or z + bias if f' needs it
    T* dz,                           // [rows * n]
    T* partial_sums,                 // [grid_y * n] or null
    unsigned* arrivals,              // [grid_x] or null
    T* __restrict__ dbias,           // [n]
    int rows, int n, int rows_per_chunk, T parameter) {
    const bool vectors = n % VECTOR == 0 && aligned(dy) && aligned(saved) && aligned(dz);
    struct Loaded {
        Vector gradient, saved;
    };
    T sums[1][VECTOR] = {};
    visit_rows<IN_FLIGHT>(
        rows, rows_per_chunk,
        [&](int row) {
            return Loaded{load_columns(dy + row * n, n, vectors), load_columns(saved + row * n, n, vectors)};
        },
        [&](int row, Loaded& loaded) {
#pragma unroll
            for (int j = 0; j < VECTOR; ++j) {
                loaded.gradient.v[j] *= Activation::backward(loaded.saved.v[j], parameter);
                sums[0][j] += loaded.gradient.v[j];
            }
            store_columns(dz + row * n, n, vectors, loaded.gradient);
        });
    sum_chunks(sums, partial_sums, arrivals, n, vectors,
               [&](int column, const T (&sum)[1]) { dbias[column] = sum[0]; });
}

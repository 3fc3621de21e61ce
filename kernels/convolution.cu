// convolution.cu: the passes before and after the matrix product of a convolution.
//
//     columns = im2col(x)                  each column is the patch of x under a window: an operand of the product
//     y = f(z + bias)                      z = W columns is in channel order, y in row order
//     dz = dy * f'(saved), dbias = sum over rows and pixels of dz      the backward pass of that
//     dx = col2im(dcolumns)                each pixel gets the sum of its entries in all patches that contain it
//
// x is (rows, channels, height, width), columns (channels, kernel_h, kernel_w, rows, out_h, out_w), z and dz (channels,
// rows, pixels), y and dy (rows, channels, pixels).
//
// Options: REAL; ACTIVATION, and USER_FORWARD, USER_BACKWARD for a user-defined function (see activations.h).
//
// All four are memory-bound. im2col writes kernel_h * kernel_w elements for each that it reads, and col2im reads as
// many for each that it writes. Adjacent threads take adjacent pixels, so accesses are coalesced. A thread of im2col
// writes all taps of a channel, since the division of its index into row and pixel is the main cost. In float both move
// 4 * (1 + kernel_h * kernel_w / (stride_h * stride_w)) bytes per element of x, conv2d_output 8 per element of y plus 4
// for a preactivation, conv2d_output_backward 8, or 12 with `saved`. Bias and activation need no extra pass: z has to
// be rearranged anyway.

#include "common.cuh"
#include "activations.h"
#include "window.cuh"

// Launch: grid-stride; grid (ceil(channels * rows * out_h * out_w / 256),) or fewer, block (256,).
// FLOPs: 0
extern "C" __global__ void __launch_bounds__(256) im2col(
    const T* __restrict__ x,    // [rows * channels * height * width]
    T* __restrict__ columns,    // [channels * kernel_h * kernel_w * rows * out_h * out_w]
    int rows, int channels, int height, int width, int out_h, int out_w,
    int kernel_h, int kernel_w, int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w) {
    const Window window{kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w};
    const int places = rows * out_h * out_w;
    for (unsigned t = flat_thread(); t < channels * places; t += flat_stride()) {
        const int channel = t / places, place = t % places;
        const Place at(place, out_h, out_w);
        const T* image = x + (at.image * channels + channel) * height * width;
        T* column = columns + channel * kernel_h * kernel_w * places + place;
        const int top = window.top(at.row), left = window.left(at.column);
        for (int i = 0; i < kernel_h; ++i) {
            const int h = top + i * dilation_h;
            for (int j = 0; j < kernel_w; ++j) {
                const int w = left + j * dilation_w;
                const bool inside = h >= 0 && h < height && w >= 0 && w < width;
                *column = inside ? image[h * width + w] : T(0);
                column += places;
            }
        }
    }
}

// Launch: grid-stride; grid (ceil(rows * channels * height * width / 256),) or fewer, block (256,).
// FLOPs: channels * kernel_h * kernel_w * rows * out_h * out_w
extern "C" __global__ void __launch_bounds__(256) col2im(
    const T* __restrict__ columns,    // [channels * kernel_h * kernel_w * rows * out_h * out_w]
    T* __restrict__ dx,               // [rows * channels * height * width]
    int rows, int channels, int height, int width, int out_h, int out_w,
    int kernel_h, int kernel_w, int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w) {
    const Window window{kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w};
    const int pixels = out_h * out_w, places = rows * pixels;
    for (unsigned t = flat_thread(); t < rows * channels * height * width; t += flat_stride()) {
        const Place at(t, height, width);
        const int row = at.image / channels, channel = at.image % channels;
        const T* column = columns + channel * kernel_h * kernel_w * places + row * pixels;
        T sum = 0;
        for (int i = 0; i < kernel_h; ++i) {
            const int down = window.over_row(at.row, i, out_h);
            if (down < 0) continue;
            for (int j = 0; j < kernel_w; ++j) {
                const int across = window.over_column(at.column, j, out_w);
                if (across >= 0) sum += column[(i * kernel_w + j) * places + down * out_w + across];
            }
        }
        dx[t] = sum;
    }
}

template <int WIDTH>
DEVICE void output(const T* z, const T* bias, T* preactivation, T* y, int rows, int channels, int pixels,
                   T parameter) {
    const unsigned line = pixels / WIDTH;
    for (unsigned i = flat_thread(); i < rows * channels * line; i += flat_stride()) {
        const unsigned row = i / line / channels, channel = i / line % channels;
        auto value = load<WIDTH>(z + ((channel * rows + row) * line + i % line) * WIDTH);
        const T b = bias ? bias[channel] : T(0);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) value.v[j] += b;
        if (preactivation) store(preactivation + i * WIDTH, value);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) value.v[j] = Activation::forward(value.v[j], parameter);
        store(y + i * WIDTH, value);
    }
}

// Launch: grid-stride; grid (ceil(rows * channels * pixels / (256 * VECTOR)),) or fewer, block (256,).
// FLOPs: 2 * rows * channels * pixels
extern "C" __global__ void __launch_bounds__(256) conv2d_output(
    const T* __restrict__ z,       // [channels * rows * pixels]
    const T* __restrict__ bias,    // [channels] or null
    T* preactivation,              // [rows * channels * pixels] or null: z + bias, for the backward pass
    T* y,                          // [rows * channels * pixels]
    int rows, int channels, int pixels, T parameter) {
    if (pixels % VECTOR == 0 && aligned(z) && aligned(preactivation) && aligned(y)) {
        output<VECTOR>(z, bias, preactivation, y, rows, channels, pixels, parameter);
    } else {
        output<1>(z, bias, preactivation, y, rows, channels, pixels, parameter);
    }
}

// Write dz for the channel of this block and return this thread's share of its sum.
template <int WIDTH>
DEVICE T output_backward(const T* dy, const T* saved, T* dz, int rows, int channels, int pixels, T parameter) {
    const unsigned line = pixels / WIDTH, channel = blockIdx.y;
    T sum = 0;
    for (unsigned i = flat_thread(); i < rows * line; i += flat_stride()) {
        const unsigned place = ((i / line * channels + channel) * line + i % line) * WIDTH;
        auto gradient = load<WIDTH>(dy + place);
        if (saved) {
            const auto s = load<WIDTH>(saved + place);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) gradient.v[j] *= Activation::backward(s.v[j], parameter);
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) sum += gradient.v[j];
        store(dz + (channel * rows * line + i) * WIDTH, gradient);
    }
    return sum;
}

// Launch: grid (blocks that share a channel, channels), block (256,).
// FLOPs: 3 * rows * channels * pixels
extern "C" __global__ void __launch_bounds__(256) conv2d_output_backward(
    const T* __restrict__ dy,       // [rows * channels * pixels]
    const T* __restrict__ saved,    // [rows * channels * pixels] or null if f is the identity
    T* __restrict__ dz,             // [channels * rows * pixels]
    T* partial_sums,                // [channels * grid_x] or null
    unsigned* arrivals,             // [channels] or null: zeros, if several blocks share a channel
    T* __restrict__ dbias,          // [channels] or null
    int rows, int channels, int pixels, T parameter) {
    __shared__ T scratch[256 / WARP];
    const bool vectors = pixels % VECTOR == 0 && aligned(dy) && aligned(saved) && aligned(dz);
    T sum = vectors ? output_backward<VECTOR>(dy, saved, dz, rows, channels, pixels, parameter)
                    : output_backward<1>(dy, saved, dz, rows, channels, pixels, parameter);
    if (!dbias) return;
    const int channel = blockIdx.y;
    if (grid_sum(sum, scratch, partial_sums + channel * gridDim.x, arrivals + channel) && threadIdx.x == 0)
        dbias[channel] = sum;
}

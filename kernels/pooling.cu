// pooling.cu: the largest element or the mean under each window of an image, or the mean of the whole image.
//
// y = max over taps of x,     dx = sum of dy over the windows with the pixel as maximum y = sum over taps of x / taps,
// padding counted as zeros,     dx = sum of dy over the windows with the pixel / taps y = mean of x over the pixels,
// dx = dy / pixels
//
// x is (images, height, width), where an image is a channel of a row; y is (images, out_h, out_w). `winners` holds the
// tap with the largest element; the first of equal elements wins, as in PyTorch. NaN is larger than all.
//
// Memory-bound: about 4 bytes in float per element of x and y, and 4 per winner; windows that share a pixel read it
// from the cache. Adjacent threads take adjacent pixels, so accesses are coalesced. Backward has one thread per pixel,
// which adds up the windows that contain it: sums have a fixed order, without atomics.
//
// Options: REAL.

#include "window.cuh"

// Launch: grid-stride; grid (ceil(images * out_h * out_w / 256),) or fewer, block (256,).
// FLOPs: images * out_h * out_w * kernel_h * kernel_w
extern "C" __global__ void __launch_bounds__(256) max_pool2d_forward(
    const T* __restrict__ x,    // [images * height * width]
    T* __restrict__ y,          // [images * out_h * out_w]
    int* winners,               // [images * out_h * out_w] or null
    int images, int height, int width, int out_h, int out_w,
    int kernel_h, int kernel_w, int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w) {
    const Window window{kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w};
    for (unsigned t = flat_thread(); t < images * out_h * out_w; t += flat_stride()) {
        const Place at(t, out_h, out_w);
        const T* image = x + at.image * height * width;
        T largest = -__int_as_float(0x7f800000);  // minus infinity, the result of a window with only padding
        int winner = -1;
        for (int i = 0; i < kernel_h; ++i) {
            const int h = window.top(at.row) + i * dilation_h;
            if (h < 0 || h >= height) continue;
            for (int j = 0; j < kernel_w; ++j) {
                const int w = window.left(at.column) + j * dilation_w;
                if (w < 0 || w >= width) continue;
                const T value = image[h * width + w];
                if (winner < 0 || value > largest || value != value) {
                    largest = value;
                    winner = i * kernel_w + j;
                }
            }
        }
        y[t] = largest;
        if (winners) winners[t] = winner;
    }
}

// Launch: grid-stride; grid (ceil(images * height * width / 256),) or fewer, block (256,).
// FLOPs: images * out_h * out_w * kernel_h * kernel_w
extern "C" __global__ void __launch_bounds__(256) max_pool2d_backward(
    const T* __restrict__ dy,           // [images * out_h * out_w]
    const int* __restrict__ winners,    // [images * out_h * out_w]
    T* __restrict__ dx,                 // [images * height * width]
    int images, int height, int width, int out_h, int out_w,
    int kernel_h, int kernel_w, int stride_h, int stride_w, int padding_h, int padding_w, int dilation_h, int dilation_w) {
    const Window window{kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, dilation_h, dilation_w};
    for (unsigned t = flat_thread(); t < images * height * width; t += flat_stride()) {
        const Place at(t, height, width);
        T sum = 0;
        for (int i = 0; i < kernel_h; ++i) {
            const int down = window.over_row(at.row, i, out_h);
            if (down < 0) continue;
            for (int j = 0; j < kernel_w; ++j) {
                const int across = window.over_column(at.column, j, out_w);
                if (across < 0) continue;
                const int place = (at.image * out_h + down) * out_w + across;
                if (winners[place] == i * kernel_w + j) sum += dy[place];
            }
        }
        dx[t] = sum;
    }
}

// Launch: as max_pool2d_forward.
// FLOPs: images * out_h * out_w * kernel_h * kernel_w
extern "C" __global__ void __launch_bounds__(256) avg_pool2d_forward(
    const T* __restrict__ x,    // [images * height * width]
    T* __restrict__ y,          // [images * out_h * out_w]
    int images, int height, int width, int out_h, int out_w,
    int kernel_h, int kernel_w, int stride_h, int stride_w, int padding_h, int padding_w) {
    const Window window{kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, 1, 1};
    const T taps = kernel_h * kernel_w;
    for (unsigned t = flat_thread(); t < images * out_h * out_w; t += flat_stride()) {
        const Place at(t, out_h, out_w);
        const T* image = x + at.image * height * width;
        const int top = window.top(at.row), left = window.left(at.column);
        T sum = 0;
        for (int h = max(top, 0); h < min(top + kernel_h, height); ++h)
            for (int w = max(left, 0); w < min(left + kernel_w, width); ++w) sum += image[h * width + w];
        y[t] = sum / taps;
    }
}

// Launch: as max_pool2d_backward.
// FLOPs: images * out_h * out_w * kernel_h * kernel_w
extern "C" __global__ void __launch_bounds__(256) avg_pool2d_backward(
    const T* __restrict__ dy,    // [images * out_h * out_w]
    T* __restrict__ dx,          // [images * height * width]
    int images, int height, int width, int out_h, int out_w,
    int kernel_h, int kernel_w, int stride_h, int stride_w, int padding_h, int padding_w) {
    const Window window{kernel_h, kernel_w, stride_h, stride_w, padding_h, padding_w, 1, 1};
    const T taps = kernel_h * kernel_w;
    for (unsigned t = flat_thread(); t < images * height * width; t += flat_stride()) {
        const Place at(t, height, width);
        T sum = 0;
        for (int i = 0; i < kernel_h; ++i) {
            const int down = window.over_row(at.row, i, out_h);
            if (down < 0) continue;
            for (int j = 0; j < kernel_w; ++j) {
                const int across = window.over_column(at.column, j, out_w);
                if (across >= 0) sum += dy[(at.image * out_h + down) * out_w + across];
            }
        }
        dx[t] = sum / taps;
    }
}

// The mean of each image, one warp per image for coalesced loads. Launch: grid-stride; grid (ceil(images / 8),) or
// fewer, block (256,).
// FLOPs: images * pixels
extern "C" __global__ void __launch_bounds__(256) global_avg_pool2d_forward(
    const T* __restrict__ x,    // [images * pixels]
    T* __restrict__ y,          // [images]
    int images, int pixels) {
    const int lane = threadIdx.x % WARP;
    for (unsigned image = flat_thread() / WARP; image < images; image += flat_stride() / WARP) {
        T sum = 0;
        for (int i = lane; i < pixels; i += WARP) sum += x[image * pixels + i];
        sum = warp_sum(sum);
        if (lane == 0) y[image] = sum / pixels;
    }
}

// Launch: grid-stride; grid (ceil(images * pixels / 256),) or fewer, block (256,).
// FLOPs: images * pixels
extern "C" __global__ void __launch_bounds__(256) global_avg_pool2d_backward(
    const T* __restrict__ dy,    // [images]
    T* __restrict__ dx,          // [images * pixels]
    int images, int pixels) {
    for (unsigned i = flat_thread(); i < images * pixels; i += flat_stride()) dx[i] = dy[i / pixels] / pixels;
}

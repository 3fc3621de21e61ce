// cosine.cu: the cosine of the angle between rows, its gradient, and the cosine embedding loss of pairs of rows.
//
//     c = a·b / (max(|a|, eps) max(|b|, eps))
//     da = dc (b / (|a| |b|) - c a / |a|^2), or dc b / (eps |b|) where |a| <= eps;    db by symmetry
//
// a and b are (rows, width). A zero vector has the cosine 0 with any other.
//
// One warp per row at a time: three dot products forward; backward two passes over the row, the second from the cache.
// Memory-bound: 8 bytes per element forward in float, 16 backward, for 6 and 12 FLOPs.
//
// Options: REAL. Launch: grid-stride over rows; grid (ceil(rows / 8),) or fewer, block (256,).

#include "common.cuh"

struct Cosine {
    T value, inverse_a, inverse_b;  // 1 / max(|a|, eps), with |a| = sqrt(a·a + added)
    T slope_a, slope_b;             // c / |a|^2, or 0 where the norm is clamped to eps
};

DEVICE Cosine cosine_of(const T* a, const T* b, int width, T eps, T added) {
    T ab = 0, aa = 0, bb = 0;
    for (int i = threadIdx.x % WARP; i < width; i += WARP) {
        ab += a[i] * b[i];
        aa += a[i] * a[i];
        bb += b[i] * b[i];
    }
    ab = warp_sum(ab);
    const T norm_a = real::sqrt(warp_sum(aa) + added), norm_b = real::sqrt(warp_sum(bb) + added);
    Cosine c;
    c.inverse_a = T(1) / (norm_a > eps ? norm_a : eps);
    c.inverse_b = T(1) / (norm_b > eps ? norm_b : eps);
    c.value = ab * c.inverse_a * c.inverse_b;
    c.slope_a = norm_a > eps ? c.value * c.inverse_a * c.inverse_a : T(0);
    c.slope_b = norm_b > eps ? c.value * c.inverse_b * c.inverse_b : T(0);
    return c;
}

// The gradients of a row's two vectors, for the gradient dc of their cosine.
DEVICE void write_gradients(const Cosine& c, T dc, const T* a, const T* b, T* da, T* db, int width) {
    const T across = c.inverse_a * c.inverse_b;
    for (int i = threadIdx.x % WARP; i < width; i += WARP) {
        da[i] = dc * (across * b[i] - c.slope_a * a[i]);
        db[i] = dc * (across * a[i] - c.slope_b * b[i]);
    }
}

DEVICE int first_row() { return flat_thread() / WARP; }
DEVICE int row_stride() { return flat_stride() / WARP; }

// FLOPs: 6 * rows * width
extern "C" __global__ void __launch_bounds__(256) cosine_similarity(
    const T* __restrict__ a,     // [rows * width]
    const T* __restrict__ b,     // [rows * width]
    T* __restrict__ cosine,      // [rows]
    int rows, int width, T eps) {
    for (int row = first_row(); row < rows; row += row_stride()) {
        const Cosine c = cosine_of(a + row * width, b + row * width, width, eps, T(0));
        if (threadIdx.x % WARP == 0) cosine[row] = c.value;
    }
}

// FLOPs: 12 * rows * width
extern "C" __global__ void __launch_bounds__(256) cosine_similarity_backward(
    const T* __restrict__ dy,    // [rows]
    const T* __restrict__ a,     // [rows * width]
    const T* __restrict__ b,     // [rows * width]
    T* __restrict__ da,          // [rows * width]
    T* __restrict__ db,          // [rows * width]
    int rows, int width, T eps) {
    for (int row = first_row(); row < rows; row += row_stride()) {
        const int place = row * width;
        const Cosine c = cosine_of(a + place, b + place, width, eps, T(0));
        write_gradients(c, dy[row], a + place, b + place, da + place, db + place, width);
    }
}

// The loss of pairs (rows, 2, width): the mean of l = 1 - c where the target is 1 and of l = max(c - margin, 0) where
// it is -1, weighted as in losses.cu; and its gradient, (rows, 2, width). `added`, not eps, keeps the norms positive:
// it is added to their squares. At least one block.
// FLOPs: 12 * rows * width
extern "C" __global__ void __launch_bounds__(256, 3) cosine_embedding(
    const T* __restrict__ pairs,         // [2 * rows * width]
    const T* __restrict__ target,        // [rows]
    const T* __restrict__ weight,        // [rows] or null
    const T* __restrict__ weight_sum,    // [1] or null
    T* __restrict__ slope,               // [2 * rows * width]
    T* partial_losses,                   // [grid_x] or null
    unsigned* arrivals,                  // [1] or null: zero, if there are several blocks
    T* __restrict__ mean,                // [1]
    int rows, int width, T margin, T added) {
    __shared__ T scratch[256 / WARP];
    const T whole = weight ? weight_sum[0] : static_cast<T>(rows);
    T total = 0;
    for (int row = first_row(); row < rows; row += row_stride()) {
        const T* a = pairs + 2 * row * width;
        const Cosine c = cosine_of(a, a + width, width, T(0), added);
        const bool alike = target[row] > T(0);
        const T share = whole == T(0) ? T(0) : (weight ? weight[row] : T(1)) / whole;
        const T beyond = c.value - margin;
        const T dc = alike ? T(-1) : beyond >= T(0) ? T(1) : T(0);
        T* da = slope + 2 * row * width;
        write_gradients(c, share * dc, a, a + width, da, da + width, width);
        if (threadIdx.x % WARP == 0) total += share * (alike ? T(1) - c.value : beyond > T(0) ? beyond : T(0));
    }
    if (grid_sum(total, scratch, partial_losses, arrivals) && threadIdx.x == 0) mean[0] = total;
}

// attention.cu: the softmax of scaled dot-product attention and its gradient, in place on the scores (..., queries,
// keys) of a matrix product:
//
//     w_j = exp(x_j - max x) / sum_k exp(x_k - max x),    x_j = scale scores_j + bias_j
//     ds_j = scale w_j (dw_j - sum_k dw_k w_k)
//
// The softmax is over the keys that a query may attend to. The weights of all other keys are zero, also if a query has
// no key left. A key is hidden by the mask (true: visible), by a bias of -inf, or with `causal` if it comes after the
// query. Mask and bias are broadcast over (outer, heads, queries, keys) by their strides s0 .. s3 in elements, which
// are 0 for broadcast axes.
//
// One warp per row: a pass for the maximum, one for the sum, one for the weights; backward a pass for the sum and one
// for the gradient. The first pass reads the row from memory, the others from the cache: 8 bytes per element in float,
// 12 backward, plus 1 or 4 for a mask or bias that is not shared. With `causal`, only the visible part of a row is
// read.
//
// Options: REAL. Launch: warps stride over the rows; grid (ceil(rows / 8),) or fewer, block (256,). The launch bounds
// ask for four resident blocks per SM; without them the compiler uses fewer registers and spills on sm_90.

#include "common.cuh"

// The lowest finite number: the maximum of a row without visible keys. It keeps -inf minus the maximum from being NaN.
constexpr T LOWEST = T(sizeof(T) == 4 ? -3.4028234663852886e38 : -1.7976931348623157e308);

// FLOPs: 10 * rows * keys
extern "C" __global__ void __launch_bounds__(256, 4) attention_softmax_forward(
    T* scores,                      // [rows * keys]: in, the scores; out, the weights
    const bool* __restrict__ mask,  // [1 + (outer-1)*s0 + (heads-1)*s1 + (queries-1)*s2 + (keys-1)*s3] or null
    const T* __restrict__ bias,     // [1 + (outer-1)*s0 + (heads-1)*s1 + (queries-1)*s2 + (keys-1)*s3] or null
    int rows, int outer, int heads, int queries, int keys,
    int s0, int s1, int s2, int s3, int causal, T scale) {
    const int lane = threadIdx.x % WARP, warps = flat_stride() / WARP;
    for (int row = flat_thread() / WARP; row < rows; row += warps) {
        const int query = row % queries, matrix = row / queries;
        const int first = matrix / heads * s0 + matrix % heads * s1 + query * s2;
        const int visible = causal && query < keys ? query + 1 : keys;
        T* s = scores + static_cast<size_t>(row) * keys;
        const auto score = [&](int j) {
            if (mask && !mask[first + j * s3]) return T(-__int_as_float(0x7f800000));
            return bias ? scale * s[j] + bias[first + j * s3] : scale * s[j];
        };
        T largest = LOWEST;
        for (int j = lane; j < visible; j += WARP) {
            const T x = score(j);
            largest = x > largest ? x : largest;
        }
        largest = warp_max(largest);
        T total = 0;
        for (int j = lane; j < visible; j += WARP) total += real::exp(score(j) - largest);
        total = warp_sum(total);  // at least 1, from the largest score, unless all are hidden
        const T share = T(1) / (total < T(1) ? T(1) : total);
        for (int j = lane; j < keys; j += WARP) s[j] = j < visible ? real::exp(score(j) - largest) * share : T(0);
    }
}

// FLOPs: 5 * rows * keys
extern "C" __global__ void __launch_bounds__(256, 4) attention_softmax_backward(
    const T* __restrict__ weights,    // [rows * keys]
    T* gradient,                      // [rows * keys]: in, of the weights; out, of the scores
    int rows, int keys, T scale) {
    const int lane = threadIdx.x % WARP, warps = flat_stride() / WARP;
    for (int row = flat_thread() / WARP; row < rows; row += warps) {
        const T* w = weights + static_cast<size_t>(row) * keys;
        T* g = gradient + static_cast<size_t>(row) * keys;
        T total = 0;
        for (int j = lane; j < keys; j += WARP) total += g[j] * w[j];
        total = warp_sum(total);
        for (int j = lane; j < keys; j += WARP) g[j] = scale * w[j] * (g[j] - total);
    }
}

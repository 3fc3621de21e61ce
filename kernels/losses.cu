// losses.cu: losses that are a mean over elements, each with its gradient, with the formulas of
// gpunet/ops/_elementwise_loss.py:
//
//     loss = sum_i share_i sum_j l(p_ij, t_ij),    slope_ij = share_i l'(p_ij, t_ij)
//
// for predictions p and targets t of (rows, n). share_i = 1 / (rows n), or w_i / (n sum of w) with row weights w; 0 if
// the weights are all zero.
//
// Memory-bound: 12 bytes per element in float. The last block adds up the losses of all blocks, in their order.
//
// Options: REAL. Launch: grid-stride; any grid of at least one block, block (256,). slope may be the prediction.

#include "common.cuh"

struct LossAndSlope {
    T loss, slope;
};

template <typename Loss>
DEVICE void mean_loss(const T* prediction, const T* target, const T* weight, const T* weight_sum, T* slope,
                      T* partial_losses, unsigned* arrivals, T* mean, int rows, int n, Loss loss) {
    __shared__ T scratch[256 / WARP];
    const unsigned size = rows * n;
    const T whole = weight ? weight_sum[0] * static_cast<T>(n) : static_cast<T>(size);
    T total = 0;
    for (unsigned i = flat_thread(); i < size; i += flat_stride()) {
        const T share = whole == T(0) ? T(0) : (weight ? weight[i / n] : T(1)) / whole;
        const LossAndSlope both = loss(prediction[i], target[i]);
        total += share * both.loss;
        slope[i] = share * both.slope;
    }
    if (grid_sum(total, scratch, partial_losses, arrivals) && threadIdx.x == 0) mean[0] = total;
}

// l = (p - t)^2
// FLOPs: 6 * rows * n
extern "C" __global__ void __launch_bounds__(256) mean_squared_error(
    const T* prediction,                 // [rows * n]
    const T* __restrict__ target,        // [rows * n]
    const T* __restrict__ weight,        // [rows] or null
    const T* __restrict__ weight_sum,    // [1] or null
    T* slope,                            // [rows * n]
    T* partial_losses,                   // [grid_x] or null
    unsigned* arrivals,                  // [1] or null: zero, if there are several blocks
    T* __restrict__ mean,                // [1]
    int rows, int n) {
    mean_loss(prediction, target, weight, weight_sum, slope, partial_losses, arrivals, mean, rows, n, [](T p, T t) {
        const T d = p - t;
        return LossAndSlope{d * d, T(2) * d};
    });
}

// l = c (d - c / 2) with d = p - t and c = d clipped to +-delta
// FLOPs: 8 * rows * n
extern "C" __global__ void __launch_bounds__(256) huber(
    const T* prediction,                 // [rows * n]
    const T* __restrict__ target,        // [rows * n]
    const T* __restrict__ weight,        // [rows] or null
    const T* __restrict__ weight_sum,    // [1] or null
    T* slope,                            // [rows * n]
    T* partial_losses,                   // [grid_x] or null
    unsigned* arrivals,                  // [1] or null: zero, if there are several blocks
    T* __restrict__ mean,                // [1]
    int rows, int n, T delta) {
    mean_loss(prediction, target, weight, weight_sum, slope, partial_losses, arrivals, mean, rows, n, [=](T p, T t) {
        const T d = p - t;
        const T c = d > delta ? delta : d < -delta ? -delta : d;
        return LossAndSlope{c * (d - T(0.5) * c), c};
    });
}

// l = above d where d > 0, else -below d, for d = p - t; l' = above where d > 0, 0 where d = 0, -below where d < 0
// FLOPs: 6 * rows * n
extern "C" __global__ void __launch_bounds__(256) absolute_error(
    const T* prediction,                 // [rows * n]
    const T* __restrict__ target,        // [rows * n]
    const T* __restrict__ weight,        // [rows] or null
    const T* __restrict__ weight_sum,    // [1] or null
    T* slope,                            // [rows * n]
    T* partial_losses,                   // [grid_x] or null
    unsigned* arrivals,                  // [1] or null: zero, if there are several blocks
    T* __restrict__ mean,                // [1]
    int rows, int n, T above, T below) {
    mean_loss(prediction, target, weight, weight_sum, slope, partial_losses, arrivals, mean, rows, n, [=](T p, T t) {
        const T d = p - t;
        const T l = d > T(0) ? above : d < T(0) ? -below : d;  // NaN stays
        return LossAndSlope{d * l, l};
    });
}

// l = exp(p) - t p, l' = exp(p) - t with log_input; else l = p - t log(p + eps), l' = 1 - t / (p + eps)
// FLOPs: 8 * rows * n
extern "C" __global__ void __launch_bounds__(256) poisson_nll(
    const T* prediction,                 // [rows * n]
    const T* __restrict__ target,        // [rows * n]
    const T* __restrict__ weight,        // [rows] or null
    const T* __restrict__ weight_sum,    // [1] or null
    T* slope,                            // [rows * n]
    T* partial_losses,                   // [grid_x] or null
    unsigned* arrivals,                  // [1] or null: zero, if there are several blocks
    T* __restrict__ mean,                // [1]
    int rows, int n, int log_input, T eps) {
    mean_loss(prediction, target, weight, weight_sum, slope, partial_losses, arrivals, mean, rows, n, [=](T p, T t) {
        if (log_input) {
            const T rate = real::exp(p);
            return LossAndSlope{rate - t * p, rate - t};
        }
        const T rate = p + eps;
        return LossAndSlope{p - t * real::log(rate), T(1) - t / rate};
    });
}

// l = max(z, 0) - z t + log(1 + exp(-|z|)), l' = sigmoid(z) - t
// FLOPs: 12 * rows * n
extern "C" __global__ void __launch_bounds__(256) binary_cross_entropy(
    const T* logits,                     // [rows * n]
    const T* __restrict__ target,        // [rows * n]
    const T* __restrict__ weight,        // [rows] or null
    const T* __restrict__ weight_sum,    // [1] or null
    T* slope,                            // [rows * n]
    T* partial_losses,                   // [grid_x] or null
    unsigned* arrivals,                  // [1] or null: zero, if there are several blocks
    T* __restrict__ mean,                // [1]
    int rows, int n) {
    mean_loss(logits, target, weight, weight_sum, slope, partial_losses, arrivals, mean, rows, n, [](T z, T t) {
        const T loss = (z < T(0) ? T(0) : z) - z * t + real::log1p(real::exp(-real::abs(z)));
        return LossAndSlope{loss, T(1) / (T(1) + real::exp(-z)) - t};
    });
}

// losses.cpp: losses that are a mean over elements, each with its gradient, with the formulas of
// gpunet/ops/_elementwise_loss.py:
//
//     losses_i = share_i sum_j l(p_ij, t_ij),    slope_ij = share_i l'(p_ij, t_ij)
//
// for predictions p and targets t of (rows, n). share_i = 1 / (rows n), or w_i / (n sum of w) with row weights w; 0 if
// the weights are all zero. The loss is the sum of `losses`.
//
// The work is divided by rows. Rows are often narrow, down to one element, so several are processed as one array of up
// to BUFFER elements, whose losses are then added up row by row; a wider row is processed in parts.

#include "common.h"
#include "math.h"
#include "vector.h"

// The caller switches off the losses that it does not need, to save compile time.
#ifndef MEAN_SQUARED_ERROR
#define MEAN_SQUARED_ERROR 1
#endif
#ifndef HUBER
#define HUBER 1
#endif
#ifndef ABSOLUTE_ERROR
#define ABSOLUTE_ERROR 1
#endif
#ifndef POISSON_NLL
#define POISSON_NLL 1
#endif
#ifndef BINARY_CROSS_ENTROPY
#define BINARY_CROSS_ENTROPY 1
#endif

constexpr Int BUFFER = 512;

struct LossAndSlope {
    T loss, slope;
};

// losses[i] += share_i times the sum of the n losses of row i, and slope *= share_i.
template <typename Share>
DEVICE void scale_rows(const T* of_elements, T* __restrict__ slope, T* __restrict__ losses, Int rows, Int n,
                       Share share) {
    if (n == 1) {
        for (Int i = 0; i < rows; ++i) {
            losses[i] += share(i) * of_elements[i];
            slope[i] *= share(i);
        }
        return;
    }
    for (Int i = 0; i < rows; ++i) {
        const T* own = of_elements + i * n;
        T sum = 0;
        if (n >= LANES) sum = sum_terms<T>(n, [=](Int j) { return own[j]; });
        else
            for (Int j = 0; j < n; ++j) sum += own[j];
        losses[i] += share(i) * sum;
        for (Int j = 0; j < n; ++j) slope[i * n + j] *= share(i);
    }
}

template <typename Share, typename Loss>
DEVICE void losses_of_rows(Int begin, Int end, const T* prediction, const T* target, T* slope, T* losses, Int n,
                           Share share, Loss loss) {
    const Int rows_at_once = larger<Int>(1, BUFFER / larger<Int>(n, 1));
    T of_elements[BUFFER];
    for (Int row = begin; row < end; row += rows_at_once) {
        const Int rows = smaller(rows_at_once, end - row);
        for (Int i = row; i < row + rows; ++i) losses[i] = 0;
        for (Int first = row * n; first < (row + rows) * n; first += BUFFER) {
            const Int count = smaller((row + rows) * n - first, BUFFER);
            INDEPENDENT
            for (Int j = 0; j < count; ++j) {
                const LossAndSlope both = loss(prediction[first + j], target[first + j]);
                of_elements[j] = both.loss;
                slope[first + j] = both.slope;
            }
            scale_rows(of_elements, slope + first, losses + row, rows, smaller(n, count),
                       [=](Int i) { return share(row + i); });
        }
    }
}

template <typename Loss>
DEVICE void mean_loss(Int begin, Int end, const T* prediction, const T* target, const T* weight, const T* weight_sum,
                      T* slope, T* losses, Int rows, Int n, Loss loss) {
    const T norm = weight ? weight_sum[0] * static_cast<T>(n) : static_cast<T>(rows * n);
    const T share = norm == T(0) ? T(0) : T(1) / norm;
    const auto weighted = [=](Int i) { return weight[i] * share; };
    const auto equal = [=](Int) { return share; };
    if (weight) losses_of_rows(begin, end, prediction, target, slope, losses, n, weighted, loss);
    else losses_of_rows(begin, end, prediction, target, slope, losses, n, equal, loss);
}

#if MEAN_SQUARED_ERROR
// l = (p - t)^2. slope may be the prediction.
// FLOPs: 6 * rows * n
static void mean_squared_error(Int begin, Int end,
                               const T* prediction,    // [rows * n]
                               const T* target,        // [rows * n]
                               const T* weight,        // [rows] or null
                               const T* weight_sum,    // [1] or null
                               T* slope,               // [rows * n]
                               T* losses,              // [rows]
                               Int rows, Int n) {
    mean_loss(begin, end, prediction, target, weight, weight_sum, slope, losses, rows, n, [](T p, T t) {
        const T d = p - t;
        return LossAndSlope{d * d, T(2) * d};
    });
}
ROWS(mean_squared_error)
#endif

#if HUBER
// l = c (d - c / 2) with d = p - t and c = d clipped to +-delta. slope may be the prediction.
// FLOPs: 8 * rows * n
static void huber(Int begin, Int end,
                  const T* prediction,    // [rows * n]
                  const T* target,        // [rows * n]
                  const T* weight,        // [rows] or null
                  const T* weight_sum,    // [1] or null
                  T* slope,               // [rows * n]
                  T* losses,              // [rows]
                  Int rows, Int n, T delta) {
    mean_loss(begin, end, prediction, target, weight, weight_sum, slope, losses, rows, n, [=](T p, T t) {
        const T d = p - t;
        const T c = d > delta ? delta : d < -delta ? -delta : d;
        return LossAndSlope{c * (d - T(0.5) * c), c};
    });
}
ROWS(huber)
#endif

#if ABSOLUTE_ERROR
// l = above d where d = p - t > 0, else -below d; l' = above, 0 at d = 0, -below. slope may be the prediction.
// FLOPs: 6 * rows * n
static void absolute_error(Int begin, Int end,
                           const T* prediction,    // [rows * n]
                           const T* target,        // [rows * n]
                           const T* weight,        // [rows] or null
                           const T* weight_sum,    // [1] or null
                           T* slope,               // [rows * n]
                           T* losses,              // [rows]
                           Int rows, Int n, T above, T below) {
    mean_loss(begin, end, prediction, target, weight, weight_sum, slope, losses, rows, n, [=](T p, T t) {
        const T d = p - t;
        const T l = d > T(0) ? above : d < T(0) ? -below : d;  // NaN stays
        return LossAndSlope{d * l, l};
    });
}
ROWS(absolute_error)
#endif

#if POISSON_NLL
// l = exp(p) - t p, l' = exp(p) - t with log_input; else l = p - t log(p + eps), l' = 1 - t / (p + eps). slope may be
// the prediction.
// FLOPs: 8 * rows * n
static void poisson_nll(Int begin, Int end,
                        const T* prediction,    // [rows * n]
                        const T* target,        // [rows * n]
                        const T* weight,        // [rows] or null
                        const T* weight_sum,    // [1] or null
                        T* slope,               // [rows * n]
                        T* losses,              // [rows]
                        Int rows, Int n, Int log_input, T eps) {
    const auto of_logarithm = [](T p, T t) {
        const T rate = real::exp(p);
        return LossAndSlope{rate - t * p, rate - t};
    };
    const auto of_rate = [=](T p, T t) {
        const T rate = p + eps;
        return LossAndSlope{p - t * real::log(rate), T(1) - t / rate};
    };
    if (log_input) mean_loss(begin, end, prediction, target, weight, weight_sum, slope, losses, rows, n, of_logarithm);
    else mean_loss(begin, end, prediction, target, weight, weight_sum, slope, losses, rows, n, of_rate);
}
ROWS(poisson_nll)
#endif

#if BINARY_CROSS_ENTROPY
// l = max(z, 0) - z t + log(1 + exp(-|z|)), l' = sigmoid(z) - t. slope may be the prediction, logits z.
// FLOPs: 12 * rows * n
static void binary_cross_entropy(Int begin, Int end,
                                 const T* prediction,    // [rows * n]
                                 const T* target,        // [rows * n]
                                 const T* weight,        // [rows] or null
                                 const T* weight_sum,    // [1] or null
                                 T* slope,               // [rows * n]
                                 T* losses,              // [rows]
                                 Int rows, Int n) {
    mean_loss(begin, end, prediction, target, weight, weight_sum, slope, losses, rows, n, [](T z, T t) {
        const T tail = real::exp(-real::abs(z));
        const T loss = (z < T(0) ? T(0) : z) - z * t + real::log1p(tail);
        return LossAndSlope{loss, (z < T(0) ? tail : T(1)) / (T(1) + tail) - t};
    });
}
ROWS(binary_cross_entropy)
#endif

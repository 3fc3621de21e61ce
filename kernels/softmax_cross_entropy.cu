// softmax_cross_entropy.cu: the loss of logits z (rows, classes) and its gradient, by the formula of
// gpunet/ops/softmax_cross_entropy.py:
//
//     loss = sum_i sum_j t_ij (lse_i - z_ij),    dz_ij = softmax(z)_ij sum_k t_ik - t_ij
//
// where t_ij = share_i c_j ((1 - smoothing) target_ij + smoothing / classes), share_i = w_i / N, with row weights w and
// class weights c; where N is zero, so are the shares.
//
// A warp takes a row: one pass for its maximum, one for the three sums, one for the gradient. The row comes from memory
// once and from the cache twice: 8 bytes an element in float, 12 with distributions. The last block adds up the
// losses of all, in their order.
//
// Options: REAL. Launch: warps stride over the rows; grid (ceil(rows / 8),) or fewer, block (256,). dlogits may be
// logits.

#include "common.cuh"

// N where rows or, with labels, classes have weights: sum_i w_i c_{label i}. Launch: grid (1,), block (256,).
// FLOPs: 2 * rows
extern "C" __global__ void __launch_bounds__(256) cross_entropy_norm(
    const T* __restrict__ weight,            // [rows] or null
    const T* __restrict__ class_weight,      // [classes] or null
    const long long* __restrict__ labels,    // [rows] or null
    T* __restrict__ norm,                    // [1]
    int rows, int classes) {
    __shared__ T scratch[256 / WARP];
    T total = 0;
    for (int row = threadIdx.x; row < rows; row += 256) {
        T share = weight ? weight[row] : T(1);
        if (labels && class_weight) {
            const long long label = labels[row];
            share *= label >= 0 && label < classes ? class_weight[label] : T(0);
        }
        total += share;
    }
    total = block_sum(total, scratch);
    if (threadIdx.x == 0) norm[0] = total;
}

// What both kinds of target have in common; target(row, j) is t_ij before smoothing and weights.
template <typename Target>
DEVICE void cross_entropy(const T* logits, const T* weight, const T* class_weight, const T* norm, T* dlogits,
                          T* partial_losses, unsigned* arrivals, T* loss, int rows, int classes, T smoothing,
                          Target target) {
    __shared__ T scratch[256 / WARP];
    const int lane = threadIdx.x % WARP, warps = flat_stride() / WARP;
    const T whole = norm ? norm[0] : static_cast<T>(rows);
    T sum = 0;
    for (int row = flat_thread() / WARP; row < rows; row += warps) {
        const T* z = logits + static_cast<size_t>(row) * classes;
        const T share = whole == T(0) ? T(0) : (weight ? weight[row] : T(1)) / whole;
        const auto weighted_target = [&](int j) {
            const T smooth = (T(1) - smoothing) * target(row, j) + smoothing / static_cast<T>(classes);
            return share * (class_weight ? class_weight[j] * smooth : smooth);
        };
        T largest = z[0];
        for (int j = lane; j < classes; j += WARP) largest = z[j] > largest ? z[j] : largest;
        largest = warp_max(largest);
        T total = 0, mass = 0, product = 0;
        for (int j = lane; j < classes; j += WARP) {
            const T t = weighted_target(j);
            total += real::exp(z[j] - largest);
            mass += t;
            product += t * (z[j] - largest);
        }
        total = warp_sum(total);
        mass = warp_sum(mass);
        product = warp_sum(product);
        if (lane == 0) sum += mass * real::log(total) - product;
        __syncwarp();  // z[0] is read by all lanes, and written by one where dlogits is logits
        for (int j = lane; j < classes; j += WARP)
            dlogits[static_cast<size_t>(row) * classes + j] =
                real::exp(z[j] - largest) * (mass / total) - weighted_target(j);
    }
    if (grid_sum(sum, scratch, partial_losses, arrivals) && threadIdx.x == 0) loss[0] = sum;
}

// A label that is out of range counts as no class.
// FLOPs: 12 * rows * classes
extern "C" __global__ void __launch_bounds__(256, 1) softmax_cross_entropy_labels(
    const T* logits,                         // [rows * classes]
    const long long* __restrict__ labels,    // [rows]
    const T* __restrict__ weight,            // [rows] or null
    const T* __restrict__ class_weight,      // [classes] or null
    const T* __restrict__ norm,              // [1] or null: rows
    T* dlogits,                              // [rows * classes]
    T* partial_losses,                       // [grid_x] or null
    unsigned* arrivals,                      // [1] or null: zero, where there are several blocks
    T* __restrict__ loss,                    // [1]
    int rows, int classes, T smoothing) {
    cross_entropy(logits, weight, class_weight, norm, dlogits, partial_losses, arrivals, loss, rows, classes,
                  smoothing,
                  [=](int row, int j) { return j == labels[row] ? T(1) : T(0); });
}

// FLOPs: 12 * rows * classes
extern "C" __global__ void __launch_bounds__(256, 1) softmax_cross_entropy_distributions(
    const T* logits,                       // [rows * classes]
    const T* __restrict__ target,          // [rows * classes]
    const T* __restrict__ weight,          // [rows] or null
    const T* __restrict__ class_weight,    // [classes] or null
    const T* __restrict__ norm,            // [1] or null: rows
    T* dlogits,                            // [rows * classes]
    T* partial_losses,                       // [grid_x] or null
    unsigned* arrivals,                      // [1] or null: zero, where there are several blocks
    T* __restrict__ loss,                    // [1]
    int rows, int classes, T smoothing) {
    cross_entropy(logits, weight, class_weight, norm, dlogits, partial_losses, arrivals, loss, rows, classes,
                  smoothing,
                  [=](int row, int j) { return target[static_cast<size_t>(row) * classes + j]; });
}

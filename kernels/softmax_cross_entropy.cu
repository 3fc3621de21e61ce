// softmax_cross_entropy.cu: the loss of logits (rows, classes) and its gradient.
//
// Each row is computed by cross_entropy.cuh with share_i = w_i / N for row weights w, or 0 if N is zero. The loss is
// the sum over the rows.
//
// LANES threads share a row: one pass for its maximum, one for the three sums, one for the gradient. Each thread has
// IN_FLIGHT loads in flight, to hide their latency. The first pass reads the row from memory, the others from the
// cache: 8 bytes per element in float, 12 with distributions. The last block adds up the losses of all blocks, in their
// order; a single block needs no such wait.
//
// Options: REAL; LANES (32), a power of 2. Launch: groups of LANES threads stride over the rows; grid (ceil(rows *
// LANES / 512),) or fewer, block (512,) or fewer full warps. dlogits may be logits.

#include "common.cuh"
#include "cross_entropy.cuh"

#ifndef LANES
#define LANES 32
#endif

constexpr int THREADS = 512;
constexpr int IN_FLIGHT = 4;
constexpr int GROUPS = WARP / LANES;  // rows per warp

// N if rows or, with labels, classes have weights: sum_i w_i c_{label i}. Launch: grid (1,), block (256,).
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

// Call visit(j, z_j) for the classes of a lane.
template <typename Visit>
DEVICE void visit_classes(const T* z, int classes, Visit visit) {
    for (int first = threadIdx.x % LANES; first < classes; first += IN_FLIGHT * LANES) {
        T values[IN_FLIGHT];
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i)
            if (first + i * LANES < classes) values[i] = z[first + i * LANES];
#pragma unroll
        for (int i = 0; i < IN_FLIGHT; ++i)
            if (first + i * LANES < classes) visit(first + i * LANES, values[i]);
    }
}

// Shared by both kinds of target. target(row) returns a function of j: the target before smoothing and weights.
template <typename Target>
DEVICE void cross_entropy(const T* logits, const T* weight, const T* class_weight, const T* norm, T* dlogits,
                          T* partial_losses, unsigned* arrivals, T* loss, int rows, int classes, T smoothing,
                          Target target) {
    __shared__ T scratch[THREADS / WARP];
    const int warps = flat_stride() / WARP, group = threadIdx.x % WARP / LANES;
    const T whole = norm ? norm[0] : static_cast<T>(rows);
    T sum = 0;
    for (int first = flat_thread() / WARP * GROUPS; first < rows; first += warps * GROUPS) {
        const int row = min(first + group, rows - 1);  // keeps the warp together; its last groups may be spare
        const bool spare = first + group >= rows;
        const T* z = logits + static_cast<size_t>(row) * classes;
        T* dz = dlogits + static_cast<size_t>(row) * classes;
        const T share = whole == T(0) ? T(0) : (weight ? weight[row] : T(1)) / whole;
        const auto of_class = target(row);
        const TargetWeights weights{share, class_weight, smoothing, static_cast<T>(classes)};
        RowSums sums{z[0]};
        visit_classes(z, classes, [&](int, T value) { sums.raise(value); });
        sums.largest = warp_max<LANES>(sums.largest);
        visit_classes(z, classes, [&](int j, T value) { sums.add(value, weights(j, of_class(j))); });
        sums.join<LANES>();
        if (threadIdx.x % LANES == 0 && !spare) sum += sums.loss();
        __syncwarp();  // all lanes have read z[0], which one of them overwrites if dlogits is logits
        if (!spare)
            visit_classes(z, classes, [&](int j, T value) { dz[j] = sums.softmax(value) - weights(j, of_class(j)); });
    }
    if (grid_sum(sum, scratch, partial_losses, arrivals) && threadIdx.x == 0) loss[0] = sum;
}

// A label out of range counts as no class. The launch bounds ask for one block per SM; without that, ptxas spills on
// sm_100 and sm_120.
// FLOPs: 12 * rows * classes
extern "C" __global__ void __launch_bounds__(THREADS, 1) softmax_cross_entropy_labels(
    const T* logits,                         // [rows * classes]
    const long long* __restrict__ labels,    // [rows]
    const T* __restrict__ weight,            // [rows] or null
    const T* __restrict__ class_weight,      // [classes] or null
    const T* __restrict__ norm,              // [1] or null: rows
    T* dlogits,                              // [rows * classes]
    T* partial_losses,                       // [grid_x] or null
    unsigned* arrivals,                      // [1] or null: zero, if there are several blocks
    T* __restrict__ loss,                    // [1]
    int rows, int classes, T smoothing) {
    cross_entropy(logits, weight, class_weight, norm, dlogits, partial_losses, arrivals, loss, rows, classes,
                  smoothing, [=](int row) {
                      const long long label = labels[row];
                      return [=](int j) { return j == label ? T(1) : T(0); };
                  });
}

// FLOPs: 12 * rows * classes
extern "C" __global__ void __launch_bounds__(THREADS) softmax_cross_entropy_distributions(
    const T* logits,                       // [rows * classes]
    const T* __restrict__ target,          // [rows * classes]
    const T* __restrict__ weight,          // [rows] or null
    const T* __restrict__ class_weight,    // [classes] or null
    const T* __restrict__ norm,            // [1] or null: rows
    T* dlogits,                            // [rows * classes]
    T* partial_losses,                     // [grid_x] or null
    unsigned* arrivals,                    // [1] or null: zero, if there are several blocks
    T* __restrict__ loss,                  // [1]
    int rows, int classes, T smoothing) {
    cross_entropy(logits, weight, class_weight, norm, dlogits, partial_losses, arrivals, loss, rows, classes,
                  smoothing, [=](int row) {
                      const T* of_row = target + static_cast<size_t>(row) * classes;
                      return [=](int j) { return of_row[j]; };
                  });
}

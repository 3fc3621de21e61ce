// metrics.cu: the sums of an epoch, kept on the device and read once: totals[0] += loss * rows, totals[1] += right
// answers.
//
// totals is double, so that an epoch of float losses loses no digits. One block, as a batch's outputs are few. Bytes: the
// predictions and targets once.
//
// Options: REAL. Launch: grid (1,), block (256,).

#include "common.cuh"

DEVICE void add_to_totals(double* totals, const T* loss, int rows, int right) {
    __shared__ int scratch[256 / WARP];
    right = block_sum(right, scratch);
    if (threadIdx.x != 0) return;
    totals[0] += static_cast<double>(loss[0]) * rows;
    totals[1] += right;
}

struct Best {
    T value;
    int index;

    // The larger value wins, then the lower index; NaN counts as larger than any number, as in NumPy's argmax.
    DEVICE bool beats(const Best& other) const {
        const bool nan = value != value, other_nan = other.value != other.value;
        if (nan != other_nan) return nan;
        if (!nan && value != other.value) return value > other.value;
        return index < other.index;
    }
};

// The index of a row's largest element, in every lane of a warp.
DEVICE int warp_argmax(const T* row, int n) {
    const int lane = threadIdx.x % WARP;
    Best best{row[0], 0};
    for (int i = lane; i < n; i += WARP) {
        const Best candidate{row[i], i};
        if (candidate.beats(best)) best = candidate;
    }
#pragma unroll
    for (int distance = WARP / 2; distance > 0; distance /= 2) {
        const Best other{__shfl_xor_sync(ALL_LANES, best.value, distance),
                         __shfl_xor_sync(ALL_LANES, best.index, distance)};
        if (other.beats(best)) best = other;
    }
    return best.index;
}

// No right and wrong: regression. Launch: one thread.
// FLOPs: 2
extern "C" __global__ void accumulate_loss(
    const T* __restrict__ loss,      // [1]
    double* __restrict__ totals,     // [2]
    int rows) {
    totals[0] += static_cast<double>(loss[0]) * rows;
}

// Right is a row whose largest output is its label's.
// FLOPs: 2
extern "C" __global__ void __launch_bounds__(256) accumulate_labels(
    const T* __restrict__ loss,              // [1]
    const T* __restrict__ prediction,        // [rows * classes]
    const long long* __restrict__ labels,    // [rows]
    double* __restrict__ totals,             // [2]
    int rows, int classes) {
    int right = 0;
    for (int row = threadIdx.x / WARP; row < rows; row += 256 / WARP) {
        const int answer = warp_argmax(prediction + static_cast<size_t>(row) * classes, classes);
        right += threadIdx.x % WARP == 0 && answer == labels[row];
    }
    add_to_totals(totals, loss, rows, right);
}

// Right is a row whose largest output is where its target is largest.
// FLOPs: 2
extern "C" __global__ void __launch_bounds__(256) accumulate_distributions(
    const T* __restrict__ loss,          // [1]
    const T* __restrict__ prediction,    // [rows * classes]
    const T* __restrict__ target,        // [rows * classes]
    double* __restrict__ totals,         // [2]
    int rows, int classes) {
    int right = 0;
    for (int row = threadIdx.x / WARP; row < rows; row += 256 / WARP) {
        const size_t place = static_cast<size_t>(row) * classes;
        const int answer = warp_argmax(prediction + place, classes);
        const int truth = warp_argmax(target + place, classes);
        right += threadIdx.x % WARP == 0 && answer == truth;
    }
    add_to_totals(totals, loss, rows, right);
}

// Right is a logit above 0 where the target is above 0.5, or neither.
// FLOPs: 2
extern "C" __global__ void __launch_bounds__(256) accumulate_binary(
    const T* __restrict__ loss,          // [1]
    const T* __restrict__ prediction,    // [rows * n]
    const T* __restrict__ target,        // [rows * n]
    double* __restrict__ totals,         // [2]
    int rows, int n) {
    int right = 0;
    for (unsigned i = threadIdx.x; i < static_cast<unsigned>(rows) * n; i += 256)
        right += (prediction[i] > T(0)) == (target[i] > T(0.5));
    add_to_totals(totals, loss, rows, right);
}

// metrics.cu: the sums of an epoch, accumulated on the device and read once: totals[0] += loss * rows, totals[1] +=
// number of correct predictions.
//
// totals is double, so that an epoch of float losses loses no precision. One block, as the outputs of a batch are few.
// It reads the predictions and targets once.
//
// Options: REAL; LANES (32), the number of threads that share a row of a classifier's outputs, a power of 2. Launch:
// grid (1,), block (512,).

#include "argmax.cuh"

#ifndef LANES
#define LANES 32
#endif

constexpr int THREADS = 512;
constexpr int GROUPS = WARP / LANES;  // rows per warp

DEVICE void add_to_totals(double* totals, const T* loss, int rows, int right) {
    __shared__ int scratch[THREADS / WARP];
    right = block_sum(right, scratch);
    if (threadIdx.x != 0) return;
    totals[0] += static_cast<double>(loss[0]) * rows;
    totals[1] += right;
}

// This thread's share of the number of rows for which is_right(row, index of the largest output) holds.
template <typename IsRight>
DEVICE int count_right(const T* prediction, int rows, int classes, IsRight is_right) {
    int right = 0;
    for (int first = threadIdx.x / WARP * GROUPS; first < rows; first += THREADS / WARP * GROUPS) {
        const int own = first + threadIdx.x % WARP / LANES, row = min(own, rows - 1);  // keeps the warp together
        const int answer = argmax<LANES>(prediction + static_cast<size_t>(row) * classes, classes);
        right += is_right(row, answer) && own < rows && threadIdx.x % LANES == 0;
    }
    return right;
}

// For regression, which has no correct predictions. Launch: one thread.
// FLOPs: 2
extern "C" __global__ void accumulate_loss(
    const T* __restrict__ loss,      // [1]
    double* __restrict__ totals,     // [2]
    int rows) {
    totals[0] += static_cast<double>(loss[0]) * rows;
}

// A row is correct if its largest output is that of its label.
// FLOPs: 2
extern "C" __global__ void __launch_bounds__(THREADS) accumulate_labels(
    const T* __restrict__ loss,              // [1]
    const T* __restrict__ prediction,        // [rows * classes]
    const long long* __restrict__ labels,    // [rows]
    double* __restrict__ totals,             // [2]
    int rows, int classes) {
    const int right = count_right(prediction, rows, classes, [=](int row, int answer) { return answer == labels[row]; });
    add_to_totals(totals, loss, rows, right);
}

// A row is correct if its largest output is where its target is largest.
// FLOPs: 2
extern "C" __global__ void __launch_bounds__(THREADS) accumulate_distributions(
    const T* __restrict__ loss,          // [1]
    const T* __restrict__ prediction,    // [rows * classes]
    const T* __restrict__ target,        // [rows * classes]
    double* __restrict__ totals,         // [2]
    int rows, int classes) {
    const int right = count_right(prediction, rows, classes, [=](int row, int answer) {
        return answer == argmax<LANES>(target + static_cast<size_t>(row) * classes, classes);
    });
    add_to_totals(totals, loss, rows, right);
}

// An element is correct if its logit is above 0 exactly where its target is above 0.5.
// FLOPs: 2
extern "C" __global__ void __launch_bounds__(THREADS) accumulate_binary(
    const T* __restrict__ loss,          // [1]
    const T* __restrict__ prediction,    // [rows * n]
    const T* __restrict__ target,        // [rows * n]
    double* __restrict__ totals,         // [2]
    int rows, int n) {
    int right = 0;
    for (unsigned i = threadIdx.x; i < static_cast<unsigned>(rows) * n; i += THREADS)
        right += (prediction[i] > T(0)) == (target[i] > T(0.5));
    add_to_totals(totals, loss, rows, right);
}

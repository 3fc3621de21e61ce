// mlp_train.cu: many training steps of a small MLP in one cooperative launch: gather, forward, loss, backward, update.
//
//     z_l = h_{l-1} W_l + b_l,    h_l = dropout(f_l(z_l)),    h_0 the batch,    loss(z_L)
//
// for L = LAYERS linear layers. The loss is softmax cross-entropy of labels (with smoothing, class weights and row
// weights, cross_entropy.cuh) or, with REGRESSION=1, the mean squared error, with the formula of losses.cu.
//
// As a graph of kernels, a step is about 90 % latency: each kernel starts, drains, and waits for the next. Here only
// grid barriers separate the parts of a step, 2 L - 1 of them:
//
// 1. l = 1 .. L-2: tiles of h_l; a barrier each
// 2. tiles of h_{L-2} W_{L-1} in splits along k, which are not added up yet; a barrier
// 3. the head, one block per row: the sum of the row's splits, h_{L-1}, z_L, the loss, dz_L, dz_{L-1}; a barrier
// 4. l = L-1 .. 1: tiles of dz_{l-1}; tiles of dW_l (dW_L with the first), each followed by the update of its
//    parameters in registers; at the end blocks without a tile gather the next batch; a barrier each
//
// Design:
// - The rows of the head are independent: the last product, the loss, dz_L and dz_{L-1} need no barrier between them.
// - The splits are added up by their consumer: no barrier, no atomics, a fixed order.
// - A gradient stays in registers: parameters and state are loaded before the product of its tile, and updated after
//   it.
// - There are two copies of parameters and state. A step reads one and writes the other, so W_l is updated while other
//   blocks still read the old one for dz_{l-1}. A step with a non-finite gradient is not applied: the next step reads
//   the same copy again. The barrier at the end of a step tells every block whether there was one.
// - Batches are gathered a step ahead, which hides the latency of reading random rows from DRAM.
//
// The order of every sum depends only on the shapes: any grid, and any division of the steps among launches, gives the
// same bits. Pointers to data that the launch writes have no __restrict__: the read-only cache would serve old values.
//
// For 784-128-10, batch 128, Adam: 52 MFLOP and about 10 MB between L2 and the SMs per step.
//
// Here are the order of the parts and the kernel; mlp_net.cuh has the options, the net as constants, and the state of a
// step, mlp_forward.cuh parts 1 and 2, mlp_head.cuh part 3, and mlp_backward.cuh part 4.
//
// Launch: cooperative; grid (blocks,) with all blocks resident, block (256,). At most 48 KiB of shared memory.

#include "grid_barrier.cuh"
#include "mlp_backward.cuh"

// A step: its parts, with a barrier after each.
struct Training : Backward {
    template <int L = 1>
    DEVICE void forward_layers(GridBarrier& barrier) const {
        if constexpr (L < LAYERS) {
            constexpr int ACROSS = ceil_div(WIDTHS[L], Small::BN);
            const int tiles = ceil_div(rows, Small::BM) * ACROSS * (L == LAYERS - 1 ? splits : 1);
            for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
                forward<L>(tile);
                __syncthreads();  // the shared memory can be reused
            }
            if (L == 1 && blockIdx.x == gridDim.x - 1) sum_weights();
            barrier.wait();
            forward_layers<L + 1>(barrier);
        }
    }

    template <int L>
    static constexpr DEVICE int weight_tiles() {
        return ceil_div(WIDTHS[L - 1], OfWeight<L>::BM) * ceil_div(WIDTHS[L], OfWeight<L>::BN);
    }

    // Return whether the step is applied; `finite`: whether all gradients that this thread has computed so far are.
    template <int L = LAYERS - 1>
    DEVICE bool backward_layers(GridBarrier& barrier, bool finite = true) const {
        constexpr int OWN = weight_tiles<L>(), ABOVE = L == LAYERS - 1 ? weight_tiles<LAYERS>() : 0;
        const int below = L > 1 ? ceil_div(rows, Small::BM) * ceil_div(WIDTHS[L - 1], Small::BN) : 0;
        const int tiles = below + OWN + ABOVE;
        for (int tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
            if (tile < below) {  // first, as the layer below waits for them
                if constexpr (L > 1) input_gradient<L>(tile);
            } else if (tile < below + OWN) {
                finite &= weight_gradient<L>(tile - below);
            } else {
                finite &= weight_gradient<LAYERS>(tile - below - OWN);
            }
            __syncthreads();  // the shared memory can be reused
        }
        if (L == LAYERS - 1 && blockIdx.x == gridDim.x - 1) sum_losses();
        if constexpr (L > 1) {
            barrier.wait();
            return backward_layers<L - 1>(barrier, finite);
        } else {
            const int idle = tiles < static_cast<int>(gridDim.x) ? tiles : 0;  // the first block without a tile
            if (step + 1 < steps && static_cast<int>(blockIdx.x) >= idle) gather(step + 1, idle);
            return !barrier.wait_for_failures(!finite);
        }
    }
};

// FLOPs: steps * flops
extern "C" __global__ void __launch_bounds__(THREADS, 1) mlp_train(
    const S* data,                   // [examples * inputs]
    const double* mean,              // [inputs] or null: of the features, see convert.cuh
    const double* factor,            // [inputs] or null, with `mean`
    const long long* labels,         // [examples] or null: for classification
    const T* targets,                // [examples * outputs] or null: for regression
    const T* weight,                 // [examples] or null
    const T* class_weight,           // [outputs] or null
    const long long* order,          // [total] or null: ascending
    long long* place,                // [1] or null (0): the position in the order; advanced
    const T* rates,                  // [rate_count]: see optimizers.cu
    long long* progress,             // [3]: see optimizers.cu; advanced
    const T* settings,               // the optimizer's, see update_rules.cuh
    T* params,                       // [size]
    T* slot,                         // [size] or null
    T* second_slot,                  // [size] or null
    T* other,                        // [copies * size]: the second copy of params and slots
    T* grads,                        // [size]: the gradient of the last step
    T* scratch,                      // [scratch_size]
    int* integers,                   // [3 * rows]
    T* rules,                        // [rules_size]
    double* totals,                  // [2] or null: see metrics.cu
    T* loss,                         // [1]: of the last step
    T* prediction,                   // [rows * outputs]: of the last step
    unsigned long long* arrived,     // [2]: see grid_barrier.cuh; zero before the first launch
    int examples, int total, int inputs, int outputs, int size, int copies, int rate_count, int scratch_size,
    int rules_size, int rows, int splits, int steps, unsigned long long seed, T smoothing, T clip, long long flops) {
    alignas(16) __shared__ T shared[SHARED];
    __shared__ Training training;  // saves registers, which the products need
    GridBarrier barrier(arrived);
    const long long done = progress[0], rates_from = progress[1];
    if (threadIdx.x == 0)
        training = {data,     mean,   factor,  labels, targets, weight, class_weight, order, {params, slot, second_slot},
                    other,    grads,  scratch, integers, rules, totals, loss, prediction, examples, total,
                    rows,     splits, steps, smoothing, clip, seed, place ? place[0] : 0, done, shared};
    for (int s = flat_thread(); s < steps; s += flat_stride()) {
        const T rate = rates[min(max(done + s - rates_from, 0LL), rate_count - 1LL)];
        reinterpret_cast<Rule*>(rules)[s] = Rule::of(static_cast<T>(done + s + 1), rate, settings);
    }
    __syncthreads();
    training.gather(0, 0);
    barrier.wait();
    bool second = false;  // which copy is current
    for (int step = 0; step < steps; ++step) {
        if (threadIdx.x == 0) training.begin_step(step, second);
        __syncthreads();
        training.forward_layers(barrier);
        for (int row = blockIdx.x; row < rows; row += gridDim.x) training.head(row);
        barrier.wait();
        if (training.backward_layers(barrier)) second = !second;
        else if (flat_thread() == 0 && progress[2] == 0) progress[2] = training.first_step + step + 1;
    }
    if (second)
        for (unsigned i = flat_thread(); i < copies * size; i += flat_stride())
            training.mine[i / size][i % size] = other[i];
    barrier.finish();
    if (flat_thread() != 0) return;
    progress[0] = training.first_step + steps;
    if (place) place[0] = training.begin + static_cast<long long>(steps) * rows;
}

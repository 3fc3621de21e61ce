// mlp_head.cuh: the head of mlp_train.cu: for each row the output of the last hidden layer, that of the last layer, the
// loss, and the gradients of both; and the sums of the losses and metrics.

#pragma once
#include "argmax.cuh"
#include "cross_entropy.cuh"
#include "mlp_forward.cuh"

// With the head: a block computes a row.
struct Head : Forward {
    DEVICE void head(int row) const {
        constexpr int L = LAYERS - 1;
        T* hidden = shared;             // (HIDDEN,): h_L
        T* slopes = hidden + HIDDEN;    // (HIDDEN,): dz_L by dh_L
        T* sums = slopes + HIDDEN;      // (THREADS,)
        T* outputs = sums + THREADS;    // (OUTPUTS,): z, then dz, of the last layer
        for (int j = threadIdx.x; j < HIDDEN; j += THREADS) {
            const int place = row * HIDDEN + j;
            const auto result = activate<L, 1>(place, {{sum_of_splits(place) + bias<L, 1>(j).v[0]}});
            hidden[j] = h<L>()[place] = result.h.v[0];
            slopes[j] = differentiate<L, 1>(place, {{T(1)}}, result.saved).v[0];
        }
        __syncthreads();
        multiply_hidden(hidden, sums);
        __syncthreads();
        if (threadIdx.x < OUTPUTS) {
            T z = bias<LAYERS, 1>(threadIdx.x).v[0];
#pragma unroll
            for (int s = 0; s < SHARES; ++s) z += sums[s * LANES_OF_OUTPUT + threadIdx.x];
            outputs[threadIdx.x] = prediction[row * OUTPUTS + threadIdx.x] = z;
        }
        __syncthreads();
        if (threadIdx.x < WARP) {
            if constexpr (REGRESSION) squared_error(row, outputs);
            else cross_entropy(row, outputs);
        }
        __syncthreads();
        const T* w = weights<LAYERS>();
        for (int j = threadIdx.x; j < HIDDEN; j += THREADS) {
            T gradient = 0;
#pragma unroll UNROLLED
            for (int c = 0; c < OUTPUTS; ++c) gradient += outputs[c] * w[j * OUTPUTS + c];
            dz<L>()[row * HIDDEN + j] = gradient * slopes[j];
        }
        __syncthreads();  // the shared memory can be reused
    }

    // The sum of an element over the splits, in their order; up to 8 loads in flight.
    DEVICE T sum_of_splits(int place) const {
        const T* part = at(SPLITS_AT) + place;
        T z = 0;
        for (int first = 0; first < splits; first += 8) {
            T values[8];
#pragma unroll
            for (int s = 0; s < 8; ++s) values[s] = first + s < splits ? part[(first + s) * rows * HIDDEN] : T(0);
#pragma unroll
            for (int s = 0; s < 8; ++s) z += values[s];
        }
        return z;
    }

    // Several threads share the sum of an output over the hidden units.
    static constexpr int LANES_OF_OUTPUT =
        OUTPUTS <= 16 ? 16 : OUTPUTS <= 32 ? 32 : OUTPUTS <= 64 ? 64 : OUTPUTS <= 128 ? 128 : 256;
    static constexpr int SHARES = THREADS / LANES_OF_OUTPUT;
    static constexpr int UNROLLED = OUTPUTS <= 64 ? 8 : 4;  // loads in flight, limited by registers

    DEVICE void multiply_hidden(const T* hidden, T* sums) const {
        const T* w = weights<LAYERS>();
        const int output = threadIdx.x % LANES_OF_OUTPUT;
        T sum = 0;
        if (output < OUTPUTS)
#pragma unroll UNROLLED
            for (int j = threadIdx.x / LANES_OF_OUTPUT; j < HIDDEN; j += SHARES)
                sum += hidden[j] * w[j * OUTPUTS + output];
        sums[threadIdx.x] = sum;
    }

    static constexpr int OF_LANE = ceil_div(OUTPUTS, WARP);  // outputs per lane

    // The loss of a row and its gradient, which overwrites the outputs; called by one warp.
    DEVICE void cross_entropy(int row, T* outputs) const {
        const int lane = threadIdx.x, own = label(step)[row];
        const bool is_right = argmax<WARP>(outputs, OUTPUTS) == own;
        const TargetWeights weights{share_of(row), class_weight, smoothing, T(OUTPUTS)};
        const auto target = [&](int c) { return weights(c, c == own ? T(1) : T(0)); };
        RowSums sums{outputs[0]};
        T z[OF_LANE];
#pragma unroll
        for (int i = 0; i < OF_LANE; ++i) sums.raise(z[i] = outputs[min(lane + i * WARP, OUTPUTS - 1)]);
        sums.largest = warp_max(sums.largest);
#pragma unroll
        for (int i = 0; i < OF_LANE; ++i)
            if (const int c = lane + i * WARP; c < OUTPUTS) sums.add(z[i], target(c));
        sums.join<WARP>();
        __syncwarp();  // all lanes have read the outputs
#pragma unroll
        for (int i = 0; i < OF_LANE; ++i)
            if (const int c = lane + i * WARP; c < OUTPUTS)
                outputs[c] = dz<LAYERS>()[row * OUTPUTS + c] = sums.softmax(z[i]) - target(c);
        if (lane != 0) return;
        at(LOSS_AT)[row] = sums.loss();
        right()[row] = is_right;
    }

    DEVICE void squared_error(int row, T* outputs) const {
        const T of_element = share_of(row) / static_cast<T>(OUTPUTS);
        T sum = 0;
        for (int c = threadIdx.x; c < OUTPUTS; c += WARP) {
            const T d = outputs[c] - target(step)[row * OUTPUTS + c];
            sum += of_element * (d * d);
            outputs[c] = dz<LAYERS>()[row * OUTPUTS + c] = of_element * (T(2) * d);
        }
        sum = warp_sum(sum);
        if (threadIdx.x == 0) at(LOSS_AT)[row] = sum;
    }

    // The loss of the batch and the sums of the metrics; called by one block.
    DEVICE void sum_losses() const {
        T sum = 0;
        int answers = 0;
        for (int row = threadIdx.x; row < rows; row += THREADS) {
            sum += at(LOSS_AT)[row];
            if constexpr (!REGRESSION) answers += right()[row];
        }
        sum = block_sum(sum, shared);
        __syncthreads();
        answers = block_sum(answers, reinterpret_cast<int*>(shared));
        if (threadIdx.x == 0) {
            loss[0] = sum;
            if (totals) {
                totals[0] += static_cast<double>(sum) * rows;
                if constexpr (!REGRESSION) totals[1] += answers;
            }
        }
        __syncthreads();  // the shared memory can be reused
    }
};

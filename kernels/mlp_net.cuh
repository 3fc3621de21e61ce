// mlp_net.cuh: the net of mlp_train.cu as constants, its memory, and the state of a step.
//
// Options: REAL=float; SOURCE, see convert.cuh; SIZES=784,128,10, the widths; WEIGHT_AT=0,100352 and BIAS_AT=..., the
// offsets of each layer's weight and bias in the flat buffers, multiples of 4 (-1: no bias), FLAT_SIZE, their size;
// ACTIVATIONS=relu,... of the hidden layers, PARAMETERS their parameters, SAVES_INPUT=0,... whether f' is computed from
// z; DROPOUT=0.0f,... the probabilities after the hidden layers; DRAW_NUMBERS=0,... the numbers of their draws (-1: no
// dropout); RULE=Sgd or Adam, SLOTS, its number of state arrays; REGRESSION.

#pragma once
#include "activations.h"
#include "convert.cuh"
#include "tiled_product.cuh"
#include "update_rules.cuh"

constexpr int WIDTHS[] = {SIZES};
constexpr int WEIGHTS[] = {WEIGHT_AT};
constexpr int BIASES[] = {BIAS_AT};
constexpr T OF_ACTIVATION[] = {PARAMETERS};
constexpr bool SAVES_Z[] = {SAVES_INPUT};
constexpr float DROPPED[] = {DROPOUT};
constexpr int DRAW[] = {DRAW_NUMBERS};
constexpr int LAYERS = sizeof(WIDTHS) / sizeof(int) - 1;
constexpr int INPUTS = WIDTHS[0], HIDDEN = WIDTHS[LAYERS - 1], OUTPUTS = WIDTHS[LAYERS];
static_assert(LAYERS >= 2 && OUTPUTS <= 256, "the head has one thread per output");

namespace activation {
template <int I, typename F, typename... Others>
struct At : At<I - 1, Others...> {};
template <typename F, typename... Others>
struct At<0, F, Others...> {
    using Type = F;
};
template <int L>
using OfLayer = typename At<L - 1, ACTIVATIONS>::Type;
}  // namespace activation

using Rule = rule::RULE;
static_assert(sizeof(Rule) <= 8 * sizeof(T), "`rules` has 8 numbers per step");

// Small tiles, so that a small layer has many; large ones for the gradient of a large weight.
using Small = TileShape<32, 32, 32, 32, 16, 4, 4, 3, 4>;
using Large = TileShape<64, 64, 16, 32, 32, 8, 4, 3, 2>;
constexpr int THREADS = Small::THREADS;
static_assert(THREADS == 256 && Large::THREADS == 256, "all tiles use all threads of the block");

template <bool FIRST, typename A, typename B>
struct Choice {
    using Type = A;
};
template <typename A, typename B>
struct Choice<false, A, B> {
    using Type = B;
};
template <int L>
using OfWeight = typename Choice<(ceil_div(WIDTHS[L - 1], 64) * ceil_div(WIDTHS[L], 64) >= 64), Large, Small>::Type;

template <int WIDTH>
constexpr bool VECTORS = WIDTH % VECTOR == 0;
constexpr int SHARED = 44 * 1024 / sizeof(T);  // elements
static_assert(2 * HIDDEN + 2 * THREADS <= SHARED, "the head's row fits into shared memory");

// The offsets of the arrays in `scratch`, in elements per row of the batch.
constexpr DEVICE int total_width(int layers) {  // of the first hidden layers
    int total = 0;
    for (int l = 1; l <= layers; ++l) total += WIDTHS[l];
    return total;
}
constexpr int BATCH_AT = 0;                                                // (2, rows, INPUTS): this batch, the next
constexpr int TARGET_AT = BATCH_AT + 2 * INPUTS;                           // (2, rows, OUTPUTS), of a regression
constexpr int SHARE_AT = TARGET_AT + (REGRESSION ? 2 * OUTPUTS : 0);       // (2, rows): row weights
constexpr int H_AT = SHARE_AT + 2;                                         // (rows, width) for each hidden layer
constexpr int SAVED_AT = H_AT + total_width(LAYERS - 1);                   // the input of f', if not h
constexpr int DZ_AT = SAVED_AT + total_width(LAYERS - 1);                  // for each layer
constexpr int LOSS_AT = DZ_AT + total_width(LAYERS);                       // (rows,)
constexpr int NORM_AT = LOSS_AT + 1;                                       // (1,): the sum of the weights
constexpr int SPLITS_AT = NORM_AT + 1;                                     // (splits, rows, HIDDEN)

// The arguments of the launch, and the state of the current step.
struct State {
    const S* data;
    const double* mean;
    const double* factor;
    const long long* labels;
    const T* targets;
    const T* weight;
    const T* class_weight;
    const long long* order;
    T* mine[3];  // parameters and state of the model: the first copy
    T* other;    // the second copy
    T* grads;
    T* scratch;
    int* integers;  // (2, rows) labels, (rows,) whether the prediction is correct
    T* rules;
    double* totals;
    T* loss;
    T* prediction;
    int examples, total, rows, splits, steps;
    T smoothing, clip;
    unsigned long long seed;
    long long begin, first_step;  // of the launch: position in the order, number of the step
    T* shared;

    int step;
    T* now[3];   // the copy that this step reads
    T* next[3];  // the copy that it writes

    DEVICE T* at(int place) const { return scratch + (rows + 3) / 4 * 4 * place; }
    DEVICE T* batch(int of_step) const { return at(BATCH_AT + of_step % 2 * INPUTS); }
    DEVICE T* target(int of_step) const { return at(TARGET_AT + of_step % 2 * OUTPUTS); }
    DEVICE T* share(int of_step) const { return at(SHARE_AT + of_step % 2); }
    DEVICE int* label(int of_step) const { return integers + of_step % 2 * rows; }
    DEVICE int* right() const { return integers + 2 * rows; }

    template <int L>
    DEVICE T* h() const { return at(H_AT + total_width(L - 1)); }
    template <int L>
    DEVICE T* saved() const { return SAVES_Z[L - 1] || DRAW[L - 1] >= 0 ? at(SAVED_AT + total_width(L - 1)) : h<L>(); }
    template <int L>
    DEVICE T* dz() const { return at(DZ_AT + total_width(L - 1)); }
    template <int L>
    DEVICE const T* input() const {
        if constexpr (L == 1) return batch(step);
        else return h<L - 1>();
    }
    template <int L>
    DEVICE const T* weights() const { return now[0] + WEIGHTS[L - 1]; }

    template <int L, int WIDTH>
    DEVICE Pack<WIDTH> bias(int column) const {
        if constexpr (BIASES[L - 1] < 0) return {};
        else return load<WIDTH>(now[0] + BIASES[L - 1] + column);
    }

    // Called by one thread, before a block barrier.
    DEVICE void begin_step(int number, bool second_copy) {
        step = number;
#pragma unroll
        for (int s = 0; s <= SLOTS; ++s) {
            T* second = other + s * FLAT_SIZE;
            now[s] = second_copy ? second : mine[s];
            next[s] = second_copy ? mine[s] : second;
        }
    }
};

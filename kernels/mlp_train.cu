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
// Options: REAL=float; SOURCE, see convert.cuh; SIZES=784,128,10, the widths; WEIGHT_AT=0,100352 and BIAS_AT=..., the
// offsets of each layer's weight and bias in the flat buffers, multiples of 4 (-1: no bias), FLAT_SIZE, their size;
// ACTIVATIONS=relu,... of the hidden layers, PARAMETERS their parameters, SAVES_INPUT=0,... whether f' is computed from
// z; DROPOUT=0.0f,... the probabilities after the hidden layers; DRAW_NUMBERS=0,... the numbers of their draws (-1: no
// dropout); RULE=Sgd or Adam, SLOTS, its number of state arrays; REGRESSION.
//
// Launch: cooperative; grid (blocks,) with all blocks resident, block (256,). At most 48 KiB of shared memory.

#include "common.cuh"
#include "activations.h"
#include "argmax.cuh"
#include "convert.cuh"
#include "cross_entropy.cuh"
#include "grid_barrier.cuh"
#include "philox.cuh"
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
struct Training {
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

    // --- the batch

    // Gather the batch of a step with the blocks from `first` on, one warp per row; a lane has up to 8 loads in flight.
    DEVICE void gather(int of_step, int first) const {
        const int lane = threadIdx.x % WARP, warps = (gridDim.x - first) * (THREADS / WARP);
        for (int i = (blockIdx.x - first) * (THREADS / WARP) + threadIdx.x / WARP; i < rows; i += warps) {
            const long long place = min(begin + static_cast<long long>(of_step) * rows + i, total - 1LL);
            const long long example = order ? min(max(order[place], 0LL), examples - 1LL) : place;
            if (lane == 0 && weight) share(of_step)[i] = weight[example];
            if constexpr (REGRESSION) {
                const auto same = [](T x, int) { return x; };
                copy_row<OUTPUTS>(targets + example * OUTPUTS, target(of_step) + i * OUTPUTS, lane, same);
            } else if (lane == 0) {
                const long long given = labels[example];
                label(of_step)[i] = given >= 0 && given < OUTPUTS ? static_cast<int>(given) : -1;
            }
            copy_row<INPUTS>(data + example * INPUTS, batch(of_step) + i * INPUTS, lane,
                             [this](S x, int column) { return converted(x, mean, factor, column); });
        }
    }

    template <int LENGTH, typename From, typename Convert>
    static DEVICE void copy_row(const From* from, T* to, int lane, Convert convert) {
        constexpr int WIDTH = VECTORS<LENGTH> ? VECTOR : 1, PIECES = ceil_div(LENGTH, WIDTH * WARP);
        constexpr int MOST = sizeof(From) > 4 ? 4 : 8, IN_FLIGHT = PIECES < MOST ? PIECES : MOST, STRIDE = WARP * WIDTH;
        for (int j = lane * WIDTH; j < LENGTH; j += IN_FLIGHT * STRIDE) {
            Group<From, WIDTH> pieces[IN_FLIGHT];
#pragma unroll
            for (int p = 0; p < IN_FLIGHT; ++p)
                if (const int at = j + p * STRIDE; at < LENGTH)
                    pieces[p] = *reinterpret_cast<const Group<From, WIDTH>*>(from + at);
#pragma unroll
            for (int p = 0; p < IN_FLIGHT; ++p) {
                const int at = j + p * STRIDE;
                if (at < LENGTH) {
                    Pack<WIDTH> row;
#pragma unroll
                    for (int i = 0; i < WIDTH; ++i) row.v[i] = convert(pieces[p].v[i], at + i);
                    store(to + at, row);
                }
            }
        }
    }

    // Sum the weights of the batch; called by one block.
    DEVICE void sum_weights() const {
        if (!weight && !class_weight) return;
        T sum = 0;
        for (int row = threadIdx.x; row < rows; row += THREADS) sum += row_weight(row) * label_weight(row);
        sum = block_sum(sum, shared);
        if (threadIdx.x == 0) at(NORM_AT)[0] = sum;
        __syncthreads();  // the shared memory can be reused
    }

    DEVICE T row_weight(int row) const { return weight ? share(step)[row] : T(1); }
    DEVICE T label_weight(int row) const {
        if (!class_weight) return 1;
        const int own = label(step)[row];
        return own >= 0 ? class_weight[own] : T(0);
    }

    // The weight of a row in the mean.
    DEVICE T share_of(int row) const {
        const T whole = weight || class_weight ? at(NORM_AT)[0] : static_cast<T>(rows);
        return whole == T(0) ? T(0) : row_weight(row) / whole;
    }

    // --- activation and dropout

    // The factors of dropout after layer L for WIDTH elements from `place` on in (rows, width): 1 / (1 - p) or 0.
    template <int L, int WIDTH>
    DEVICE Pack<WIDTH> kept(int place) const {
        const Block numbers = random_block(place / DRAWS, seed, first_step + step, DRAW[L - 1]);
        Pack<WIDTH> factors;
#pragma unroll
        for (int j = 0; j < WIDTH; ++j)
            factors.v[j] = uniform(numbers, place % DRAWS + j) >= DROPPED[L - 1] && DROPPED[L - 1] < 1
                               ? T(1 / (1 - static_cast<double>(DROPPED[L - 1])))
                               : T(0);
        return factors;
    }

    template <int WIDTH>
    struct Activated {
        Pack<WIDTH> h, saved;
    };

    // The output of hidden layer L from z, which includes the bias.
    template <int L, int WIDTH>
    DEVICE Activated<WIDTH> activate(int place, const Pack<WIDTH>& z) const {
        Activated<WIDTH> result;
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            result.h.v[j] = activation::OfLayer<L>::forward(z.v[j], OF_ACTIVATION[L - 1]);
            result.saved.v[j] = SAVES_Z[L - 1] ? z.v[j] : result.h.v[j];
        }
        if constexpr (DRAW[L - 1] >= 0) {
            const auto factors = kept<L, WIDTH>(place);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) result.h.v[j] *= factors.v[j];
        }
        return result;
    }

    // dz of hidden layer L from the gradient of its output.
    template <int L, int WIDTH>
    DEVICE Pack<WIDTH> differentiate(int place, Pack<WIDTH> gradient, const Pack<WIDTH>& saved) const {
        if constexpr (DRAW[L - 1] >= 0) {
            const auto factors = kept<L, WIDTH>(place);
#pragma unroll
            for (int j = 0; j < WIDTH; ++j) gradient.v[j] *= factors.v[j];
        }
#pragma unroll
        for (int j = 0; j < WIDTH; ++j)
            gradient.v[j] *= activation::OfLayer<L>::backward(saved.v[j], OF_ACTIVATION[L - 1]);
        return gradient;
    }

    // --- parts 1 and 2: a tile of layer L's output

    template <int L>
    DEVICE void forward(int tile) const {
        constexpr int IN = WIDTHS[L - 1], OUT = WIDTHS[L], ACROSS = ceil_div(OUT, Small::BN);
        using Product = TiledProduct<Small, false, false, VECTORS<IN>, VECTORS<OUT>, VECTORS<OUT>, false>;
        static_assert(Product::WORDS <= SHARED, "the tiles fit");
        const int parts = L == LAYERS - 1 ? splits : 1, part = tile % parts;
        const int row = tile / parts / ACROSS * Small::BM, column = tile / parts % ACROSS * Small::BN;
        const int length = ceil_div(ceil_div(IN, Small::BK), parts) * Small::BK;
        const int first = min(part * length, IN), last = min(first + length, IN);
        const auto sum = Product::accumulate(shared, input<L>(), weights<L>(), row, column, rows, OUT, IN, first, last);
        if (Product::Place::of_thread().slice != 0) return;
        constexpr int WIDTH = Product::WIDTH_C;
        const auto finish = [&](int r, int c, Pack<WIDTH> z) {
            if (r >= rows || c >= OUT) return;
            const int place = r * OUT + c;
            if constexpr (L == LAYERS - 1) {
                store(at(SPLITS_AT) + part * rows * OUT + place, z);
            } else {
                const auto b = bias<L, WIDTH>(c);
                for (int j = 0; j < WIDTH; ++j) z.v[j] += b.v[j];
                const auto result = activate<L, WIDTH>(place, z);
                store(h<L>() + place, result.h);
                if (saved<L>() != h<L>()) store(saved<L>() + place, result.saved);
            }
        };
        Product::store_tile(sum, finish, row, column);
    }

    // --- part 3: the head, for a row

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

    // --- part 4: gradients and updates

    // WIDTH adjacent parameters and their state.
    template <int WIDTH>
    struct Held {
        Pack<WIDTH> values[1 + SLOTS];
    };

    template <int WIDTH>
    DEVICE Held<WIDTH> take(int place) const {
        Held<WIDTH> held;
#pragma unroll
        for (int s = 0; s <= SLOTS; ++s) held.values[s] = load<WIDTH>(now[s] + place);
        return held;
    }

    // Update parameters and state. Return whether the gradient is finite, and so is the state that holds its squares.
    template <int WIDTH>
    DEVICE bool update(int place, Held<WIDTH> held, Pack<WIDTH> gradient, const Rule& rule) const {
        bool finite = true;
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            T& g = gradient.v[j];
            if (clip > T(0)) g = g > clip ? clip : g < -clip ? -clip : g;
            finite &= g - g == T(0);
            T state[2] = {};
#pragma unroll
            for (int s = 0; s < SLOTS; ++s) state[s] = held.values[s + 1].v[j];
            rule(held.values[0].v[j], g, state[0], state[1]);
            if constexpr (SLOTS == 2) finite &= state[1] - state[1] == T(0);  // squares may overflow, permanently
#pragma unroll
            for (int s = 0; s < SLOTS; ++s) held.values[s + 1].v[j] = state[s];
        }
#pragma unroll
        for (int s = 0; s <= SLOTS; ++s) store(next[s] + place, held.values[s]);
        if (step == steps - 1) store(grads + place, gradient);
        return finite;
    }

    // A tile of dW_L and its update; the first row of tiles also computes and updates b_L. Return whether all of it is
    // finite.
    template <int L>
    DEVICE bool weight_gradient(int tile) const {
        using Shape = OfWeight<L>;
        constexpr int IN = WIDTHS[L - 1], OUT = WIDTHS[L], ACROSS = ceil_div(OUT, Shape::BN);
        constexpr bool HAS_BIAS = BIASES[L - 1] >= 0;
        using Product = TiledProduct<Shape, true, false, VECTORS<IN>, VECTORS<OUT>, VECTORS<OUT>, HAS_BIAS>;
        static_assert(Product::WORDS <= SHARED, "the tiles fit");
        constexpr int WIDTH = Product::WIDTH_C;
        constexpr int GROUP = Shape::TM == 4 ? 4 : 2;  // rows of a thread loaded together, limited by registers
        constexpr bool AHEAD = Shape::TM == GROUP && WIDTH == VECTOR;
        const int row = tile / ACROSS * Shape::BM, column = tile % ACROSS * Shape::BN;
        const auto place = Product::Place::of_thread();
        const Rule rule = reinterpret_cast<const Rule*>(rules)[step];
        const auto place_of = [&](int p, int q) {  // offset in the flat buffers; -1 past the edge
            const int r = row + place.warp_m + Product::FragmentA::place(p, place.lane_m);
            const int c = column + place.warp_n + Product::FragmentB::place(q, place.lane_n);
            return place.slice == 0 && r < IN && c < OUT ? WEIGHTS[L - 1] + r * OUT + c : -1;
        };
        Held<WIDTH> held[GROUP][Shape::TN / WIDTH];
        const auto take_group = [&](int first) {  // all loads in flight together
#pragma unroll
            for (int p = 0; p < GROUP; ++p)
#pragma unroll
                for (int q = 0; q < Shape::TN; q += WIDTH)
                    held[p][q / WIDTH] = take<WIDTH>(max(place_of(first + p, q), 0));
        };
        if constexpr (AHEAD) take_group(0);  // in flight while the tile is summed
        const auto sum = Product::accumulate(shared, input<L>(), dz<L>(), row, column, IN, OUT, rows, 0, rows);
        bool finite = true;
#pragma unroll
        for (int first = 0; first < Shape::TM; first += GROUP) {
            if constexpr (!AHEAD) take_group(first);
#pragma unroll
            for (int p = 0; p < GROUP; ++p)
#pragma unroll
                for (int q = 0; q < Shape::TN; q += WIDTH) {
                    Pack<WIDTH> gradient;
#pragma unroll
                    for (int j = 0; j < WIDTH; ++j) gradient.v[j] = sum.tile[first + p][q + j];
                    if (const int at = place_of(first + p, q); at >= 0)
                        finite &= update(at, held[p][q / WIDTH], gradient, rule);
                }
        }
        if constexpr (HAS_BIAS)
            if (place.slice == 0 && row == 0 && place.warp_m == 0 && place.lane_m == 0)
#pragma unroll
                for (int q = 0; q < Shape::TN; ++q) {
                    const int c = column + place.warp_n + Product::FragmentB::place(q, place.lane_n);
                    const int at = BIASES[L - 1] + c;
                    if (c < OUT) finite &= update<1>(at, take<1>(at), {{sum.columns[q]}}, rule);
                }
        return finite;
    }

    // A tile of dz_{L-1}.
    template <int L>
    DEVICE void input_gradient(int tile) const {
        constexpr int IN = WIDTHS[L - 1], OUT = WIDTHS[L], ACROSS = ceil_div(IN, Small::BN);
        using Product = TiledProduct<Small, false, true, VECTORS<OUT>, VECTORS<OUT>, VECTORS<IN>, false>;
        static_assert(Product::WORDS <= SHARED, "the tiles fit");
        const int row = tile / ACROSS * Small::BM, column = tile % ACROSS * Small::BN;
        const auto sum = Product::accumulate(shared, dz<L>(), weights<L>(), row, column, rows, IN, OUT, 0, OUT);
        if (Product::Place::of_thread().slice != 0) return;
        constexpr int WIDTH = Product::WIDTH_C;
        const auto finish = [&](int r, int c, const Pack<WIDTH>& gradient) {
            if (r >= rows || c >= IN) return;
            const int place = r * IN + c;
            const auto of = load<WIDTH>(saved<L - 1>() + place);
            store(dz<L - 1>() + place, differentiate<L - 1, WIDTH>(place, gradient, of));
        };
        Product::store_tile(sum, finish, row, column);
    }

    // --- a step

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

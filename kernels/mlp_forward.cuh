// mlp_forward.cuh: the batch and the hidden layers of mlp_train.cu: gathered rows, their weights in the mean, activation
// and dropout, and tiles of the layers' outputs.

#pragma once
#include "mlp_net.cuh"
#include "philox.cuh"

// The state, with the batch and the forward pass of the hidden layers.
struct Forward : State {
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
        constexpr int WIDTH = VECTORS<LENGTH> ? VECTOR : 1, EACH = ceil_div(LENGTH, WIDTH * WARP);
        constexpr int MOST = sizeof(From) > 4 ? 1 : 8;  // limited by registers
        constexpr int IN_FLIGHT = EACH < MOST ? EACH : MOST, STRIDE = WARP * WIDTH;
        for (int j = lane * WIDTH; j < LENGTH; j += IN_FLIGHT * STRIDE) {
            Group<From, WIDTH> vectors[IN_FLIGHT];
#pragma unroll
            for (int p = 0; p < IN_FLIGHT; ++p)
                if (const int at = j + p * STRIDE; at < LENGTH)
                    vectors[p] = *reinterpret_cast<const Group<From, WIDTH>*>(from + at);
#pragma unroll
            for (int p = 0; p < IN_FLIGHT; ++p) {
                const int at = j + p * STRIDE;
                if (at < LENGTH) {
                    Pack<WIDTH> row;
#pragma unroll
                    for (int i = 0; i < WIDTH; ++i) row.v[i] = convert(vectors[p].v[i], at + i);
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
};

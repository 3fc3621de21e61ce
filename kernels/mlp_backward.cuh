// mlp_backward.cuh: the backward pass and the update of mlp_train.cu: tiles of the gradients, each followed by the update
// of its parameters.

#pragma once
#include "mlp_head.cuh"

// With the gradients and the update.
struct Backward : Head {
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
};

// tiled_product.cuh: a thread block's tile of a matrix product: the main loop of matmul_tiled.cu, also used by other
// kernels. The tile sizes are template parameters, so that one kernel can use several.
//
// A block has Shape::THREADS threads along x and TiledProduct::WORDS elements of shared memory, aligned to 16 bytes, at
// most 48 KiB.

#pragma once
#include "matmul.cuh"
#include "tile_loader.cuh"

// The tile sizes: a block computes BM x BN elements of c in steps of BK along k, a warp WM x WN of them, a thread TM x
// TN. STAGES steps are buffered in shared memory. SLICES groups of warps share each step: each takes its k-slice of
// DEPTH.
template <int BM_, int BN_, int BK_, int WM_, int WN_, int TM_, int TN_, int STAGES_ = 3, int SLICES_ = 1>
struct TileShape {
    static constexpr int BM = BM_, BN = BN_, BK = BK_, WM = WM_, WN = WN_, TM = TM_, TN = TN_;
    static constexpr int STAGES = STAGES_, SLICES = SLICES_;
    static constexpr int SLICE = WARP * (BM / WM) * (BN / WN);  // threads of a k-slice
    static constexpr int THREADS = SLICE * SLICES;
    static constexpr int DEPTH = BK / SLICES;
    static constexpr int LANES_M = WM / TM, LANES_N = WN / TN;
    static_assert(BM % WM == 0 && BN % WN == 0, "the warp tile divides the block tile");
    static_assert(LANES_M * LANES_N == WARP && WM % TM == 0 && WN % TN == 0, "32 thread tiles make a warp tile");
    static_assert(LANES_M % 2 == 0 && LANES_N % 2 == 0, "lanes alternate along m and n");
    static_assert(BK % SLICES == 0, "k-slices have the same depth");
};

// A thread's elements of a tile, COUNT of them, at STEPS steps along k, which a row of shared memory holds. Along m or n
// they are in vectors of WIDTH that are LANES vectors apart.
template <typename Tile, int COUNT, int LANES, int STEPS_>
struct Fragment {
    static constexpr int WIDTH = COUNT % VECTOR == 0 ? VECTOR : 2, STEPS = STEPS_;
    static constexpr int LOADED = Tile::STEPS > 1 ? STEPS : WIDTH;  // elements of a load
    static_assert(COUNT % WIDTH == 0, "whole vectors");

    T values[COUNT * STEPS];  // element by element

    // The position of element p in the warp tile.
    static DEVICE int place(int p, int lane) { return (p / WIDTH * LANES + lane) * WIDTH + p % WIDTH; }

    // Load the STEPS steps that begin with `step`; do nothing for the other steps. `own` is the lane's first element in
    // the tile's first step. `step` is known at compile time, so the rest of the address is an immediate of the load.
    DEVICE void load(const T* own, int step) {
        if (step % STEPS != 0) return;
#pragma unroll
        for (int i = 0; i < COUNT * STEPS; i += LOADED) {
            const auto vector = ::load<LOADED>(own + Tile::at(place(i / STEPS, 0), step));
#pragma unroll
            for (int w = 0; w < LOADED; ++w) values[i + w] = vector.v[w];
        }
    }

    // The elements at one of the steps.
    DEVICE Pack<COUNT> at(int step) const {
        Pack<COUNT> of_step;
#pragma unroll
        for (int p = 0; p < COUNT; ++p) of_step.v[p] = values[p * STEPS + step % STEPS];
        return of_step;
    }
};

// The sums of a thread over op(a) op(b) and, with COLUMNS, over the columns of op(b). The part_size of a split-K launch
// is their size over all threads of a slice.
template <typename Shape, bool COLUMNS>
struct Sums {
    T tile[Shape::TM][Shape::TN];
};

template <typename Shape>
struct Sums<Shape, true> {
    T tile[Shape::TM][Shape::TN];
    T columns[Shape::TN];
};

// The position of a thread: its slice, its index in the slice, its warp in the block tile, its lane in the warp tile.
// Adjacent lanes go along n, then along m: a vector load takes fewer cycles if lanes two apart have the same address.
template <typename Shape>
struct PlaceOf {
    int slice, thread, warp_m, warp_n, lane_m, lane_n;

    static DEVICE PlaceOf of_thread() {
        constexpr int WARPS_N = Shape::BN / Shape::WN, LANES_N = Shape::LANES_N;
        const int thread = threadIdx.x % Shape::SLICE, warp = thread / WARP, lane = thread % WARP;
        return {static_cast<int>(threadIdx.x / Shape::SLICE),
                thread,
                warp / WARPS_N * Shape::WM,
                warp % WARPS_N * Shape::WN,
                lane / 2 % 2 + lane / (2 * LANES_N) * 2,
                lane % 2 + lane / 4 % (LANES_N / 2) * 2};
    }
};

// x, in a register: the compiler does not know how it was computed, so it does not compute it again in every iteration.
DEVICE int in_register(int x) {
    asm volatile("" : "+r"(x));
    return x;
}

// The tile of c at `row` and `column`, computed by all threads of a block. op(a) is contiguous along m with
// A_TRANSPOSED, op(b) along k with B_TRANSPOSED. A_VECTORS (B_VECTORS): copy the operand by vectors; its rows in
// memory must be aligned multiples of 16 bytes. C_VECTORS: the same for c and the other arrays of the epilogue.
// COLUMN_TOTALS: sum the columns of op(b) from its tiles in shared memory.
//
// A block that computes several tiles calls __syncthreads() before the next one.
template <typename Shape, bool A_TRANSPOSED, bool B_TRANSPOSED, bool A_VECTORS, bool B_VECTORS, bool C_VECTORS,
          bool COLUMN_TOTALS>
struct TiledProduct {
    static_assert(!(COLUMN_TOTALS && B_TRANSPOSED), "column sums require a row-major op(b)");

    static constexpr int BM = Shape::BM, BN = Shape::BN, BK = Shape::BK, TM = Shape::TM, TN = Shape::TN;
    static constexpr int STAGES = Shape::STAGES, SLICES = Shape::SLICES, SLICE = Shape::SLICE, DEPTH = Shape::DEPTH;

    using Place = PlaceOf<Shape>;
    using TileA = Tile<BM, BK, Shape::THREADS, !A_TRANSPOSED, A_VECTORS ? VECTOR : 1, 0>;
    using TileB = Tile<BN, BK, Shape::THREADS, B_TRANSPOSED, B_VECTORS ? VECTOR : 1, 0>;
    static_assert(DEPTH % TileA::STEPS == 0 && DEPTH % TileB::STEPS == 0, "a k-slice is whole rows of shared memory");
    using Steps = Stages<TileA, TileB, BK, STAGES>;
    // If both operands are contiguous along k, the registers of a large tile do not suffice for VECTOR steps of both, nor
    // for those of one if it has many copies, of single elements.
    static constexpr bool FEWER = !A_TRANSPOSED && B_TRANSPOSED && TM * TN > 32;
    using FragmentA = Fragment<TileA, TM, Shape::LANES_M, FEWER && !A_VECTORS ? VECTOR / 2 : TileA::STEPS>;
    using FragmentB = Fragment<TileB, TN, Shape::LANES_N, FEWER ? VECTOR / 2 : TileB::STEPS>;
    using Sum = Sums<Shape, COLUMN_TOTALS>;

    static constexpr int WIDTH_C = C_VECTORS ? FragmentB::WIDTH : 1;
    static constexpr int COUNT = sizeof(Sum) / sizeof(T);
    static constexpr int OTHERS = (SLICES - 1) * COUNT * SLICE;  // sums of all slices but the first
    static constexpr int WORDS = Steps::WORDS > OTHERS ? Steps::WORDS : OTHERS;  // of shared memory

    // The state of a thread in the main loop.
    struct Work {
        Steps steps;
        const T* shared;
        int own_a, own_b;  // offsets of the thread's first elements in a stage
        bool sums_columns;
        int now = 0;               // the stage being multiplied
        const T* tiles = nullptr;  // its address
        FragmentA columns_a;
        FragmentB rows_b;
        Sum sum = {};

        DEVICE void take(int step) {
            columns_a.load(tiles + own_a, step);
            rows_b.load(tiles + own_b, step);
        }

        DEVICE void sum_columns() {
#pragma unroll 1  // unrolled, it would take registers needed by the product
            for (int j = 0; j < DEPTH; ++j) {
                FragmentB row;
                row.load(tiles + own_b, j);
#pragma unroll
                for (int q = 0; q < TN; ++q) sum.columns[q] += row.values[q];
            }
        }

        // Multiply the stage; during its last step load the first fragments of the next stage, if there is another.
        // With COPIES, issue copies: a branch around them would keep the compiler from interleaving them with
        // multiply-adds.
        template <bool COPIES>
        DEVICE void multiply(bool another) {
            if constexpr (COLUMN_TOTALS)
                if (sums_columns) sum_columns();
#pragma unroll
            for (int j = 0; j < DEPTH; ++j) {
                const auto column_a = columns_a.at(j);
                const auto row_b = rows_b.at(j);
                if (j + 1 == DEPTH) {
                    now = now + 1 < STAGES ? now + 1 : 0;
                    steps.next(now, COPIES);
                    if (another) tiles = shared + now * Steps::STAGE;  // else the next load is not used
                }
                take((j + 1) % DEPTH);
#pragma unroll
                for (int p = 0; p < TM; ++p)
#pragma unroll
                    for (int q = 0; q < TN; ++q) sum.tile[p][q] += column_a.v[p] * row_b.v[q];
            }
        }
    };

    // Sum the steps along k from `first` to `last`; the threads of the first slice get the sums.
    static DEVICE Sum accumulate(T* shared, const T* a, const T* b, int row, int column, int m, int n, int k, int first,
                                 int last) {
        const Place place = Place::of_thread();
        const int own_a = TileA::at(place.warp_m + FragmentA::place(0, place.lane_m), place.slice * DEPTH);
        const int own_b = TileB::at(place.warp_n + FragmentB::place(0, place.lane_n), place.slice * DEPTH);
        Work work{{{shared, a, row, m, first, last, A_TRANSPOSED ? m : k},
                   {shared + TileA::WORDS, b, column, n, first, last, B_TRANSPOSED ? k : n},
                   last - first},
                  shared,
                  in_register(own_a),
                  in_register(TileA::WORDS + own_b),
                  row == 0 && blockIdx.z == 0};
        Steps& steps = work.steps;
        if (first < last) {
            steps.begin();
            steps.next(0, steps.left > 0);
            work.tiles = shared;
            work.take(0);
        }
        int i = first;
        for (; steps.left > 0; i += BK) work.template multiply<true>(true);
        for (; i < last; i += BK) work.template multiply<false>(i + BK < last);
        if (SLICES > 1) sum_slices(work.sum, shared, place);
        return work.sum;
    }

    // Add up the sums of the slices, in their order, in the threads of the first slice.
    static DEVICE void sum_slices(Sum& sum, T* shared, const Place& place) {
        T* values = reinterpret_cast<T*>(&sum);
        __syncthreads();  // no thread reads the tiles any more
        if (place.slice > 0)
#pragma unroll
            for (int i = 0; i < COUNT; ++i) shared[((place.slice - 1) * COUNT + i) * SLICE + place.thread] = values[i];
        __syncthreads();
        if (place.slice == 0)
#pragma unroll
            for (int other = 0; other < SLICES - 1; ++other)
#pragma unroll
                for (int i = 0; i < COUNT; ++i) values[i] += shared[(other * COUNT + i) * SLICE + place.thread];
    }

    // Pass the sums of a slice's threads to `finish`, the epilogue, which stores them.
    template <typename Finish>
    static DEVICE void store_tile(const Sum& sum, const Finish& finish, int row, int column) {
        const Place place = Place::of_thread();
#pragma unroll
        for (int p = 0; p < TM; ++p)
#pragma unroll
            for (int q = 0; q < TN; q += WIDTH_C) {
                Pack<WIDTH_C> values;
#pragma unroll
                for (int j = 0; j < WIDTH_C; ++j) values.v[j] = sum.tile[p][q + j];
                finish(row + place.warp_m + FragmentA::place(p, place.lane_m),
                       column + place.warp_n + FragmentB::place(q, place.lane_n), values);
            }
    }

    // Store the column sums, which the first row of tiles computes.
    static DEVICE void store_column_sums(const Sum& sum, T* column_sums, int row, int column, int n) {
        const Place place = Place::of_thread();
        if (row == 0 && blockIdx.z == 0 && place.warp_m == 0 && place.lane_m == 0)
#pragma unroll
            for (int q = 0; q < TN; ++q) {
                const int x = column + place.warp_n + FragmentB::place(q, place.lane_n);
                if (x < n) column_sums[x] = sum.columns[q];
            }
    }
};

// tiled_product.cuh: how a thread block computes its tile of a matrix product: the work of matmul_tiled.cu, as a part
// that other kernels combine as well. The tile's sizes are template parameters, so that one kernel can use several.
//
// A block has Shape::THREADS threads along x. Shared memory: TiledProduct::WORDS elements, aligned to 16 bytes, 48 KiB at
// most. The option MIN_BLOCKS (1) of a kernel is the number of resident blocks per SM that __launch_bounds__ asks for: it
// bounds the registers of a thread.

#pragma once
#include "matmul.cuh"
#include "tile_loader.cuh"

#ifndef MIN_BLOCKS
#define MIN_BLOCKS 1
#endif

// The sizes of a tile: a block computes BM x BN elements of c in steps of BK along k, a warp WM x WN of them, a thread
// TM x TN. STAGES steps have room in shared memory. SLICES groups of warps share each step: every one takes its k-slice of
// DEPTH.
template <int BM_, int BN_, int BK_, int WM_, int WN_, int TM_, int TN_, int STAGES_ = 3, int SLICES_ = 1>
struct TileShape {
    static constexpr int BM = BM_, BN = BN_, BK = BK_, WM = WM_, WN = WN_, TM = TM_, TN = TN_;
    static constexpr int STAGES = STAGES_, SLICES = SLICES_;
    static constexpr int SLICE = WARP * (BM / WM) * (BN / WN);  // threads of a k-slice
    static constexpr int THREADS = SLICE * SLICES;
    static constexpr int DEPTH = BK / SLICES;
    static constexpr int LANES_M = WM / TM, LANES_N = WN / TN;
    static constexpr int SPAN = DEPTH < 16 ? DEPTH : 16;
    static_assert(BM % WM == 0 && BN % WN == 0, "a block's tile is made of warps' tiles");
    static_assert(LANES_M * LANES_N == WARP && WM % TM == 0 && WN % TN == 0, "a warp's tile is made of 32 threads' tiles");
    static_assert(LANES_M % 2 == 0 && LANES_N % 2 == 0, "lanes alternate along m and n");
    static_assert(BK % SLICES == 0 && DEPTH % 2 == 0, "a k-slice is made of pairs of steps");
};

// What a thread takes of a tile at a step along k: COUNT elements, as pieces of WIDTH neighbours that are LANES pieces
// apart.
template <typename Tile, int COUNT, int LANES>
struct Fragment {
    static constexpr int WIDTH = COUNT % VECTOR == 0 ? VECTOR : 1;

    T values[COUNT];

    // The place in the warp's tile of element number p.
    static DEVICE int place(int p, int lane) { return (p / WIDTH * LANES + lane) * WIDTH + p % WIDTH; }

    DEVICE void load(const T* tile, int step, int lane) {
        const int exchanged = Tile::exchanged(step), among = exchanged % WIDTH;  // within a piece, if it has neighbours
#pragma unroll
        for (int p = 0; p < COUNT; p += WIDTH) {
            const auto piece = ::load<WIDTH>(tile + Tile::at(place(p, lane) ^ among, step));
#pragma unroll
            for (int w = 0; w < WIDTH; ++w) values[p + (w ^ among)] = piece.v[w];
        }
    }
};

// What a thread sums of op(a) op(b) and, with COLUMNS, of the columns of op(b). The part_size of a launch with split-K is
// what all threads of a slice hold of it.
template <typename Shape, bool COLUMNS>
struct Sums {
    T tile[Shape::TM][Shape::TN];
};

template <typename Shape>
struct Sums<Shape, true> {
    T tile[Shape::TM][Shape::TN];
    T columns[Shape::TN];
};

// The place of a thread: its slice, its number there, its warp in the block's tile, its lane in the warp's tile.
// Neighbouring lanes go along n, then along m: a vector load takes fewer cycles where lanes two apart share its address.
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

// The tile of c at `row` and `column` by all threads of a block: op(a) lies in memory along m where A_TRANSPOSED, op(b)
// along k where B_TRANSPOSED. A_VECTORS (B_VECTORS): the operand is copied by vectors, unless it is turned; its rows in
// memory must be a multiple of 16 bytes long, and aligned. C_VECTORS: likewise c and what is like it. COLUMN_TOTALS:
// the columns of op(b) are summed on the way.
template <typename Shape, bool A_TRANSPOSED, bool B_TRANSPOSED, bool A_VECTORS, bool B_VECTORS, bool C_VECTORS,
          bool COLUMN_TOTALS>
struct TiledProduct {
    static_assert(!(COLUMN_TOTALS && B_TRANSPOSED), "the columns of an op(b) that lies row by row");

    static constexpr int BM = Shape::BM, BN = Shape::BN, BK = Shape::BK, TM = Shape::TM, TN = Shape::TN;
    static constexpr int STAGES = Shape::STAGES, SLICES = Shape::SLICES, SLICE = Shape::SLICE, DEPTH = Shape::DEPTH;

    using Place = PlaceOf<Shape>;
    using TileA = Tile<BM, BK, Shape::THREADS, !A_TRANSPOSED, A_TRANSPOSED && A_VECTORS ? VECTOR : 1, VECTOR,
                       A_TRANSPOSED ? 0 : Shape::SPAN>;
    using TileB = Tile<BN, BK, Shape::THREADS, B_TRANSPOSED, !B_TRANSPOSED && B_VECTORS ? VECTOR : 1, VECTOR,
                       B_TRANSPOSED ? Shape::SPAN : 0>;
    using Steps = Stages<TileA, TileB, BK, STAGES>;
    using FragmentA = Fragment<TileA, TM, Shape::LANES_M>;
    using FragmentB = Fragment<TileB, TN, Shape::LANES_N>;
    using Sum = Sums<Shape, COLUMN_TOTALS>;

    static constexpr int WIDTH_C = C_VECTORS ? FragmentB::WIDTH : 1;
    static constexpr int COUNT = sizeof(Sum) / sizeof(T);
    static constexpr int OTHERS = (SLICES - 1) * COUNT * SLICE;  // what all slices but the first hold at the end
    static constexpr int WORDS = Steps::WORDS > OTHERS ? Steps::WORDS : OTHERS;  // of shared memory

    // Add up the steps along k from `first` to `last`; the threads of the first slice have the sums.
    static DEVICE Sum add_up(T* shared, const T* a, const T* b, int row, int column, int m, int n, int k, int first,
                             int last) {
        const Place place = Place::of_thread();
        const Steps steps{shared, a, b, row, m, A_TRANSPOSED ? m : k, column, n, B_TRANSPOSED ? k : n, last};
        const int own_a = TileA::at(place.warp_m, place.slice * DEPTH);
        const int own_b = TileA::WORDS + TileB::at(place.warp_n, place.slice * DEPTH);
        Sum sum = {};
        FragmentA column_a[2];
        FragmentB row_b[2];
        const T* tiles = nullptr;
        const auto take = [&](int step) {
            column_a[step % 2].load(tiles + own_a, step, place.lane_m);
            row_b[step % 2].load(tiles + own_b, step, place.lane_n);
        };
        if (first < last) {
            steps.begin(first);
            tiles = steps.next(first, 0);
            take(0);
        }
        for (int i = first, now = 0; i < last; i += BK) {
            if constexpr (COLUMN_TOTALS) {
                if (row == 0 && blockIdx.z == 0) {
#pragma unroll 1  // unrolled, it would take registers from the product
                    for (int j = 0; j < DEPTH; ++j) {
                        FragmentB summed;
                        summed.load(tiles + own_b, j, place.lane_n);
#pragma unroll
                        for (int q = 0; q < TN; ++q) sum.columns[q] += summed.values[q];
                    }
                }
            }
#pragma unroll
            for (int j = 0; j < DEPTH; ++j) {
                if (j + 1 == DEPTH) {  // no branch here: it would keep what is multiplied from passing the barrier
                    now = now + 1 < STAGES ? now + 1 : 0;
                    const T* following = steps.next(i + BK, now);
                    if (i + BK < last) tiles = following;  // else what is taken is there, and not used
                }
                take((j + 1) % DEPTH);
#pragma unroll
                for (int p = 0; p < TM; ++p)
#pragma unroll
                    for (int q = 0; q < TN; ++q) sum.tile[p][q] += column_a[j % 2].values[p] * row_b[j % 2].values[q];
            }
        }
        if (SLICES > 1) sum_slices(sum, shared, place);
        return sum;
    }

    // Add up what the slices hold, in their order, in the threads of the first.
    static DEVICE void sum_slices(Sum& sum, T* shared, const Place& place) {
        T* values = reinterpret_cast<T*>(&sum);
        __syncthreads();  // the tiles are not read any more
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

    // Bring what the threads of a slice hold to memory, through the epilogue.
    template <typename Finish>
    static DEVICE void leave(const Sum& sum, const Finish& finish, int row, int column) {
        const Place place = Place::of_thread();
#pragma unroll
        for (int p = 0; p < TM; ++p)
#pragma unroll
            for (int q = 0; q < TN; q += WIDTH_C) {
                Neighbours<WIDTH_C> values;
#pragma unroll
                for (int j = 0; j < WIDTH_C; ++j) values.v[j] = sum.tile[p][q + j];
                finish(row + place.warp_m + FragmentA::place(p, place.lane_m),
                       column + place.warp_n + FragmentB::place(q, place.lane_n), values);
            }
    }

    // The sums of the columns, which the first row of tiles has; likewise.
    static DEVICE void leave_columns(const Sum& sum, T* column_sums, int row, int column, int n) {
        const Place place = Place::of_thread();
        if (row == 0 && blockIdx.z == 0 && place.warp_m == 0 && place.lane_m == 0)
#pragma unroll
            for (int q = 0; q < TN; ++q) {
                const int x = column + place.warp_n + FragmentB::place(q, place.lane_n);
                if (x < n) column_sums[x] = sum.columns[q];
            }
    }
};

// matmul_tiled.cu: the matrix product in use (see matmul.cuh).
//
// What it adds to the rung below, each for a wait that was left there:
//   - vector loads: 16 bytes an instruction from shared memory, and from memory where neighbours there are neighbours in
//     c. An operand that is contiguous along k is turned on its way, word by word (see tile_loader.cuh);
//   - asynchronous copies in STAGES: while a tile is multiplied, the next ones are already on their way into other parts
//     of the shared memory; one barrier a step instead of two;
//   - warp tiles: the 32 threads of a warp compute a compact WM x WN tile, so that its loads from shared memory touch
//     few words, each broadcast to several lanes, and no bank twice;
//   - fragments in pairs: while a step along k is multiplied, the next one comes from shared memory to registers, also
//     from tile to tile, across the barrier;
//   - slices: where c has few tiles, SLICES times as many warps share the steps of each, and add up through shared
//     memory at the end. A block of two warps leaves most of a multiprocessor idle;
//   - split-K: where that does not fill the GPU, several blocks share a tile (see split_k.cuh);
//   - the bias gradient: in dW = x^T dz the tiles of dz pass through shared memory anyway; the blocks of the first row
//     of tiles sum their columns on the way.
//
// Options: BM, BN, BK (64, 64, 8), the block's tile and its step; WM, WN (32, 32), a warp's tile; TM, TN (8, 4), a
// thread's tile, of which a warp holds 32; STAGES (3) and SLICES (1), as above; MIN_BLOCKS (1), how many blocks a
// multiprocessor shall hold, which bounds the registers of a thread. VECTOR_A=1 (VECTOR_B=1) copies the operand by
// vectors, unless it is turned: its rows in memory must be a multiple of 16 bytes long and, like the matrices of a batch,
// aligned to 16 bytes. VECTOR_C=1: likewise c and what is like it. COLUMN_SUMS=1 sums the columns of op(b).
//
// Block (32 * BM / WM * BN / WN * SLICES,). Some STAGES BK (BM + BN) words of shared memory, 48 KiB at most.

#include "matmul.cuh"
#include "split_k.cuh"
#include "tile_loader.cuh"

#ifndef BM
#define BM 64
#define BN 64
#define BK 8
#define WM 32
#define WN 32
#define TM 8
#define TN 4
#endif
#ifndef STAGES
#define STAGES 3
#endif
#ifndef SLICES
#define SLICES 1
#endif
#ifndef MIN_BLOCKS
#define MIN_BLOCKS 1
#endif
#ifndef VECTOR_A
#define VECTOR_A 0
#endif
#ifndef VECTOR_B
#define VECTOR_B 0
#endif
#ifndef VECTOR_C
#define VECTOR_C 0
#endif
#ifndef COLUMN_SUMS
#define COLUMN_SUMS 0
#endif

constexpr int SLICE = WARP * (BM / WM) * (BN / WN);  // threads
constexpr int THREADS = SLICE * SLICES;
constexpr int DEPTH = BK / SLICES;  // that a slice takes of a step
constexpr int LANES_M = WM / TM;
constexpr int LANES_N = WN / TN;
static_assert(BM % WM == 0 && BN % WN == 0, "a block's tile is made of warps' tiles");
static_assert(LANES_M * LANES_N == WARP && WM % TM == 0 && WN % TN == 0, "a warp's tile is made of 32 threads' tiles");
static_assert(LANES_M % 2 == 0 && LANES_N % 2 == 0, "lanes alternate along m and n");
static_assert(BK % SLICES == 0 && DEPTH % 2 == 0, "a slice takes pairs of steps");
constexpr int SPAN = DEPTH < 16 ? DEPTH : 16;

using TileA = Tile<BM, BK, THREADS, !TRANSPOSE_A, TRANSPOSE_A && VECTOR_A ? VECTOR : 1, VECTOR, TRANSPOSE_A ? 0 : SPAN>;
using TileB = Tile<BN, BK, THREADS, TRANSPOSE_B, !TRANSPOSE_B && VECTOR_B ? VECTOR : 1, VECTOR, TRANSPOSE_B ? SPAN : 0>;
using Steps = Stages<TileA, TileB, BK, STAGES>;

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

using FragmentA = Fragment<TileA, TM, LANES_M>;
using FragmentB = Fragment<TileB, TN, LANES_N>;
constexpr int WIDTH_C = VECTOR_C ? FragmentB::WIDTH : 1;

// What a thread adds up; part_size of the launch is what all threads of a slice do.
struct Sums {
    T tile[TM][TN];
#if COLUMN_SUMS
    T columns[TN];
#endif
};

constexpr int COUNT = sizeof(Sums) / sizeof(T);
constexpr int OTHERS = (SLICES - 1) * COUNT * SLICE;  // what all slices but the first hold at the end

// Add up what the slices hold, in their order, in the threads of the first.
DEVICE void sum_slices(Sums& sums, T* shared, int slice, int thread) {
    T* values = reinterpret_cast<T*>(&sums);
    __syncthreads();  // the tiles are not read any more
    if (slice > 0)
#pragma unroll
        for (int i = 0; i < COUNT; ++i) shared[((slice - 1) * COUNT + i) * SLICE + thread] = values[i];
    __syncthreads();
    if (slice == 0)
#pragma unroll
        for (int other = 0; other < SLICES - 1; ++other)
#pragma unroll
            for (int i = 0; i < COUNT; ++i) values[i] += shared[(other * COUNT + i) * SLICE + thread];
}

// FLOPs: 2 * m * n * k * grid_z
extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS) matmul_tiled(
    const T* __restrict__ a,        // [(grid_z - 1) * stride_a + m * k]
    const T* __restrict__ b,        // [(grid_z - 1) * stride_b + k * n]
    const T* __restrict__ bias,     // [n] or null
    const T* __restrict__ saved,    // [grid_z * m * n] or null
    T* __restrict__ preactivation,  // [grid_z * m * n] or null
    T* __restrict__ c,              // [grid_z * m * n]
    T* __restrict__ column_sums,    // [n] or null: with COLUMN_SUMS, sums over k of the first op(b)
    T* parts,                       // [grid_x * grid_y * grid_z * part_size] or null: with splits, for split_k.cuh
    unsigned* arrivals,             // [grid_x * grid_z] or null: with splits, zeros
    int m, int n, int k, long long stride_a, long long stride_b, int part_size, T parameter) {
    alignas(16) __shared__ T shared[Steps::WORDS > OTHERS ? Steps::WORDS : OTHERS];

    a += blockIdx.z * stride_a;
    b += blockIdx.z * stride_b;
    const int across = ceil_div(n, BN);  // tiles
    const int row = blockIdx.x / across * BM, column = blockIdx.x % across * BN;
    const int length = ceil_div(ceil_div(k, BK), gridDim.y) * BK;  // of each split
    const int first = min(blockIdx.y * length, k), last = min(first + length, k);
    const int slice = threadIdx.x / SLICE, thread = threadIdx.x % SLICE;
    const int warp = thread / WARP, lane = thread % WARP;
    const int warp_m = warp / (BN / WN) * WM, warp_n = warp % (BN / WN) * WN;
    // neighbouring lanes along n, then along m: a vector load takes less where lanes two apart share its address
    const int lane_m = lane / 2 % 2 + lane / (2 * LANES_N) * 2, lane_n = lane % 2 + lane / 4 % (LANES_N / 2) * 2;

    const Steps steps{shared, a, b, row, m, TRANSPOSE_A ? m : k, column, n, TRANSPOSE_B ? k : n, last};
    const int own_a = TileA::at(warp_m, slice * DEPTH), own_b = TileA::WORDS + TileB::at(warp_n, slice * DEPTH);
    Sums sum = {};
    FragmentA column_a[2];
    FragmentB row_b[2];
    const T* tiles = nullptr;
    const auto take = [&](int step) {
        column_a[step % 2].load(tiles + own_a, step, lane_m);
        row_b[step % 2].load(tiles + own_b, step, lane_n);
    };
    if (first < last) {
        steps.begin(first);
        tiles = steps.next(first, 0);
        take(0);
    }
    for (int i = first, now = 0; i < last; i += BK) {
#if COLUMN_SUMS
        if (row == 0 && blockIdx.z == 0)
#pragma unroll 1  // unrolled, it would take registers from the product
            for (int j = 0; j < DEPTH; ++j) {
                FragmentB summed;
                summed.load(tiles + own_b, j, lane_n);
#pragma unroll
                for (int q = 0; q < TN; ++q) sum.columns[q] += summed.values[q];
            }
#endif
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

    if (SLICES > 1) sum_slices(sum, shared, slice, thread);
    if (!sum_splits<SLICE>(sum, parts, arrivals, thread, slice == 0)) return;
    const Epilogue finish{bias, saved, preactivation, c, m, n, parameter};
#pragma unroll
    for (int p = 0; p < TM; ++p)
#pragma unroll
        for (int q = 0; q < TN; q += WIDTH_C) {
            Neighbours<WIDTH_C> values;
#pragma unroll
            for (int j = 0; j < WIDTH_C; ++j) values.v[j] = sum.tile[p][q + j];
            finish(row + warp_m + FragmentA::place(p, lane_m), column + warp_n + FragmentB::place(q, lane_n), values);
        }
#if COLUMN_SUMS
    static_assert(!TRANSPOSE_B, "the columns of an op(b) that lies row by row");
    if (row == 0 && blockIdx.z == 0 && warp_m == 0 && lane_m == 0)
#pragma unroll
        for (int q = 0; q < TN; ++q) {
            const int x = column + warp_n + FragmentB::place(q, lane_n);
            if (x < n) column_sums[x] = sum.columns[q];
        }
#endif
}

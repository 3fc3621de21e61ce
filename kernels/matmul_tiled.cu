// matmul_tiled.cu: the matrix product in use (see matmul.cuh).
//
// What it adds to the rung below, each for a wait that was left there:
//   - vector loads: 16 bytes an instruction from memory and from shared memory;
//   - double buffering: while a tile is multiplied, the next one is already on its way from memory into registers, and
//     goes into the other half of the shared memory; one barrier a step instead of two;
//   - warp tiles: the 32 threads of a warp compute a compact WM x WN tile, so that its loads from shared memory touch
//     few words, each broadcast to several lanes, and no bank twice;
//   - split-K: where c has too few tiles to fill the GPU, several blocks share a tile (see split_k.cuh);
//   - the bias gradient: in dW = x^T dz the tiles of dz pass through shared memory anyway; the blocks of the first row
//     of tiles sum their columns on the way.
// Rows in shared memory are padded by one vector, against bank conflicts where a tile is transposed on its way.
//
// Options: BM, BN, BK (64, 64, 8), the block's tile and its step; WM, WN (32, 32), a warp's tile; TM, TN (8, 4), a
// thread's tile, of which a warp holds 32; MIN_BLOCKS (1), how many blocks a multiprocessor shall hold, which bounds the
// registers of a thread. VECTOR_A=1 (VECTOR_B=1) loads the operand by vectors: its rows in memory must be a multiple of
// 16 bytes long and, like the matrices of a batch, aligned to 16 bytes. VECTOR_C=1: likewise c and what is like it.
//
// Block (32 * BM / WM * BN / WN,). 2 BK (BM + BN + 2 VECTOR) words of shared memory, 48 KiB at most.

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

constexpr int THREADS = WARP * (BM / WM) * (BN / WN);
constexpr int LANES_M = WM / TM;
constexpr int LANES_N = WN / TN;
constexpr int WIDTH_M = TM % VECTOR == 0 ? VECTOR : 1;  // neighbours that a thread loads from shared memory at once
constexpr int WIDTH_N = TN % VECTOR == 0 ? VECTOR : 1;
constexpr int WIDTH_C = VECTOR_C ? WIDTH_N : 1;
static_assert(BM % WM == 0 && BN % WN == 0, "a block's tile is made of warps' tiles");
static_assert(LANES_M * LANES_N == WARP && WM % TM == 0 && WN % TN == 0, "a warp's tile is made of 32 threads' tiles");

using LoaderA = Loader<BM, BK, THREADS, !TRANSPOSE_A, VECTOR_A ? VECTOR : 1, VECTOR>;
using LoaderB = Loader<BN, BK, THREADS, TRANSPOSE_B, VECTOR_B ? VECTOR : 1, VECTOR>;

// Load a thread's COUNT words of one row of a tile: pieces of WIDTH neighbours, LANES pieces apart.
template <int COUNT, int WIDTH, int LANES>
DEVICE void load_fragment(T (&fragment)[COUNT], const T* row, int lane) {
#pragma unroll
    for (int p = 0; p < COUNT / WIDTH; ++p) {
        const auto piece = load<WIDTH>(row + (p * LANES + lane) * WIDTH);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) fragment[p * WIDTH + j] = piece.v[j];
    }
}

// The place in the warp's tile of a thread's element number p, as load_fragment hands them out.
template <int WIDTH, int LANES>
DEVICE int fragment_place(int p, int lane) {
    return (p / WIDTH * LANES + lane) * WIDTH + p % WIDTH;
}

// What a thread adds up; part_size of the launch is what all threads of a block do.
struct Sums {
    T tile[TM][TN];
    ColumnSums<BN, THREADS> columns;
};

// FLOPs: 2 * m * n * k * grid_z
extern "C" __global__ void __launch_bounds__(THREADS, MIN_BLOCKS) matmul_tiled(
    const T* __restrict__ a,        // [(grid_z - 1) * stride_a + m * k]
    const T* __restrict__ b,        // [(grid_z - 1) * stride_b + k * n]
    const T* __restrict__ bias,     // [n] or null
    const T* __restrict__ saved,    // [grid_z * m * n] or null
    T* __restrict__ preactivation,  // [grid_z * m * n] or null
    T* __restrict__ c,              // [grid_z * m * n]
    T* __restrict__ column_sums,    // [n] or null: sums over k of the first op(b)
    T* parts,                       // [grid_x * grid_y * grid_z * part_size] or null: with splits, for split_k.cuh
    unsigned* arrivals,             // [grid_x * grid_z] or null: with splits, zeros
    int m, int n, int k, long long stride_a, long long stride_b, int part_size, T parameter) {
    alignas(16) __shared__ T tile_a[2][BK][LoaderA::ROW];
    alignas(16) __shared__ T tile_b[2][BK][LoaderB::ROW];

    a += blockIdx.z * stride_a;
    b += blockIdx.z * stride_b;
    const int tiles = ceil_div(n, BN);
    const int row = blockIdx.x / tiles * BM, column = blockIdx.x % tiles * BN;
    const int steps = ceil_div(ceil_div(k, BK), gridDim.y);  // of each split
    const int first = min(blockIdx.y * steps * BK, k), last = min(first + steps * BK, k);
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int lane_m = lane / LANES_N, lane_n = lane % LANES_N;
    const int warp_m = warp / (BN / WN) * WM, warp_n = warp % (BN / WN) * WN;
    const bool sums_columns = column_sums && row == 0 && blockIdx.z == 0;

    LoaderA loader_a;
    LoaderB loader_b;
    Sums sum = {};

    loader_a.fetch(a, row, m, first, last, TRANSPOSE_A ? m : k);
    loader_b.fetch(b, column, n, first, last, TRANSPOSE_B ? k : n);
    loader_a.put(tile_a[0]);
    loader_b.put(tile_b[0]);
    __syncthreads();
    for (int i = first, now = 0; i < last; i += BK, now ^= 1) {
        const bool more = i + BK < last;
        if (more) {
            loader_a.fetch(a, row, m, i + BK, last, TRANSPOSE_A ? m : k);
            loader_b.fetch(b, column, n, i + BK, last, TRANSPOSE_B ? k : n);
        }
#pragma unroll
        for (int j = 0; j < BK; ++j) {
            T column_a[TM], row_b[TN];
            load_fragment<TM, WIDTH_M, LANES_M>(column_a, &tile_a[now][j][warp_m], lane_m);
            load_fragment<TN, WIDTH_N, LANES_N>(row_b, &tile_b[now][j][warp_n], lane_n);
#pragma unroll
            for (int p = 0; p < TM; ++p)
#pragma unroll
                for (int q = 0; q < TN; ++q) sum.tile[p][q] += column_a[p] * row_b[q];
        }
        if (sums_columns) sum.columns.add(tile_b[now]);
        if (more) {
            loader_a.put(tile_a[now ^ 1]);
            loader_b.put(tile_b[now ^ 1]);
        }
        __syncthreads();
    }

    if (!sum_splits<THREADS>(sum, parts, arrivals)) return;
    const Epilogue finish{bias, saved, preactivation, c, m, n, parameter};
#pragma unroll
    for (int p = 0; p < TM; ++p)
#pragma unroll
        for (int q = 0; q < TN; q += WIDTH_C) {
            Neighbours<WIDTH_C> values;
#pragma unroll
            for (int j = 0; j < WIDTH_C; ++j) values.v[j] = sum.tile[p][q + j];
            finish(row + warp_m + fragment_place<WIDTH_M, LANES_M>(p, lane_m),
                   column + warp_n + fragment_place<WIDTH_N, LANES_N>(q, lane_n), values);
        }
    if (sums_columns) sum.columns.write(column_sums, column, n);
}

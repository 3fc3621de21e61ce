// matmul_mma.cu: the matrix product on tensor cores (see matmul.cuh), only on request: float data, TF32 arithmetic.
//
// A tensor core multiplies tiles of 16 x 8 and 8 x 8 in one instruction of a warp, with many times the FLOP/s of the
// FMA units. It rounds the operands to 10 bits of mantissa (TF32), an error of up to 5e-4 per factor, and accumulates
// in float. Since that is not float arithmetic, this kernel is never chosen by default.
//
// Tiles in shared memory have the layout of global memory; none is transposed. The rest is as in matmul_tiled.cu:
// stages, split-K and column sums (of the float values, not of the rounded ones). Rows in shared memory are padded so
// that the 32 words of a fragment are in 32 banks: by 8 words if a row is a step along k, by 4 if it holds the steps.
//
// Options: TILE=BM,BN,BK,WM,WN,0,0,STAGES,1: block tile, depth of a step along k, warp tile (a multiple of 16 x 8), and
// number of stages; VECTOR_A, VECTOR_B (for any layout), COLUMN_SUMS as in matmul_tiled.cu; REAL must be float. sm_80
// and later; on earlier architectures it traps.
//
// Block (32 * BM / WM * BN / WN,). About STAGES * BK * (BM + BN) words of shared memory, at most 48 KiB.

#include "matmul.cuh"
#include "mma.cuh"
#include "split_k.cuh"
#include "tile_loader.cuh"

#ifndef TILE
#define TILE 64, 64, 16, 32, 32, 0, 0, 3, 1
#endif
#ifndef VECTOR_A
#define VECTOR_A 0
#endif
#ifndef VECTOR_B
#define VECTOR_B 0
#endif
#ifndef COLUMN_SUMS
#define COLUMN_SUMS 0
#endif

constexpr int SIZES[] = {TILE};
constexpr int BM = SIZES[0], BN = SIZES[1], BK = SIZES[2], WM = SIZES[3], WN = SIZES[4], STAGES = SIZES[7];
constexpr int THREADS = WARP * (BM / WM) * (BN / WN);
constexpr int COLUMNS = (BN + THREADS - 1) / THREADS;  // per thread, for COLUMN_SUMS
static_assert(sizeof(T) == sizeof(float), "tensor cores multiply float data as TF32");
static_assert(BM % WM == 0 && BN % WN == 0 && WM % 16 == 0 && WN % 8 == 0 && BK % 8 == 0, "tile sizes");

using TileA = Tile<BM, BK, THREADS, !TRANSPOSE_A, VECTOR_A ? VECTOR : 1, TRANSPOSE_A ? 8 : 4>;
using TileB = Tile<BN, BK, THREADS, TRANSPOSE_B, VECTOR_B ? VECTOR : 1, TRANSPOSE_B ? 4 : 8>;
using Steps = Stages<TileA, TileB, BK, STAGES>;

// The sums of a thread; part_size of the launch is the size over all threads of a block.
struct Sums {
    float tile[WM / 16][WN / 8][4];
#if COLUMN_SUMS
    float columns[COLUMNS];
#endif
};

// FLOPs: 2 * m * n * k * grid_z
extern "C" __global__ void __launch_bounds__(THREADS) matmul_mma(
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
    alignas(16) __shared__ T shared[Steps::WORDS];

    a += blockIdx.z * stride_a;
    b += blockIdx.z * stride_b;
    const int across = ceil_div(n, BN);  // tiles
    const int row = blockIdx.x / across * BM, column = blockIdx.x % across * BN;
    const int length = ceil_div(ceil_div(k, BK), gridDim.y) * BK;  // of each split
    const int first = min(blockIdx.y * length, k), last = min(first + length, k);
    const int lane = threadIdx.x % WARP, warp = threadIdx.x / WARP;
    const int group = lane / 4, member = lane % 4;
    const int warp_m = warp / (BN / WN) * WM, warp_n = warp % (BN / WN) * WN;

    Steps steps{{shared, a, row, m, first, last, TRANSPOSE_A ? m : k},
                {shared + TileA::WORDS, b, column, n, first, last, TRANSPOSE_B ? k : n},
                last - first};
    const int own_a = TileA::at(warp_m + group, member);  // offset of the lane's first element in a stage
    const int own_b = TileA::WORDS + TileB::at(warp_n + group, member);
    Sums sum = {};
    steps.begin();
    for (int i = first, now = 0; i < last; i += BK, now = now + 1 < STAGES ? now + 1 : 0) {
        steps.next(now, steps.left > 0);
        const T* stage = shared + now * Steps::STAGE;
        const T *lane_a = stage + own_a, *lane_b = stage + own_b;
#pragma unroll
        for (int j = 0; j < BK; j += 8) {
            unsigned fragment_a[WM / 16][4], fragment_b[WN / 8][2];
#pragma unroll
            for (int p = 0; p < WM / 16; ++p)
#pragma unroll
                for (int r = 0; r < 4; ++r)
                    fragment_a[p][r] = float_to_tf32(lane_a[TileA::at(p * 16 + r % 2 * 8, j + r / 2 * 4)]);
#pragma unroll
            for (int q = 0; q < WN / 8; ++q)
#pragma unroll
                for (int r = 0; r < 2; ++r) fragment_b[q][r] = float_to_tf32(lane_b[TileB::at(q * 8, j + r * 4)]);
#pragma unroll
            for (int p = 0; p < WM / 16; ++p)
#pragma unroll
                for (int q = 0; q < WN / 8; ++q) mma_m16n8k8_tf32(sum.tile[p][q], fragment_a[p], fragment_b[q]);
        }
#if COLUMN_SUMS
        if (row == 0 && blockIdx.z == 0)
#pragma unroll
            for (int s = 0; s < COLUMNS; ++s) {
                const int x = threadIdx.x + s * THREADS;
                for (int j = 0; x < BN && j < BK; ++j) sum.columns[s] += stage[TileA::WORDS + TileB::at(x, j)];
            }
#endif
    }

    if (!sum_splits<THREADS>(sum, parts, arrivals, threadIdx.x, true)) return;
    const Epilogue finish{bias, saved, preactivation, c, m, n, parameter};
#pragma unroll
    for (int p = 0; p < WM / 16; ++p)
#pragma unroll
        for (int q = 0; q < WN / 8; ++q)
#pragma unroll
            for (int r = 0; r < 4; ++r)
                finish(row + warp_m + p * 16 + group + r / 2 * 8, column + warp_n + q * 8 + 2 * member + r % 2,
                       sum.tile[p][q][r]);
#if COLUMN_SUMS
    if (row == 0 && blockIdx.z == 0)
#pragma unroll
        for (int s = 0; s < COLUMNS; ++s) {
            const int x = threadIdx.x + s * THREADS;
            if (x < BN && column + x < n) column_sums[column + x] = sum.columns[s];
        }
#endif
}

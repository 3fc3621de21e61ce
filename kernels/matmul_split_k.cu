// matmul_split_k.cu: the matrix product with split-K (see matmul.cuh): several blocks share a tile of c.
//
// Compared with matmul_warp_tiled.cu, grid.y blocks share each tile: each multiplies its part of k and stores its sums.
// The last block to arrive adds up the parts in the order of k and runs the epilogue (split_k.cuh). Without float
// atomics, the result is bit-identical on every run.
//
// Removes idle SMs: a c of 128 x 128 has only four tiles, for 132 SMs (H100). Expected at 128 x 128 x 4096 in 32 splits:
// 5 to 10 times as fast as matmul_warp_tiled; at 4096 x 4096, with 4,096 tiles, there is one split and no gain. Each
// split of a tile writes and reads BM BN words of partial sums. The header of matmul_tiled.cu lists the stalls that
// remain. Not run on a GPU yet.
//
// Options, block and FLOPs: as for matmul_warp_tiled. Grid (tiles, splits, batch). 2 BK (BM + BN + 8) words of shared
// memory.

#include "split_k.cuh"
#include "vector_tiles.cuh"

#ifndef BM
#define BM 64
#define BN 64
#define BK 16
#define WM 16
#define WN 32
#define TM 4
#define TN 4
#endif

constexpr int THREADS = BM / TM * (BN / TN);
static_assert(BM % WM == 0 && BN % WN == 0, "the warp tile divides the block tile");
static_assert(WM / TM == 4 && WN / TN == 8, "a warp has 4 x 8 lanes");

// FLOPs: 2 * m * n * k * grid_z
extern "C" __global__ void __launch_bounds__(THREADS, 1) matmul_split_k(
    const T* __restrict__ a,        // [(grid_z - 1) * stride_a + m * k]
    const T* __restrict__ b,        // [(grid_z - 1) * stride_b + k * n]
    const T* __restrict__ bias,     // [n] or null
    const T* __restrict__ saved,    // [grid_z * m * n] or null
    T* __restrict__ preactivation,  // [grid_z * m * n] or null
    T* __restrict__ c,              // [grid_z * m * n]
    T* parts,                       // [grid_x * grid_y * grid_z * part_size] or null: with splits, for split_k.cuh
    unsigned* arrivals,             // [grid_x * grid_z] or null: with splits, zeros
    int m, int n, int k, long long stride_a, long long stride_b, int part_size, T parameter) {
    a += blockIdx.z * stride_a;
    b += blockIdx.z * stride_b;
    alignas(32) __shared__ VectorTile<BM, BK> tile_a[2];
    alignas(32) __shared__ VectorTile<BN, BK> tile_b[2];
    const int tiles = ceil_div(n, BN);
    const int row = blockIdx.x / tiles * BM, column = blockIdx.x % tiles * BN;
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const int y = warp / (BN / WN) * WM + (lane / 2 % 2 + lane / 16 * 2) * TM;
    const int x = warp % (BN / WN) * WN + (lane % 2 + lane / 4 % 4 * 2) * TN;
    const int length = ceil_div(ceil_div(k, BK), gridDim.y) * BK;  // of each split
    const int begin = min(blockIdx.y * length, k), end = min(begin + length, k);
    const auto copy = [&](int stage, int first) {
        copy_tile_async<!TRANSPOSE_A, THREADS, BM>(tile_a[stage], a, row, first, m, k);
        copy_tile_async<TRANSPOSE_B, THREADS, BN>(tile_b[stage], b, column, first, n, k);
        commit_copies();
    };
    T sum[TM][TN] = {};
    if (begin < end) copy(0, begin);
    for (int first = begin, stage = 0; first < end; first += BK, stage ^= 1) {
        wait_copies<0>();
        __syncthreads();  // this stage is complete, and no thread still reads the other one
        if (first + BK < end) copy(stage ^ 1, first + BK);
#pragma unroll
        for (int i = 0; i < BK; ++i) multiply_step(sum, &tile_a[stage][i][y], &tile_b[stage][i][x]);
    }
    if (!sum_splits<THREADS>(sum, parts, arrivals, threadIdx.x, true)) return;
    store_sums(Epilogue{bias, saved, preactivation, c, m, n, parameter}, sum, row + y, column + x);
}

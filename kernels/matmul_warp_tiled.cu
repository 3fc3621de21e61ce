// matmul_warp_tiled.cu: the matrix product with warp tiles (see matmul.cuh): a warp computes a compact part of c.
//
// Compared with matmul_double_buffered.cu, only the places of the threads differ. There, a warp computes two rows of
// thread tiles, 8 x 64 elements, and reads 8 + 64 words of shared memory per step; here it computes WM x WN = 16 x 32,
// and reads 16 + 32. Each word is broadcast to the lanes that need it. In float, the words of a load are adjacent, so
// there are no bank conflicts. Lanes two apart load from the same address, so the hardware merges the loads of the two
// halves of the warp.
//
// Removes cycles of shared memory, which delivers 32 words per cycle: a warp's loads of a step take 2 cycles of an SM
// instead of 3, its FFMA take 4. Expected: up to 1.1 times as fast as matmul_double_buffered. What remains: a small c
// has too few blocks for the GPU. Not run on a GPU yet.
//
// Options: as of matmul_vectorized, and WM, WN (16, 32), the warp tile: 4 x 8 thread tiles. Block (BM / TM * BN / TN,).
// Bytes and FLOPs: as of matmul_vectorized. 2 BK (BM + BN + 8) words of shared memory.

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
extern "C" __global__ void __launch_bounds__(THREADS, 1) matmul_warp_tiled(
    const T* __restrict__ a,        // [(grid_z - 1) * stride_a + m * k]
    const T* __restrict__ b,        // [(grid_z - 1) * stride_b + k * n]
    const T* __restrict__ bias,     // [n] or null
    const T* __restrict__ saved,    // [grid_z * m * n] or null
    T* __restrict__ preactivation,  // [grid_z * m * n] or null
    T* __restrict__ c,              // [grid_z * m * n]
    int m, int n, int k, long long stride_a, long long stride_b, T parameter) {
    a += blockIdx.z * stride_a;
    b += blockIdx.z * stride_b;
    alignas(32) __shared__ VectorTile<BM, BK> tile_a[2];
    alignas(32) __shared__ VectorTile<BN, BK> tile_b[2];
    const int tiles = ceil_div(n, BN);
    const int row = blockIdx.x / tiles * BM, column = blockIdx.x % tiles * BN;
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    const int y = warp / (BN / WN) * WM + (lane / 2 % 2 + lane / 16 * 2) * TM;
    const int x = warp % (BN / WN) * WN + (lane % 2 + lane / 4 % 4 * 2) * TN;
    const auto copy = [&](int stage, int first) {
        copy_tile_async<!TRANSPOSE_A, THREADS, BM>(tile_a[stage], a, row, first, m, k);
        copy_tile_async<TRANSPOSE_B, THREADS, BN>(tile_b[stage], b, column, first, n, k);
        commit_copies();
    };
    T sum[TM][TN] = {};
    if (k > 0) copy(0, 0);
    for (int first = 0, stage = 0; first < k; first += BK, stage ^= 1) {
        wait_copies<0>();
        __syncthreads();  // this stage is complete, and no thread reads the other one any more
        if (first + BK < k) copy(stage ^ 1, first + BK);
#pragma unroll
        for (int i = 0; i < BK; ++i) multiply_step(sum, &tile_a[stage][i][y], &tile_b[stage][i][x]);
    }
    store_sums(Epilogue{bias, saved, preactivation, c, m, n, parameter}, sum, row + y, column + x);
}

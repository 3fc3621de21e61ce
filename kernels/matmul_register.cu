// matmul_register.cu: the matrix product with register tiles (see matmul.cuh): one thread per small tile of c.
//
// Each thread keeps TM x TN sums in registers. For a step along k it loads TM + TN words from shared memory for TM * TN
// multiply-adds: at 8 x 8, four multiply-adds per word, where matmul_shared has a half. Now the FMA units are busy.
// What remains are the loads: their width, their latency, their bank conflicts. Measured on an H100 at 4096 x 4096 x
// 4096: 3.3 times as fast as matmul_shared.
//
// Options: BM, BN (64, 64), the block tile of c; BK (16), the depth of its step along k; TM, TN (4, 4), the thread
// tile. Block (BM / TM * BN / TN,). BK (BM + BN + 2) words of shared memory.

#include "matmul.cuh"

#ifndef BM
#define BM 64
#define BN 64
#define BK 16
#define TM 4
#define TN 4
#endif

constexpr int THREADS = BM / TM * (BN / TN);
static_assert(BM % TM == 0 && BN % TN == 0, "the thread tile divides the block tile");

// FLOPs: 2 * m * n * k * grid_z
extern "C" __global__ void __launch_bounds__(THREADS, 1) matmul_register(
    const T* __restrict__ a,        // [(grid_z - 1) * stride_a + m * k]
    const T* __restrict__ b,        // [(grid_z - 1) * stride_b + k * n]
    const T* __restrict__ bias,     // [n] or null
    const T* __restrict__ saved,    // [grid_z * m * n] or null
    T* __restrict__ preactivation,  // [grid_z * m * n] or null
    T* __restrict__ c,              // [grid_z * m * n]
    int m, int n, int k, long long stride_a, long long stride_b, T parameter) {
    a += blockIdx.z * stride_a;
    b += blockIdx.z * stride_b;
    __shared__ T tile_a[BK][BM + 1], tile_b[BK][BN + 1];
    const int tiles = ceil_div(n, BN);
    const int row = blockIdx.x / tiles * BM, column = blockIdx.x % tiles * BN;
    const int y = threadIdx.x / (BN / TN), x = threadIdx.x % (BN / TN);
    T sum[TM][TN] = {};
    for (int first = 0; first < k; first += BK) {
        copy_tiles<BM, BN, BK, THREADS>(tile_a, tile_b, a, b, row, column, first, m, n, k);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < BK; ++i) {
            T column_a[TM], row_b[TN];
#pragma unroll
            for (int p = 0; p < TM; ++p) column_a[p] = tile_a[i][y * TM + p];
#pragma unroll
            for (int q = 0; q < TN; ++q) row_b[q] = tile_b[i][x + q * (BN / TN)];
#pragma unroll
            for (int p = 0; p < TM; ++p)
#pragma unroll
                for (int q = 0; q < TN; ++q) sum[p][q] += column_a[p] * row_b[q];
        }
        __syncthreads();
    }
    const Epilogue finish{bias, saved, preactivation, c, m, n, parameter};
#pragma unroll
    for (int p = 0; p < TM; ++p)
#pragma unroll
        for (int q = 0; q < TN; ++q) finish(row + y * TM + p, column + x + q * (BN / TN), sum[p][q]);
}

// matmul_naive.cu: the simplest matrix product (see matmul.cuh): one thread per element of c.
//
// Each thread reads a row of op(a) and a column of op(b) from global memory: 2 k loads for 2 k FLOPs, so the loads are
// the bottleneck. A warp computes adjacent elements of a row of c: its loads of b (NN) are coalesced, its loads of a
// are broadcasts. Expected: a tenth of the speed of cuBLAS, most of it from the caches. Measured on an H100 at 4096 x
// 4096 x 4096: 6 %.
//
// Tile: 8 x 32 of c, block (256,).

#include "matmul.cuh"

constexpr int BM = 8;
constexpr int BN = 32;

// FLOPs: 2 * m * n * k * grid_z
extern "C" __global__ void __launch_bounds__(BM * BN) matmul_naive(
    const T* __restrict__ a,        // [(grid_z - 1) * stride_a + m * k]
    const T* __restrict__ b,        // [(grid_z - 1) * stride_b + k * n]
    const T* __restrict__ bias,     // [n] or null
    const T* __restrict__ saved,    // [grid_z * m * n] or null
    T* __restrict__ preactivation,  // [grid_z * m * n] or null
    T* __restrict__ c,              // [grid_z * m * n]
    int m, int n, int k, long long stride_a, long long stride_b, T parameter) {
    a += blockIdx.z * stride_a;
    b += blockIdx.z * stride_b;
    const int tiles = ceil_div(n, BN);
    const int row = blockIdx.x / tiles * BM + threadIdx.x / BN;
    const int column = blockIdx.x % tiles * BN + threadIdx.x % BN;
    T sum = 0;
    for (int i = 0; i < k; ++i) sum += element_a(a, row, i, m, k) * element_b(b, i, column, n, k);
    Epilogue{bias, saved, preactivation, c, m, n, parameter}(row, column, sum);
}

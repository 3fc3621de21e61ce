// matmul_double_buffered.cu: the matrix product with asynchronous copies in two stages (see matmul.cuh).
//
// Compared with matmul_vectorized.cu, shared memory has two stages. While the tiles in one are multiplied, cp.async
// copies those of the next step into the other, without registers (vector_tiles.cuh). One barrier per step instead of
// two: after it a stage is complete, and no thread reads the other one any more. cp.async cannot transpose a vector, so
// an operand contiguous along k is copied element by element.
//
// Removes the wait for global memory, about 500 cycles per step, which only other blocks on the SM have hidden so far.
// The FFMA of a step take 512 cycles of an SM. Expected: 1.1 to 1.4 times as fast as matmul_vectorized. What remains
// are loads from shared memory: a warp computes 8 x 64 elements, and reads 72 words per step. Not run on a GPU yet.
//
// Options, block, bytes and FLOPs: as of matmul_vectorized. 2 BK (BM + BN + 8) words of shared memory.

#include "vector_tiles.cuh"

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
extern "C" __global__ void __launch_bounds__(THREADS, 1) matmul_double_buffered(
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
    const int y = threadIdx.x / (BN / TN) * TM, x = threadIdx.x % (BN / TN) * TN;
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

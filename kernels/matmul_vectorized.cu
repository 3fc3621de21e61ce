// matmul_vectorized.cu: the matrix product with vectorized loads (see matmul.cuh): 16 bytes per instruction.
//
// Compared with matmul_register.cu, a thread loads its part of a tile from global memory in one instruction instead of
// four, and its TM + TN words of a step from shared memory in two instead of eight. To read a column of op(a) by
// vectors, the tile is stored transposed, a row per step along k: an operand contiguous along k is loaded by vectors
// along k, whose elements are stored one by one. Rows that are not aligned vectors are loaded element by element.
//
// Removes issue slots: an instruction that is not FFMA takes the slot of one. Next to 256 FFMA, the main loop has 32
// loads from shared memory instead of 92 (sm_90; the compiler joins a few of the 128). Expected: 1.2 to 1.5 times as
// fast as matmul_register. What remains: all threads wait for each tile, as no copy is in flight while one is
// multiplied. Not run on a GPU yet.
//
// Options: BM, BN (64, 64), BK (16), TM, TN (4, 4), as of matmul_register. Block (BM / TM * BN / TN,). A step loads BK
// (BM + BN) words for 2 BK BM BN FLOPs: in float, 16 FLOPs per byte. BK (BM + BN + 8) words of shared memory.

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

// A vector of a row of a matrix; zeros past its edges. `whole`: its rows are aligned vectors.
DEVICE Vector load_row(const T* matrix, int row, int place, int rows, int length, bool whole) {
    const T* from = matrix + static_cast<size_t>(row) * length + place;
    if (whole && row < rows && place < length) return load(from);
    Vector values;
#pragma unroll
    for (int w = 0; w < VECTOR; ++w) values.v[w] = row < rows && place + w < length ? from[w] : 0;
    return values;
}

// Copy a tile of op(a) or op(b), from `x` on along m or n and from `i` on along k, into shared memory.
template <bool ALONG_K, int SIZE>
DEVICE void copy_tile(T (&tile)[BK][SIZE + PADDING], const T* operand, int x, int i, int size, int k) {
    constexpr int ACROSS = (ALONG_K ? BK : SIZE) / VECTOR;  // vectors of a row in global memory
    const int rows = ALONG_K ? size : k, length = ALONG_K ? k : size;
    const bool whole = length % VECTOR == 0 && aligned(operand);
#pragma unroll
    for (int index = threadIdx.x; index < SIZE * BK / VECTOR; index += THREADS) {
        const int down = index / ACROSS, right = index % ACROSS * VECTOR;
        const int row = (ALONG_K ? x : i) + down, place = (ALONG_K ? i : x) + right;
        const Vector values = load_row(operand, row, place, rows, length, whole);
        if (!ALONG_K) store(&tile[down][right], values);
#pragma unroll
        for (int w = 0; ALONG_K && w < VECTOR; ++w) tile[right + w][down] = values.v[w];
    }
}

// FLOPs: 2 * m * n * k * grid_z
extern "C" __global__ void __launch_bounds__(THREADS, 1) matmul_vectorized(
    const T* __restrict__ a,        // [(grid_z - 1) * stride_a + m * k]
    const T* __restrict__ b,        // [(grid_z - 1) * stride_b + k * n]
    const T* __restrict__ bias,     // [n] or null
    const T* __restrict__ saved,    // [grid_z * m * n] or null
    T* __restrict__ preactivation,  // [grid_z * m * n] or null
    T* __restrict__ c,              // [grid_z * m * n]
    int m, int n, int k, long long stride_a, long long stride_b, T parameter) {
    a += blockIdx.z * stride_a;
    b += blockIdx.z * stride_b;
    alignas(32) __shared__ VectorTile<BM, BK> tile_a;
    alignas(32) __shared__ VectorTile<BN, BK> tile_b;
    const int tiles = ceil_div(n, BN);
    const int row = blockIdx.x / tiles * BM, column = blockIdx.x % tiles * BN;
    const int y = threadIdx.x / (BN / TN) * TM, x = threadIdx.x % (BN / TN) * TN;
    T sum[TM][TN] = {};
    for (int first = 0; first < k; first += BK) {
        copy_tile<!TRANSPOSE_A, BM>(tile_a, a, row, first, m, k);
        copy_tile<TRANSPOSE_B, BN>(tile_b, b, column, first, n, k);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < BK; ++i) multiply_step(sum, &tile_a[i][y], &tile_b[i][x]);
        __syncthreads();  // other threads may still read the tiles, which are overwritten next
    }
    store_sums(Epilogue{bias, saved, preactivation, c, m, n, parameter}, sum, row + y, column + x);
}

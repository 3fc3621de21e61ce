// matmul_tiled.cu: the matrix product that training uses (see matmul.cuh).
//
// It has the vectorized loads, asynchronous copies, warp tiles and split-K of the kernels before it. Compared with
// matmul_split_k.cu it adds the following; each removes a stall:
// - tile sizes for each product: thread tiles up to 8 x 8 read a quarter of a word per multiply-add from shared memory,
//   instead of a half; small tiles give a small c more blocks;
// - STAGES: the copies of several next steps are in flight;
// - operands along k: if an operand is contiguous along k, a thread loads four steps of an element together, so vectors
//   are copied as they are (tile_loader.cuh). To transpose them would take four times as many copies, of an element
//   each;
// - double-buffered fragments: while the warp multiplies one step along k, it loads the fragments of the next step from
//   shared memory into registers, even if a barrier lies between them;
// - a main loop that is mostly FFMA: addresses in shared memory are immediates, and copies are interleaved with
//   multiply-adds (`python -m benchmarks.instruction_mix` prints the mix);
// - k-slices: if c has few tiles, each tile gets SLICES times as many warps. They share its steps along k, and add up
//   their sums through shared memory at the end. Without them a block of two warps leaves most of an SM idle;
// - the bias gradient: in dW = x^T dz the tiles of dz are in shared memory anyway, and the blocks of the first row of
//   tiles sum their columns.
//
// Options: TILE, the arguments of TileShape (tiled_product.cuh, which has the main loop), such as 64,64,8,32,32,8,4;
// MIN_BLOCKS (1), the minimum resident blocks per SM of the launch bounds; VECTOR_A=1 (VECTOR_B=1) copies the operand
// by vectors: its rows in memory must be aligned multiples of 16 bytes, also in each matrix of a batch. VECTOR_C=1: the same for c, bias, saved and preactivation. COLUMN_SUMS=1 sums the columns of
// op(b).

#include "split_k.cuh"
#include "tiled_product.cuh"

#ifndef TILE
#define TILE 64, 64, 8, 32, 32, 8, 4
#endif

using Shape = TileShape<TILE>;
using Product = TiledProduct<Shape, TRANSPOSE_A, TRANSPOSE_B, VECTOR_A, VECTOR_B, VECTOR_C, COLUMN_SUMS>;

// With synchronous copies and both operands contiguous along k, three blocks would spill registers.
constexpr int BLOCKS = !ASYNCHRONOUS && !TRANSPOSE_A && TRANSPOSE_B && MIN_BLOCKS > 2 ? 2 : MIN_BLOCKS;

// FLOPs: 2 * m * n * k * grid_z
extern "C" __global__ void __launch_bounds__(Shape::THREADS, BLOCKS) matmul_tiled(
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
    alignas(16) __shared__ T shared[Product::WORDS];

    a += blockIdx.z * stride_a;
    b += blockIdx.z * stride_b;
    const int across = ceil_div(n, Shape::BN);  // tiles
    const int row = blockIdx.x / across * Shape::BM, column = blockIdx.x % across * Shape::BN;
    const int length = ceil_div(ceil_div(k, Shape::BK), gridDim.y) * Shape::BK;  // of each split
    const int first = min(blockIdx.y * length, k), last = min(first + length, k);
    auto sum = Product::accumulate(shared, a, b, row, column, m, n, k, first, last);
    const auto place = Product::Place::of_thread();
    if (!sum_splits<Shape::SLICE>(sum, parts, arrivals, place.thread, place.slice == 0)) return;
    Product::store_tile(sum, Epilogue{bias, saved, preactivation, c, m, n, parameter}, row, column);
#if COLUMN_SUMS
    Product::store_column_sums(sum, column_sums, row, column, n);
#endif
}

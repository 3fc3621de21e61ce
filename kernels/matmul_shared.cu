// matmul_shared.cu: the second rung of the matrix product (see matmul.cuh): a block shares what its threads read.
//
// A block computes TILE x TILE elements of c and walks along k in steps of TILE: it copies a tile of each operand into
// shared memory, waits, and every thread multiplies a row of one by a column of the other. Each word comes from memory
// once for each block instead of once for each thread: TILE times less traffic. What is left is two loads from shared
// memory for each multiply-add, and shared memory gives a quarter of the words that the arithmetic units could eat.
//
// The tiles' rows are one word longer than TILE, so that a column of them lies in different banks.
//
// Options: TILE (16). Tile: TILE x TILE of c, block (TILE * TILE,). 2 TILE (TILE + 1) words of shared memory.

#include "matmul.cuh"

#ifndef TILE
#define TILE 16
#endif

// FLOPs: 2 * m * n * k * grid_z
extern "C" __global__ void __launch_bounds__(TILE * TILE) matmul_shared(
    const T* __restrict__ a,        // [(grid_z - 1) * stride_a + m * k]
    const T* __restrict__ b,        // [(grid_z - 1) * stride_b + k * n]
    const T* __restrict__ bias,     // [n] or null
    const T* __restrict__ saved,    // [grid_z * m * n] or null
    T* __restrict__ preactivation,  // [grid_z * m * n] or null
    T* __restrict__ c,              // [grid_z * m * n]
    int m, int n, int k, long long stride_a, long long stride_b, T parameter) {
    a += blockIdx.z * stride_a;
    b += blockIdx.z * stride_b;
    __shared__ T tile_a[TILE][TILE + 1], tile_b[TILE][TILE + 1];
    const int tiles = ceil_div(n, TILE);
    const int row = blockIdx.x / tiles * TILE, column = blockIdx.x % tiles * TILE;
    const int x = threadIdx.x % TILE, y = threadIdx.x / TILE;
    T sum = 0;
    for (int first = 0; first < k; first += TILE) {
        copy_tiles<TILE, TILE, TILE, TILE * TILE>(tile_a, tile_b, a, b, row, column, first, m, n, k);
        __syncthreads();
#pragma unroll
        for (int i = 0; i < TILE; ++i) sum += tile_a[i][y] * tile_b[i][x];
        __syncthreads();  // nobody may overwrite a tile that another still reads
    }
    Epilogue{bias, saved, preactivation, c, m, n, parameter}(row + y, column + x, sum);
}

// latency.cu: what it costs to start a kernel, and to wait for the other threads of a block or of the grid.

#ifdef GRID
#include <cooperative_groups.h>

// `count` barriers of all blocks, by cooperative groups. Launch: cooperative.
extern "C" __global__ void grid_barriers(
    int* x,  // [1]
    int count) {
    for (int i = 0; i < count; ++i) cooperative_groups::this_grid().sync();
    if (blockIdx.x == 0 && threadIdx.x == 0) x[0] = count;
}
#else
#include "grid_barrier.cuh"

extern "C" __global__ void nothing(
    int* x,  // [1]
    int count) {}

// `count` barriers of a block.
extern "C" __global__ void block_barriers(
    int* x,  // [1]
    int count) {
    for (int i = 0; i < count; ++i) __syncthreads();
    if (blockIdx.x == 0 && threadIdx.x == 0) x[0] = count;
}

// `count` barriers of all blocks, by grid_barrier.cuh. Launch: cooperative.
extern "C" __global__ void own_grid_barriers(
    unsigned long long* words,  // [2]
    int count) {
    GridBarrier barrier(words);
    for (int i = 0; i < count; ++i) barrier.wait();
    barrier.finish();
}
#endif

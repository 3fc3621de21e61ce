// latency.cu: empty kernels and barriers, to measure the latency of a launch, a block barrier and a grid barrier.

#ifdef GRID
#include <cooperative_groups.h>

// Runs `count` grid barriers of cooperative groups. Cooperative launch.
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

// Runs `count` block barriers.
extern "C" __global__ void block_barriers(
    int* x,  // [1]
    int count) {
    for (int i = 0; i < count; ++i) __syncthreads();
    if (blockIdx.x == 0 && threadIdx.x == 0) x[0] = count;
}

// Runs `count` grid barriers of grid_barrier.cuh. Cooperative launch.
extern "C" __global__ void own_grid_barriers(
    unsigned long long* words,  // [2]
    int count) {
    GridBarrier barrier(words);
    for (int i = 0; i < count; ++i) barrier.wait();
    barrier.finish();
}
#endif

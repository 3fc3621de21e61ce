// split_k.cuh: a tile of a matrix product that several blocks share, each with its part of k, added up in one launch.
//
// Where c has too few tiles to fill the GPU, grid.y blocks share each of them. A block leaves what its threads hold in
// memory, in the order of the threads: whole lines, whatever the layout of the tile. The last to arrive adds the parts
// up in the order of k and finishes the tile. So the sum is the same every time, unlike one by atomics, and there is no
// second launch, which in a small net costs more than the product.

#pragma once
#include "common.cuh"

// Add up what the threads of the blocks of a tile hold, `sums`, a struct of T alone; return whether this block is the
// one that has the total. `parts` has room for all threads of the grid, `arrivals` a zero for each tile of the batch.
template <int THREADS, typename Sums>
DEVICE bool sum_splits(Sums& sums, T* parts, unsigned* arrivals) {
    constexpr int COUNT = sizeof(Sums) / sizeof(T);
    if (gridDim.y == 1) return true;
    const size_t tile = blockIdx.z * gridDim.x + blockIdx.x;
    T* values = reinterpret_cast<T*>(&sums);
    T* part = parts + tile * gridDim.y * COUNT * THREADS + threadIdx.x;
    T* mine = part + blockIdx.y * COUNT * THREADS;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) mine[i * THREADS] = values[i];
    if (!last_to_arrive(arrivals + tile, gridDim.y)) return false;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) values[i] = 0;
#pragma unroll 1  // the registers are full
    for (unsigned split = 0; split < gridDim.y; ++split, part += COUNT * THREADS)
#pragma unroll
        for (int i = 0; i < COUNT; ++i) values[i] += __ldcg(part + i * THREADS);  // from L2, where other blocks wrote
    return true;
}

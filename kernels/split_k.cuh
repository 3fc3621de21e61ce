// split_k.cuh: a tile of a matrix product that several blocks share, each with its part of k, added up in one launch.
//
// Where c has too few tiles to fill the GPU, grid.y blocks share each of them. A block leaves what its threads hold in
// memory, in the order of the threads: whole lines, whatever the layout of the tile. The last to arrive adds the parts
// up in the order of k and finishes the tile. So the sum is the same every time, unlike one by atomics, and there is no
// second launch, which in a small net costs more than the product.

#pragma once
#include "common.cuh"

// Add up what the threads of the blocks of a tile hold, `sums`, a struct of T alone; return whether this thread is one
// of those that have the total. All threads of the block call it; `thread` counts those that hold something, THREADS of
// them, all others have `holds` false. `parts` has room for all of the grid that do, `arrivals` a zero for each tile of
// the batch.
template <int THREADS, typename Sums>
DEVICE bool sum_splits(Sums& sums, T* parts, unsigned* arrivals, int thread, bool holds) {
    constexpr int COUNT = sizeof(Sums) / sizeof(T);
    constexpr int AT_ONCE = COUNT <= 32 ? 64 / COUNT : 1;  // parts on their way together, as the registers allow
    if (gridDim.y == 1) return holds;
    const size_t tile = blockIdx.z * gridDim.x + blockIdx.x;
    T* values = reinterpret_cast<T*>(&sums);
    T* part = parts + tile * gridDim.y * COUNT * THREADS + thread;
    T* mine = part + blockIdx.y * COUNT * THREADS;
    if (holds)
#pragma unroll
        for (int i = 0; i < COUNT; ++i) mine[i * THREADS] = values[i];
    if (!last_to_arrive(arrivals + tile, gridDim.y) || !holds) return false;
#pragma unroll
    for (int i = 0; i < COUNT; ++i) values[i] = 0;
#pragma unroll 1  // the registers are full
    for (unsigned split = 0; split < gridDim.y; split += AT_ONCE, part += AT_ONCE * COUNT * THREADS) {
        T loaded[AT_ONCE][COUNT];
#pragma unroll
        for (int s = 0; s < AT_ONCE; ++s)
#pragma unroll
            for (int i = 0; i < COUNT; ++i)  // from L2, where other blocks wrote
                loaded[s][i] = split + s < gridDim.y ? __ldcg(part + (s * COUNT + i) * THREADS) : T(0);
#pragma unroll
        for (int s = 0; s < AT_ONCE; ++s)
#pragma unroll
            for (int i = 0; i < COUNT; ++i) values[i] += loaded[s][i];
    }
    return true;
}

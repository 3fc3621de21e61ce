// mma_product.cuh: a thread block's tile of a matrix product on tensor cores. matmul_mma.cu and matmul_mma3.cu add only
// their arithmetic.
//
// - A warp multiplies a tile of WM x WN, such as 64 x 32, by 16 mma instructions for 8 steps along k. A lane loads 24
//   words for them from shared memory.
// - Tiles in shared memory have the layout of global memory; copies are asynchronous and by vectors. If an operand is
//   contiguous along k, ldmatrix loads 4 registers of a lane at once. If not, a lane loads the elements of a step one
//   by one, those of op(a) in pairs: larger vectors would hold elements of several fragments, and the compiler would
//   copy them, because the registers of a fragment must be adjacent. Neither has bank conflicts (tile_loader.cuh;
//   rows along m or n are padded by 8 words).
// - No branch separates the copies from the products in the main loop, as in tiled_product.cuh.
//
// Options: TILE=BM,BN,BK,WM,WN,0,0,STAGES,1: the block tile, its depth along k, the warp tile (multiples of 16), and
// the number of stages; MIN_BLOCKS, VECTOR_A, VECTOR_B (for any layout), VECTOR_C and COLUMN_SUMS as in
// matmul_tiled.cu; REAL must be float. sm_80 and later; on earlier architectures the kernels trap.
//
// Block (32 * BM / WM * BN / WN,). About STAGES * BK * (BM + BN) words of shared memory, at most 48 KiB.

#pragma once
#include "matmul.cuh"
#include "mma.cuh"
#include "split_k.cuh"
#include "tile_loader.cuh"

#ifndef TILE
#define TILE 128, 128, 16, 64, 32, 0, 0, 2, 1
#endif

constexpr int SIZES[] = {TILE};
constexpr int BM = SIZES[0], BN = SIZES[1], BK = SIZES[2], WM = SIZES[3], WN = SIZES[4], STAGES = SIZES[7];
constexpr int THREADS = WARP * (BM / WM) * (BN / WN);
constexpr int COLUMNS = (BN + THREADS - 1) / THREADS;  // per thread, for COLUMN_SUMS
static_assert(sizeof(T) == sizeof(float), "tensor cores multiply float data as TF32");
static_assert(BM % WM == 0 && BN % WN == 0 && WM % 16 == 0 && WN % 16 == 0 && BK % 8 == 0, "tile sizes");
static_assert(!(COLUMN_SUMS && TRANSPOSE_B), "column sums require a row-major op(b)");

using TileA = Tile<BM, BK, THREADS, !TRANSPOSE_A, VECTOR_A ? VECTOR : 1, 8>;
using TileB = Tile<BN, BK, THREADS, TRANSPOSE_B, VECTOR_B ? VECTOR : 1, 8>;
using Steps = Stages<TileA, TileB, BK, STAGES>;

// The elements of a warp tile of op(a) or op(b) that a lane holds for 8 steps along k: FRAGMENTS operands of mma
// instructions, in REGISTERS each (mma.cuh). SIZE is the extent of the warp tile along m or n.
template <typename Tile, int SIZE, int REGISTERS_>
struct Operand {
    static constexpr int REGISTERS = REGISTERS_, EACH = REGISTERS / 2;  // elements of a fragment at one step along k
    static constexpr int FRAGMENTS = SIZE / (8 * EACH);
    static constexpr bool ALONG_K = Tile::STEPS > 1;

    T values[FRAGMENTS][REGISTERS];

    // The position in the warp tile of the i-th element of a fragment at one step along k. If the elements of a step
    // are adjacent in shared memory, so are those of a lane, which it loads together.
    static DEVICE int place(int fragment, int i, int group) {
        return fragment * 8 * EACH + (ALONG_K ? i * 8 + group : group * EACH + i);
    }

    // The position in shared memory of what the lane loads first; the warp tile begins at `first` in the block tile.
    static DEVICE int own(int first, int lane) {
        const int group = lane / 4, member = lane % 4, i = lane / 8;
        if (ALONG_K)  // a row of the i-th matrix for load_matrices, which fills the i-th register
            return Tile::at(first + place(i / REGISTERS, i % EACH, lane % 8), i / EACH % 2 * 4);
        return Tile::at(first + place(0, 0, group), member);
    }

    DEVICE void load(const T* own, int step) {
        if constexpr (ALONG_K) {
#pragma unroll
            for (int p = 0; p < FRAGMENTS; p += 4 / REGISTERS)  // four matrices are one or two fragments
                load_matrices(&values[p][0], own + Tile::at(p * 8 * EACH, step));
        } else {
#pragma unroll
            for (int p = 0; p < FRAGMENTS; ++p)
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    const auto adjacent = ::load<EACH>(own + Tile::at(p * 8 * EACH, step + half * 4));
#pragma unroll
                    for (int i = 0; i < EACH; ++i) values[p][half * EACH + i] = adjacent.v[i];
                }
        }
    }
};

using OperandA = Operand<TileA, WM, 4>;
using OperandB = Operand<TileB, WN, 2>;

// The sums of a thread. part_size of the launch is the size over all threads of a block.
struct Sums {
    T tile[OperandA::FRAGMENTS][OperandB::FRAGMENTS][4];
#if COLUMN_SUMS
    T columns[COLUMNS];
#endif
};

// The position of a thread: its lane, and the block's element of c at which its warp tile begins.
struct Place {
    int lane, warp_m, warp_n;

    static DEVICE Place of_thread() {
        const int warp = threadIdx.x / WARP;
        return {static_cast<int>(threadIdx.x % WARP), warp / (BN / WN) * WM, warp % (BN / WN) * WN};
    }

    // The row and the column in the block tile of the sum tile[p][q][r].
    DEVICE int row(int p, int r) const { return warp_m + OperandA::place(p, r / 2, lane / 4); }
    DEVICE int column(int q, int r) const { return warp_n + OperandB::place(q, 0, lane % 4 * 2 + r % 2); }
};

// The main loop. `Arithmetic::multiply(sum, own_a, own_b)` multiplies a stage; own_a and own_b point to what the lane
// loads first.
template <typename Arithmetic>
struct MainLoop {
    Steps steps;
    const T* shared;
    int own_a, own_b;  // in a stage
    bool sums_columns;
    int now = 0;  // the stage being multiplied
    Sums sum = {};

    template <bool COPIES>
    DEVICE void multiply() {
        steps.next(now, COPIES);
        const T* stage = shared + now * Steps::STAGE;
        Arithmetic::multiply(sum, stage + own_a, stage + own_b);
#if COLUMN_SUMS
        if (sums_columns)
#pragma unroll
            for (int s = 0; s < COLUMNS; ++s) {
                const int x = threadIdx.x + s * THREADS;
                for (int j = 0; x < BN && j < BK; ++j) sum.columns[s] += stage[TileA::WORDS + TileB::at(x, j)];
            }
#endif
        now = now + 1 < STAGES ? now + 1 : 0;
    }
};

// Compute the block's tile of c, by all threads of the block, and pass it to `finish`, the epilogue. After it,
// `Arithmetic::repair` may pass elements to it again.
template <typename Arithmetic>
DEVICE void multiply_tile(T* shared, const T* a, const T* b, const Epilogue& finish, T* column_sums, T* parts,
                          unsigned* arrivals, int k) {
    const int m = finish.m, n = finish.n, across = ceil_div(n, BN);  // tiles
    const int row = blockIdx.x / across * BM, column = blockIdx.x % across * BN;
    const int length = ceil_div(ceil_div(k, BK), gridDim.y) * BK;  // of each split
    const int first = min(blockIdx.y * length, k), last = min(first + length, k);
    const Place place = Place::of_thread();
    MainLoop<Arithmetic> loop{{{shared, a, row, m, first, last, TRANSPOSE_A ? m : k},
                               {shared + TileA::WORDS, b, column, n, first, last, TRANSPOSE_B ? k : n},
                               last - first},
                              shared,
                              OperandA::own(place.warp_m, place.lane),
                              TileA::WORDS + OperandB::own(place.warp_n, place.lane),
                              row == 0 && blockIdx.z == 0};
    loop.steps.begin();
    int i = first;
    for (; loop.steps.left > 0; i += BK) loop.template multiply<true>();
    for (; i < last; i += BK) loop.template multiply<false>();

    Sums& sum = loop.sum;
    if (!sum_splits<THREADS>(sum, parts, arrivals, threadIdx.x, true)) return;
    constexpr int WIDTH = VECTOR_C ? 2 : 1;  // adjacent columns of a lane
#pragma unroll
    for (int p = 0; p < OperandA::FRAGMENTS; ++p)
#pragma unroll
        for (int q = 0; q < OperandB::FRAGMENTS; ++q)
#pragma unroll
            for (int r = 0; r < 4; r += WIDTH) {
                Pack<WIDTH> values;
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) values.v[j] = sum.tile[p][q][r + j];
                finish(row + place.row(p, r), column + place.column(q, r), values);
            }
    Arithmetic::repair(sum, a, b, finish, row, column, k);
#if COLUMN_SUMS
    if (row == 0 && blockIdx.z == 0)
#pragma unroll
        for (int s = 0; s < COLUMNS; ++s) {
            const int x = threadIdx.x + s * THREADS;
            if (x < BN && column + x < n) column_sums[column + x] = sum.columns[s];
        }
#endif
}

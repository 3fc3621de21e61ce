// tile_loader.cuh: bringing tiles of an operand from memory into shared memory, in two halves, so that the next tile
// can be on its way while this one is multiplied: `fetch` loads a thread's pieces into registers, `put` stores them.
// And the sums of the columns that pass through shared memory on that way.

#pragma once
#include "common.cuh"

// Brings the tiles of one operand into shared memory: SIZE along m or n and DEPTH along k, as rows of one step along k
// each. ALONG_K: the operand is contiguous along k, so that a tile is transposed on its way.
template <int SIZE, int DEPTH, int THREADS, bool ALONG_K, int WIDTH, int PADDING>
struct Loader {
    static_assert(SIZE % WIDTH == 0 && DEPTH % WIDTH == 0, "a tile is made of pieces");
    static constexpr int PIECES = SIZE * DEPTH / WIDTH;
    static constexpr int PER_THREAD = (PIECES + THREADS - 1) / THREADS;
    static constexpr int ROW = SIZE + PADDING;

    Neighbours<WIDTH> pieces[PER_THREAD];  // on their way from memory to shared memory

    // Where the thread's piece number p lies in the tile.
    static DEVICE int place_x(int p) {
        const unsigned piece = threadIdx.x + p * THREADS;
        return ALONG_K ? piece / (DEPTH / WIDTH) : piece % (SIZE / WIDTH) * WIDTH;
    }
    static DEVICE int place_i(int p) {
        const unsigned piece = threadIdx.x + p * THREADS;
        return ALONG_K ? piece % (DEPTH / WIDTH) * WIDTH : piece / (SIZE / WIDTH);
    }
    static DEVICE bool in_tile(int p) { return PIECES % THREADS == 0 || threadIdx.x + p * THREADS < PIECES; }

    // Fetch the tile that begins at x and i; beyond x_end and i_end there are zeros.
    DEVICE void fetch(const T* operand, int x, int x_end, int i, int i_end, int length) {
#pragma unroll
        for (int p = 0; p < PER_THREAD; ++p) {
            const int px = x + place_x(p), pi = i + place_i(p);
            pieces[p] = {};
            if (!in_tile(p) || px >= x_end || pi >= i_end) continue;
            const size_t place = static_cast<size_t>(ALONG_K ? px : pi) * length + (ALONG_K ? pi : px);
            pieces[p] = load<WIDTH>(operand + place);
        }
    }

    DEVICE void put(T (*tile)[ROW]) const {
#pragma unroll
        for (int p = 0; p < PER_THREAD; ++p) {
            if (!in_tile(p)) continue;
            const int px = place_x(p), pi = place_i(p);
            if (ALONG_K) {
#pragma unroll
                for (int j = 0; j < WIDTH; ++j) tile[pi + j][px] = pieces[p].v[j];
            } else {
                store(&tile[pi][px], pieces[p]);
            }
        }
    }
};

// The sums over k of the columns of op(b), WIDTH of them from one on: in dW = x^T dz the bias gradient, for which nothing
// has to be read.
template <int WIDTH, int THREADS>
struct ColumnSums {
    static constexpr int PER_THREAD = (WIDTH + THREADS - 1) / THREADS;

    T sums[PER_THREAD];

    template <int DEPTH, int ROW>
    DEVICE void add(const T (&tile)[DEPTH][ROW]) {
#pragma unroll
        for (int s = 0; s < PER_THREAD; ++s) {
            const int x = threadIdx.x + s * THREADS;
            if (x < WIDTH)
                for (int i = 0; i < DEPTH; ++i) sums[s] += tile[i][x];
        }
    }

    DEVICE void write(T* column_sums, int column, int n) const {
#pragma unroll
        for (int s = 0; s < PER_THREAD; ++s) {
            const int x = threadIdx.x + s * THREADS;
            if (x < WIDTH && column + x < n) column_sums[column + x] = sums[s];
        }
    }
};

// tile_loader.cuh: bringing the tiles of an operand of a matrix product from memory into shared memory, by asynchronous
// copies: several tiles are on their way while one is multiplied, and none of them takes a register.

#pragma once
#include "async_copy.cuh"

// A tile in shared memory, SIZE along m or n and DEPTH along k. Where the operand is contiguous along k (ALONG_K), a row
// holds the steps along k of one element, else the elements of one step: as in memory, so that a copy moves WIDTH
// neighbours at once. Rows are padded by PADDING words against bank conflicts.
//
// With SPAN, of an operand along k, the tile is turned on its way: a row holds the elements of one step here, too. Then
// each word is copied for itself, by SPAN neighbouring threads along k: fewer would take more lines of memory at once,
// more would meet in the same banks. So that 16 (half a warp) do not, every other eight steps lie with neighbours exchanged.
template <int SIZE, int DEPTH, int THREADS, bool ALONG_K, int WIDTH, int PADDING, int SPAN = 0>
struct Tile {
    static constexpr bool TURNED = SPAN > 0;
    static constexpr bool STEPS_IN_ROW = ALONG_K && !TURNED;
    static constexpr int ACROSS = TURNED ? SPAN : (ALONG_K ? DEPTH : SIZE) / WIDTH;  // pieces that threads take of a row
    static constexpr int DOWN = ALONG_K ? SIZE : DEPTH;                              // rows in memory
    static constexpr int ROW = (STEPS_IN_ROW ? DEPTH : SIZE) + PADDING;
    static constexpr int WORDS = (STEPS_IN_ROW ? SIZE : DEPTH) * ROW;
    static constexpr int PIECES = SIZE * DEPTH / WIDTH;
    static_assert(ACROSS > 0 && ROW * sizeof(T) % 16 == 0, "rows are made of pieces, and of vectors");
    static_assert((PIECES & (PIECES - 1)) == 0 && (THREADS & (THREADS - 1)) == 0, "places add up");
    static_assert(!TURNED || (ALONG_K && WIDTH == 1 && DEPTH % SPAN == 0 && SPAN <= 16 && THREADS / SPAN % 2 == 0),
                  "a turned tile is copied word by word, and exchanged neighbours stay neighbours");

    // The row of a piece in memory and its place there. All is a power of 2, so that those of a sum are the sums of
    // theirs: what changes from piece to piece of a thread is known when the kernel is compiled.
    static constexpr DEVICE int row_of(int piece) { return piece / ACROSS % DOWN; }
    static constexpr DEVICE int place_of(int piece) {
        return (piece / (ACROSS * DOWN) * ACROSS + piece % ACROSS) * WIDTH;
    }

    // Where element x of step i lies: in the row of i, exchanged with its neighbour or not, or in the row of x.
    static constexpr DEVICE int exchanged(int i) { return TURNED ? i % SPAN / 8 : 0; }
    static constexpr DEVICE int at(int x, int i) {
        return STEPS_IN_ROW ? x * ROW + i : i * ROW + (x ^ exchanged(i));
    }

    // Issue the copies of the tile that begins at x and i, by all threads of the block; beyond x_end and i_end there
    // are zeros. `length` is that of the operand's rows.
    static DEVICE void copy(T* tile, const T* operand, int x, int x_end, int i, int i_end, int length) {
        const int row = row_of(threadIdx.x), place = place_of(threadIdx.x);
        const int top = (ALONG_K ? x : i) + row, rows = (ALONG_K ? x_end : i_end) - top;
        const int left = (ALONG_K ? i : x) + place, columns = (ALONG_K ? i_end : x_end) - left;
        operand += static_cast<size_t>(top) * length + left;
        tile += ALONG_K ? at(row, place) : at(place, row);
#pragma unroll
        for (int p = 0; p < (PIECES + THREADS - 1) / THREADS; ++p) {
            if (PIECES % THREADS != 0 && threadIdx.x >= PIECES) break;
            const int down = row_of(p * THREADS), right = place_of(p * THREADS);
            copy_async<WIDTH * sizeof(T)>(tile + (ALONG_K ? at(down, right) : at(right, down)),
                                          operand + (static_cast<long long>(length) * down + right),
                                          down < rows && right < columns);
        }
    }
};

// The tiles of both operands on their way through shared memory, in COUNT stages: while one step along k is multiplied,
// the next ones are copied.
template <typename TileA, typename TileB, int STEP, int COUNT>
struct Stages {
    static_assert(COUNT >= 2, "a stage is multiplied while another is filled");
    static constexpr int STAGE = TileA::WORDS + TileB::WORDS;
    static constexpr int WORDS = COUNT * STAGE;

    T* shared;  // WORDS
    const T* a;
    const T* b;
    int row, m, length_a;     // where the tiles of a begin and end, and the length of a row of it in memory
    int column, n, length_b;  // likewise of b
    int last;                 // where the steps along k end

    DEVICE void copy(int i, int stage) const {
        T* tile = shared + stage * STAGE;
        if (i < last) {
            TileA::copy(tile, a, row, m, i, last, length_a);
            TileB::copy(tile + TileA::WORDS, b, column, n, i, last, length_b);
        }
        commit_copies();  // also of none: the groups are counted
    }

    // Issue the copies of the first steps.
    DEVICE void begin(int first) const {
        for (int stage = 0; stage < COUNT - 1; ++stage) copy(first + stage * STEP, stage);
    }

    // Wait for the tiles of step i, which lie in stage `now`, and issue the copies of a step to come; return the tile
    // of a. That of b lies behind it.
    DEVICE const T* next(int i, int now) const {
        wait_copies<COUNT - 2>();
        __syncthreads();  // the tiles of this step are there, and nobody reads those of the step before
        copy(i + (COUNT - 1) * STEP, now > 0 ? now - 1 : COUNT - 1);
        return shared + now * STAGE;
    }
};

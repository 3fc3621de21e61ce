// tile_loader.cuh: loads the tiles of a matrix product's operands from global into shared memory by asynchronous
// copies: several stages are in flight while one is multiplied, and none of them takes a register.

#pragma once
#include "async_copy.cuh"

// A tile in shared memory, SIZE along m or n and DEPTH along k. Where the operand is contiguous along k (ALONG_K), a
// row of shared memory holds the steps along k of one element, else the elements of one step: as in global memory, so
// that a copy moves WIDTH neighbours. Rows are padded by PADDING words against bank conflicts.
//
// With SPAN, an operand that is contiguous along k is transposed by the copies: a row holds the elements of one step
// here, too. Then each word is copied by itself, by SPAN neighbouring threads along k: with fewer a warp reads from
// more lines of global memory, with more they write to the same banks. A swizzle keeps 16 threads (half a warp) in
// different banks: in every other group of eight steps, neighbouring elements are swapped.
template <int SIZE, int DEPTH, int THREADS, bool ALONG_K, int WIDTH, int PADDING, int SPAN = 0>
struct Tile {
    static constexpr bool TRANSPOSED = SPAN > 0;
    static constexpr bool STEPS_IN_ROW = ALONG_K && !TRANSPOSED;
    static constexpr int ACROSS = TRANSPOSED ? SPAN : (ALONG_K ? DEPTH : SIZE) / WIDTH;  // threads along a row
    static constexpr int DOWN = ALONG_K ? SIZE : DEPTH;                                  // rows in global memory
    static constexpr int ROW = (STEPS_IN_ROW ? DEPTH : SIZE) + PADDING;
    static constexpr int WORDS = (STEPS_IN_ROW ? SIZE : DEPTH) * ROW;
    static constexpr int COPIES = SIZE * DEPTH / WIDTH;
    static_assert(ACROSS > 0 && ROW * sizeof(T) % 16 == 0, "rows are made of copies, and of vectors");
    static_assert((COPIES & (COPIES - 1)) == 0 && (THREADS & (THREADS - 1)) == 0, "powers of 2, see row_of");
    static_assert(!TRANSPOSED || (ALONG_K && WIDTH == 1 && DEPTH % SPAN == 0 && SPAN <= 16 && THREADS / SPAN % 2 == 0),
                  "a transposed tile is copied word by word, and swapped neighbours stay neighbours");

    // The row of copy number i in global memory and its place there. All sizes are powers of 2, so that the row of a
    // sum is the sum of the rows: what changes from copy to copy of a thread is a constant.
    static constexpr DEVICE int row_of(int i) { return i / ACROSS % DOWN; }
    static constexpr DEVICE int place_of(int i) { return (i / (ACROSS * DOWN) * ACROSS + i % ACROSS) * WIDTH; }

    // Where element x of step i lies: in the row of i, swizzled, or in the row of x.
    static constexpr DEVICE int swizzle(int i) { return TRANSPOSED ? i % SPAN / 8 : 0; }
    static constexpr DEVICE int at(int x, int i) { return STEPS_IN_ROW ? x * ROW + i : i * ROW + (x ^ swizzle(i)); }
    static constexpr DEVICE int at_row(int row, int place) { return ALONG_K ? at(row, place) : at(place, row); }

    // A thread copies from PASSES rows of global memory, APART rows from one to the next, EACH times of every row.
    static constexpr int APART = THREADS / ACROSS < DOWN ? THREADS / ACROSS : DOWN;
    static constexpr int PASSES = DOWN / APART;
    static constexpr int EACH = ceil_div(COPIES, THREADS * PASSES);
    static_assert(PASSES <= 32, "a bit for each row");

    // A thread's copies of one tile after the other along k. What the main loop needs for them is in registers: an
    // address is one IMAD.WIDE, the predicates of seven rows are one R2P, and places in shared memory are immediates.
    struct Copies {
        const T* from;  // the thread's first element in the next tile
        T* to;          // its place in the first stage
        int length;     // of the operand's rows
        int left;       // steps along k from that element on; none where the thread's elements are beyond the end of x
        unsigned rows;  // with ALONG_K: a bit for each of the thread's rows that is in the operand

        // Begin with the tile at x and i, which goes to `tile`; the operand ends at x_end and i_end.
        DEVICE Copies(T* tile, const T* operand, int x, int x_end, int i, int i_end, int length) : length(length) {
            const int row = row_of(threadIdx.x), place = place_of(threadIdx.x);
            const int top = (ALONG_K ? x : i) + row, first = (ALONG_K ? i : x) + place;
            from = operand + static_cast<size_t>(top) * length + first;
            to = tile + at_row(row, place);
            left = ALONG_K ? i_end - first : first < x_end ? i_end - top : 0;
            rows = 0;
#pragma unroll
            for (int p = 0; p < PASSES; ++p) rows |= static_cast<unsigned>(top + p * APART < x_end) << p;
        }

        // Issue the copies of the next tile, to the stage that begins `stage` words behind the first; beyond the
        // operand's ends they write zeros.
        DEVICE void issue(int stage) {
            T* tile = to + stage;
            if (COPIES >= THREADS || threadIdx.x < COPIES)
#pragma unroll
                for (int e = 0; e < EACH; ++e)
#pragma unroll
                    for (int p = 0; p < PASSES; ++p) {
                        const int down = p * APART, right = place_of(e * PASSES * THREADS);
                        const unsigned there = ALONG_K ? (right < left ? rows : 0) & 1u << p : down < left;
                        copy_async<WIDTH * sizeof(T)>(tile + at_row(down, right),
                                                      from + (static_cast<long long>(length) * down + right), there);
                    }
            from += ALONG_K ? DEPTH : static_cast<long long>(length) * DEPTH;
            left -= DEPTH;
        }
    };
};

// A pipeline of COUNT stages of both operands' tiles in shared memory: while one step along k is multiplied, the copies
// of the next ones are in flight.
template <typename TileA, typename TileB, int STEP, int COUNT>
struct Stages {
    static_assert(COUNT >= 2, "a stage is multiplied while another is filled");
    static constexpr int STAGE = TileA::WORDS + TileB::WORDS;
    static constexpr int WORDS = COUNT * STAGE;  // of shared memory

    typename TileA::Copies a;
    typename TileB::Copies b;
    int left;  // along k, from the first step without a copy on

    // Issue the copies of the next step, if wanted.
    DEVICE void copy(int stage, bool wanted) {
        if (wanted) {
            a.issue(stage * STAGE);
            b.issue(stage * STAGE);
            left -= STEP;
        }
        commit_copies();  // also of none: the groups are counted
    }

    // Issue the copies of the first steps.
    DEVICE void begin() {
#pragma unroll 1  // unrolled, it takes more registers than the main loop
        for (int stage = 0; stage < COUNT - 1; ++stage) copy(stage, left > 0);
    }

    // Wait for the tiles of a step, which are in stage `now`, and issue the copies of a later one, if wanted.
    DEVICE void next(int now, bool wanted) {
        wait_copies<COUNT - 2>();
        __syncthreads();  // the tiles of this step are there, and nobody reads those of the step before
        copy(now > 0 ? now - 1 : COUNT - 1, wanted);
    }
};

// tile_loader.cuh: load the tiles of a matrix product's operands from global into shared memory by asynchronous copies:
// several stages are in flight while one is multiplied, and none takes registers.

#pragma once
#include "async_copy.cuh"

// A tile in shared memory, SIZE along m or n and DEPTH along k. If the operand is contiguous along k (ALONG_K), a row
// of shared memory holds the steps along k of one element; otherwise the elements of one step. That is the layout of
// global memory, so a copy moves WIDTH adjacent elements. Rows are padded by PADDING words to avoid bank conflicts.
//
// With SPAN, the copies transpose an operand that is contiguous along k: a row then holds the elements of one step
// here, too. Each element is copied separately, by SPAN adjacent threads along k: with fewer, a warp reads more lines
// of global memory; with more, its writes conflict in the banks. A swizzle keeps 16 threads (half a warp) in different
// banks: in every other group of eight steps, adjacent elements are swapped.
template <int SIZE, int DEPTH, int THREADS, bool ALONG_K, int WIDTH, int PADDING, int SPAN = 0>
struct Tile {
    static constexpr bool TRANSPOSED = SPAN > 0;
    static constexpr bool STEPS_IN_ROW = ALONG_K && !TRANSPOSED;
    static constexpr int ACROSS = TRANSPOSED ? SPAN : (ALONG_K ? DEPTH : SIZE) / WIDTH;  // threads along a row
    static constexpr int DOWN = ALONG_K ? SIZE : DEPTH;                                  // rows in global memory
    static constexpr int ROW = (STEPS_IN_ROW ? DEPTH : SIZE) + PADDING;
    static constexpr int WORDS = (STEPS_IN_ROW ? SIZE : DEPTH) * ROW;
    static constexpr int COPIES = SIZE * DEPTH / WIDTH;
    static_assert(ACROSS > 0 && ROW * sizeof(T) % 16 == 0, "a row is a whole number of copies and of vectors");
    static_assert((COPIES & (COPIES - 1)) == 0 && (THREADS & (THREADS - 1)) == 0, "row_of requires powers of 2");
    static_assert(!TRANSPOSED || (ALONG_K && WIDTH == 1 && DEPTH % SPAN == 0 && SPAN <= 16 && THREADS / SPAN % 2 == 0),
                  "a transposed tile is copied element by element, and swapped elements stay adjacent");

    // The row of copy i in global memory, and its position in the row. All sizes are powers of 2, so the row of a sum
    // is the sum of the rows: the offsets between the copies of a thread are constants.
    static constexpr DEVICE int row_of(int i) { return i / ACROSS % DOWN; }
    static constexpr DEVICE int place_of(int i) { return (i / (ACROSS * DOWN) * ACROSS + i % ACROSS) * WIDTH; }

    // The position of element x of step i: in the row of i, swizzled, or in the row of x.
    static constexpr DEVICE int swizzle(int i) { return TRANSPOSED ? i % SPAN / 8 : 0; }
    static constexpr DEVICE int at(int x, int i) { return STEPS_IN_ROW ? x * ROW + i : i * ROW + (x ^ swizzle(i)); }
    static constexpr DEVICE int at_row(int row, int place) { return ALONG_K ? at(row, place) : at(place, row); }

    // A thread copies from PASSES rows of global memory that are APART rows apart, EACH times per row.
    static constexpr int APART = THREADS / ACROSS < DOWN ? THREADS / ACROSS : DOWN;
    static constexpr int PASSES = DOWN / APART;
    static constexpr int EACH = ceil_div(COPIES, THREADS * PASSES);
    static_assert(PASSES <= 32, "a bit for each row");

    // A thread's copies of consecutive tiles along k. The main loop needs few instructions for them: an address is one
    // IMAD.WIDE, the predicates of seven rows are one R2P, and positions in shared memory are immediates.
    struct Copies {
        const T* from;  // the thread's first element in the next tile
        T* to;          // its position in the first stage
        int length;     // of a row of the operand
        int left;       // remaining steps along k; none if the thread's elements are past the end of x
        unsigned rows;  // with ALONG_K: a bit for each of the thread's rows, set if it is inside the operand

        // Start with the tile at x and i, which goes to `tile`; the operand ends at x_end and i_end.
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

        // Issue the copies of the next tile to the stage at offset `stage`; past the ends of the operand they write
        // zeros.
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
    int left;  // remaining extent along k without issued copies

    // Issue the copies of the next step, if wanted.
    DEVICE void copy(int stage, bool wanted) {
        if (wanted) {
            a.issue(stage * STAGE);
            b.issue(stage * STAGE);
            left -= STEP;
        }
        commit_copies();  // also without copies: wait_copies counts groups
    }

    // Issue the copies of the first steps.
    DEVICE void begin() {
#pragma unroll 1  // unrolled, it would take more registers than the main loop
        for (int stage = 0; stage < COUNT - 1; ++stage) copy(stage, left > 0);
    }

    // Wait for the tiles of the step in stage `now`, and issue the copies of a later step, if wanted.
    DEVICE void next(int now, bool wanted) {
        wait_copies<COUNT - 2>();
        __syncthreads();  // this step's tiles are complete, and no thread reads the previous step's any more
        copy(now > 0 ? now - 1 : COUNT - 1, wanted);
    }
};

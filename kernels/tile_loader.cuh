// tile_loader.cuh: load the tiles of a matrix product's operands from global into shared memory by asynchronous copies:
// several stages are in flight while one is multiplied, and none takes registers.

#pragma once
#include "async_copy.cuh"

// A tile in shared memory, SIZE along m or n and DEPTH along k. A copy moves WIDTH elements that are adjacent in global
// memory, without rearranging them.
//
// If the operand is contiguous along m or n, a row of shared memory holds the elements of one step along k, and PADDING
// words. If it is contiguous along k (ALONG_K), a row holds VECTOR steps: for each element along m or n a vector of 16
// bytes. Two kinds of padding avoid bank conflicts. One vector after every eight is for loads by a warp whose elements
// are two or four apart. The end of a row is for copies by a warp to several rows: the banks of adjacent rows start
// SPREAD vectors apart.
template <int SIZE, int DEPTH, int THREADS, bool ALONG_K, int WIDTH, int PADDING>
struct Tile {
    static constexpr int STEPS = ALONG_K ? VECTOR : 1;               // along k in a row of shared memory
    static constexpr int ACROSS = (ALONG_K ? DEPTH : SIZE) / WIDTH;  // copies along a row of global memory
    static constexpr int SPREAD = ceil_div(8 * VECTOR, DEPTH);
    static constexpr int ROW = ALONG_K ? (ceil_div(SIZE + SIZE / 8, SPREAD) | 1) * SPREAD * VECTOR : SIZE + PADDING;
    static constexpr int WORDS = DEPTH / STEPS * ROW;
    static constexpr int COPIES = SIZE * DEPTH / WIDTH;
    static_assert(ACROSS > 0 && ROW * sizeof(T) % 16 == 0, "a row is a whole number of copies and of vectors");
    static_assert((COPIES & (COPIES - 1)) == 0 && (THREADS & (THREADS - 1)) == 0, "row_of requires powers of 2");
    static_assert(DEPTH % STEPS == 0, "a whole number of rows of shared memory");

    // The row of copy i in global memory, and its position in the row. All sizes are powers of 2, so the row of a sum
    // is the sum of the rows: the offsets between the copies of a thread are constants.
    static constexpr DEVICE int row_of(int i) { return i / ACROSS; }
    static constexpr DEVICE int place_of(int i) { return i % ACROSS * WIDTH; }

    // The position of element x of step i.
    static constexpr DEVICE int at(int x, int i) {
        return i / STEPS * ROW + (ALONG_K ? (x + x / 8) * VECTOR + i % VECTOR : x);
    }
    static constexpr DEVICE int at_row(int row, int place) { return ALONG_K ? at(row, place) : at(place, row); }

    static constexpr int EACH = ceil_div(COPIES, THREADS);  // copies of a thread
    static_assert(EACH <= 32, "a bit for each");

    // A thread's copies of consecutive tiles along k. If the number of steps is not a multiple of DEPTH, the first tile
    // begins with zeros and holds the remainder. So the predicates of the copies do not change in the main loop, and
    // one R2P instruction sets seven of them.
    struct Copies {
        const T* from;   // the thread's first element in the next tile
        T* to;           // its position in the first stage
        int length;      // of a row of the operand
        unsigned now;    // a bit for each of the thread's copies, set if it is inside the operand in the next tile
        unsigned later;  // the same for all tiles but the first

        // Start with the steps from i to i_end at x; the operand ends at x_end. The first tile goes to `tile`.
        DEVICE Copies(T* tile, const T* operand, int x, int x_end, int i, int i_end, int length) : length(length) {
            const int row = row_of(threadIdx.x), place = place_of(threadIdx.x);
            const int missing = (DEPTH - (i_end - i) % DEPTH) % DEPTH;  // steps of the first tile
            const int top = ALONG_K ? x + row : i - missing + row, first = ALONG_K ? i - missing + place : x + place;
            from = operand + (static_cast<long long>(length) * top + first);
            to = tile + at_row(row, place);
            now = later = 0;
#pragma unroll
            for (int c = 0; c < EACH; ++c) {
                const int down = row_of(c * THREADS), right = place_of(c * THREADS);
                const bool inside = (ALONG_K ? top + down : first + right) < x_end;
                const bool in_first = (ALONG_K ? place + right : row + down) >= missing;
                later |= static_cast<unsigned>(inside) << c;
                now |= static_cast<unsigned>(inside && in_first) << c;
            }
        }

        // Issue the copies of the next tile to the stage at offset `stage`; outside the operand they write zeros.
        DEVICE void issue(int stage) {
            T* tile = to + stage;
            if (COPIES >= THREADS || threadIdx.x < COPIES)
#pragma unroll
                for (int c = 0; c < EACH; ++c) {
                    const int down = row_of(c * THREADS), right = place_of(c * THREADS);
                    copy_async<WIDTH * sizeof(T)>(tile + at_row(down, right),
                                                  from + (static_cast<long long>(length) * down + right), now & 1u << c);
                }
            from += ALONG_K ? DEPTH : static_cast<long long>(length) * DEPTH;
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
        copy(0, left > 0);
        a.now = a.later;
        b.now = b.later;
#pragma unroll 1  // unrolled, it would take more registers than the main loop
        for (int stage = 1; stage < COUNT - 1; ++stage) copy(stage, left > 0);
    }

    // Wait for the tiles of the step in stage `now`, and issue the copies of a later step, if wanted.
    DEVICE void next(int now, bool wanted) {
        wait_copies<COUNT - 2>();
        __syncthreads();  // this step's tiles are complete, and no thread reads the previous step's any more
        copy(now > 0 ? now - 1 : COUNT - 1, wanted);
    }
};

// dropout.cpp: y = x * keep / (1 - p) with keep = (u >= p), and its gradient; x is (rows, n).
//
// The random numbers u are those of gpunet/random.py and NumPy's Generator(Philox): Philox4x64-10 (Salmon et al. 2011)
// with the key (seed, 0) and the counter (e / 8 + 1, step, draw, 0) gives the eight float32 numbers of the positions e
// = 8 q .. 8 q + 7. Row i of the global batch has the positions i n .. i n + n - 1.
//
// Each thread takes some of the rows. They may begin or end inside a block of eight random numbers; two threads then
// compute this block. For at most BLOCKS blocks at a time, scalar 64-bit multiplications compute the random numbers, and
// loops that vectorize use them.

#include "common.h"
#include "vector.h"

using Word = uint64_t;

constexpr Int DRAWS = 8;  // numbers per block
constexpr Int BLOCKS = 64;

__extension__ using DoubleWord = unsigned __int128;

// The bits of the eight numbers of a block.
DEVICE void philox(Word block, Word step, Word draw, Word key0, uint32_t* bits) {
    constexpr Word MULTIPLIER0 = 0xD2E7470EE14C6C93ull, MULTIPLIER1 = 0xCA5A826395121157ull;
    Word counter[4] = {block + 1, step, draw, 0}, key1 = 0;
#pragma GCC unroll 10
    for (int round = 0; round < 10; ++round) {
        const DoubleWord product0 = MULTIPLIER0 * DoubleWord{counter[0]};
        const DoubleWord product1 = MULTIPLIER1 * DoubleWord{counter[2]};
        counter[0] = static_cast<Word>(product1 >> 64) ^ counter[1] ^ key0;
        counter[2] = static_cast<Word>(product0 >> 64) ^ counter[3] ^ key1;
        counter[1] = static_cast<Word>(product1);
        counter[3] = static_cast<Word>(product0);
        key0 += 0x9E3779B97F4A7C15ull;
        key1 += 0xBB67AE8584CAA73Bull;
    }
    for (int i = 0; i < 4; ++i) {
        bits[2 * i] = static_cast<uint32_t>(counter[i]);
        bits[2 * i + 1] = static_cast<uint32_t>(counter[i] >> 32);
    }
}

// A bool as an integer, since loops over bool do not vectorize.
using Flag = unsigned char;

// out = x * keep * scale
DEVICE void apply(const T* x, const Flag* keep, T* out, Int count, T scale) {
    INDEPENDENT
    for (Int i = 0; i < count; ++i) out[i] = x[i] * scale * static_cast<T>(static_cast<int>(keep[i]));
}

// y may be x.
// FLOPs: 2 * rows * n
static void dropout_forward(Int begin, Int end,
                            const T* x,         // [rows * n]
                            T* y,               // [rows * n]
                            bool* keep,         // [rows * n]
                            const Int* step,    // [1]
                            Int seed, Int draw, Int first_row, Int rows, Int n, double p, T scale) {
    uint32_t bits[BLOCKS * DRAWS];
    Flag* flags = reinterpret_cast<Flag*>(keep);
    const float least = static_cast<float>(p);
    const Int stop = end * n;
    for (Int i = begin * n; i < stop;) {
        const Word place = static_cast<Word>(first_row) * n + i;  // in the global batch
        const Int skip = place % DRAWS, count = smaller(stop - i, BLOCKS * DRAWS - skip);
        for (Int block = 0; block * DRAWS < skip + count; ++block)
            philox(place / DRAWS + block, step[0], draw, seed, bits + block * DRAWS);
        INDEPENDENT
        for (Int j = 0; j < count; ++j)
            flags[i + j] = static_cast<float>(static_cast<int>(bits[skip + j] >> 8)) * 0x1p-24f >= least ? 1 : 0;
        apply(x + i, flags + i, y + i, count, scale);
        i += count;
    }
}
ROWS(dropout_forward)

// dx = dy * keep / (1 - p). dx may be dy.
// FLOPs: 2 * rows * n
static void dropout_backward(Int begin, Int end,
                             const T* dy,         // [rows * n]
                             const bool* keep,    // [rows * n]
                             T* dx,               // [rows * n]
                             Int rows, Int n, T scale) {
    apply(dy + begin * n, reinterpret_cast<const Flag*>(keep) + begin * n, dx + begin * n, (end - begin) * n, scale);
}
ROWS(dropout_backward)

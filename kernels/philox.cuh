// philox.cuh: counter-based random numbers, Philox4x64-10 (Salmon et al. 2011), identical to those of gpunet/random.py.
//
// The key is (seed, 0), the counter (e / 8 + 1, step, draw, 0) for the elements e = 8 q .. 8 q + 7: a block of 256 bits
// gives eight float32 numbers in [0, 1). About 200 instructions per block: ten rounds of two 64-bit multiplications.

#pragma once
#include "common.cuh"

using Word = unsigned long long;

struct Block {
    Word v[4];
};

constexpr int DRAWS = 8;  // numbers per block

DEVICE Block philox(Block counter, Word key0, Word key1) {
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        constexpr Word MULTIPLIER0 = 0xD2E7470EE14C6C93ull, MULTIPLIER1 = 0xCA5A826395121157ull;
        const Word high0 = __umul64hi(MULTIPLIER0, counter.v[0]), low0 = MULTIPLIER0 * counter.v[0];
        const Word high1 = __umul64hi(MULTIPLIER1, counter.v[2]), low1 = MULTIPLIER1 * counter.v[2];
        counter = {{high1 ^ counter.v[1] ^ key0, low1, high0 ^ counter.v[3] ^ key1, low0}};
        key0 += 0x9E3779B97F4A7C15ull;
        key1 += 0xBB67AE8584CAA73Bull;
    }
    return counter;
}

// The numbers of the elements from DRAWS * index on, for draw number `draw` of a step.
DEVICE Block random_block(Word index, Word seed, Word step, Word draw) {
    return philox({{index + 1, step, draw, 0}}, seed, 0);
}

// Number i of a block, in [0, 1): 24 bits.
DEVICE float uniform(const Block& block, int i) {
    const Word word = i < 4 ? (i < 2 ? block.v[0] : block.v[1]) : (i < 6 ? block.v[2] : block.v[3]);
    return static_cast<float>(static_cast<unsigned>(word >> (i % 2 * 32)) >> 8) * 0x1p-24f;
}

// dropout.cu: y = x * keep / (1 - p) with keep = (u >= p), and its gradient.
//
// The random numbers u are those that gpunet/random.py describes and NumPy's Generator(Philox) draws: Philox4x64-10
// (Salmon et al. 2011) with the key (seed, 0) and the counter (e / 8 + 1, step, draw, 0) gives the eight float32
// numbers of the places e = 8 q .. 8 q + 7. So a mask is the same bits on every device, whatever the grid, and an
// element's mask depends on its place in the global batch alone.
//
// A thread makes one block of eight numbers: ten rounds of two 64-bit multiplications, some 200 instructions, for 8
// elements or 72 bytes of memory traffic in float: about as fast as memory. The mask goes to memory (a byte an element)
// as drawing it again for the backward pass would cost more than reading it. `step` lies on the device, for a recorded
// step.
//
// Options: REAL.

#include "common.cuh"

using Word = unsigned long long;

struct Block {
    Word v[4];
};

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

constexpr int DRAWS = 8;  // numbers of a block

struct alignas(DRAWS) Mask {
    bool v[DRAWS];
};

// Launch: grid-stride; grid (ceil((size + 7) / (8 * 256)),) or fewer, block (256,). x and y may be one array.
// FLOPs: 2 * size
extern "C" __global__ void __launch_bounds__(256) dropout_forward(
    const T* x,                             // [size]
    T* y,                                   // [size]
    bool* __restrict__ keep,                // [size]
    const long long* __restrict__ step,     // [1]
    unsigned long long seed, unsigned long long draw,
    unsigned long long first,    // the place of x[0]: the global number of its row times the width
    int size, float p, T scale   // 1 / (1 - p)
) {
    const int skip = first % DRAWS;  // numbers of the first block that are not ours
    const int blocks = (size + skip + DRAWS - 1) / DRAWS;
    const bool whole = skip == 0 && aligned(x) && aligned(y) && reinterpret_cast<size_t>(keep) % DRAWS == 0;
    for (unsigned block = flat_thread(); block < blocks; block += flat_stride()) {
        const Block words = philox({{first / DRAWS + block + 1, static_cast<Word>(step[0]), draw, 0}}, seed, 0);
        Mask mask;
#pragma unroll
        for (int j = 0; j < DRAWS; ++j) {
            const unsigned bits = static_cast<unsigned>(words.v[j / 2] >> (j % 2 * 32));
            mask.v[j] = static_cast<float>(bits >> 8) * 0x1p-24f >= p;
        }
        const int place = static_cast<int>(block * DRAWS) - skip;
        if (whole && place + DRAWS <= size) {
#pragma unroll
            for (int j = 0; j < DRAWS; j += VECTOR) {
                Vector value = load(x + place + j);
#pragma unroll
                for (int q = 0; q < VECTOR; ++q) value.v[q] = value.v[q] * scale * T(mask.v[j + q]);
                store(y + place + j, value);
            }
            *reinterpret_cast<Mask*>(keep + place) = mask;
            continue;
        }
#pragma unroll
        for (int j = 0; j < DRAWS; ++j) {
            if (place + j < 0 || place + j >= size) continue;
            y[place + j] = x[place + j] * scale * T(mask.v[j]);
            keep[place + j] = mask.v[j];
        }
    }
}

// dx = dy * keep / (1 - p). Launch: grid-stride; grid (ceil(size / 256),) or fewer, block (256,). dx may be dy.
// FLOPs: 2 * size
extern "C" __global__ void __launch_bounds__(256) dropout_backward(
    const T* dy,                         // [size]
    const bool* __restrict__ keep,       // [size]
    T* dx,                               // [size]
    int size, T scale) {
    for (unsigned i = flat_thread(); i < size; i += flat_stride()) dx[i] = dy[i] * scale * T(keep[i]);
}

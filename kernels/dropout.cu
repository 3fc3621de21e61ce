// dropout.cu: y = x * keep / (1 - p) with keep = (u >= p), and its gradient.
//
// The random numbers u are those of philox.cuh, which NumPy's Generator(Philox) draws on the CPU. A mask is
// bit-identical on every device and for any grid; it depends only on an element's position in the global batch.
//
// A thread draws one block of eight numbers, for 8 elements or 72 bytes of memory traffic in float: about as fast as
// memory. The mask is stored, one byte per element: drawing it again in the backward pass would cost more than reading
// it. `step` is in device memory, so that a recorded step can be replayed.
//
// Options: REAL.

#include "philox.cuh"

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
    unsigned long long first,    // position of x[0] in the global batch: its row times the width
    int size, float p, T scale   // 1 / (1 - p)
) {
    const int skip = first % DRAWS;  // numbers of the first block before x[0]
    const int blocks = (size + skip + DRAWS - 1) / DRAWS;
    const bool whole = skip == 0 && aligned(x) && aligned(y) && reinterpret_cast<size_t>(keep) % DRAWS == 0;
    for (unsigned block = flat_thread(); block < blocks; block += flat_stride()) {
        const Block numbers = random_block(first / DRAWS + block, seed, step[0], draw);
        Mask mask;
#pragma unroll
        for (int j = 0; j < DRAWS; ++j) mask.v[j] = uniform(numbers, j) >= p;
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

// gradient_sum.cu: the weighted sum of the gradients of the parts of a batch, for one update (gradient accumulation).
//
// Each part's gradient is a mean over its rows, weighted by the part's share of the batch, so the sum is the gradient
// of the batch. One launch per part, after its backward pass; the last writes the sum to where the optimizer reads it.
// Memory-bound: 12 bytes per parameter in float, 8 for the first part.
//
// Options: REAL. Launch: grid-stride; grid (ceil(size / (256 * VECTOR)),) or fewer, block (256,).

#include "common.cuh"

// sum = weights[part] g + total, without total for the first part. The sum is written to total, for the last part to g.
// losses[0] is the loss of the batch so far, summed the same way; losses[1] is the contribution of this part times
// `scale`.
// FLOPs: 2 * size
extern "C" __global__ void __launch_bounds__(256) add_gradient(
    T* __restrict__ g,                // [size]
    T* __restrict__ total,            // [size]
    const T* __restrict__ value,      // [1]
    T* __restrict__ losses,           // [2]
    const T* __restrict__ weights,    // [parts]
    int size, int part, int parts, T scale) {
    const T weight = weights[part];
    T* const sum = part == parts - 1 ? g : total;
    const unsigned vectors = aligned(g) && aligned(total) ? size / VECTOR : 0;
    for (unsigned i = flat_thread(); i < vectors; i += flat_stride()) {
        Vector gradient = load(g + i * VECTOR), before = {};
        if (part) before = load(total + i * VECTOR);
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) gradient.v[j] = before.v[j] + weight * gradient.v[j];
        store(sum + i * VECTOR, gradient);
    }
    for (unsigned i = vectors * VECTOR + flat_thread(); i < size; i += flat_stride())
        sum[i] = (part ? total[i] : T(0)) + weight * g[i];
    if (flat_thread() != 0) return;
    const T own = weight * value[0];
    losses[0] = (part ? losses[0] : T(0)) + own;
    losses[1] = scale * own;
}

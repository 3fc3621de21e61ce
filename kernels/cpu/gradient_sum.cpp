// gradient_sum.cpp: the weighted sum of the gradients of the parts of a batch, for one update (gradient accumulation).
//
// Each part's gradient is a mean over its rows, weighted by the part's share of the batch, so the sum is the gradient
// of the batch. [begin, end) are blocks of BLOCK elements. The last part writes the sum to where the optimizer reads
// it.

#include "common.h"
#include "vector.h"

constexpr Int BLOCK = 16384;

// sum = weights[part] g + total, without total for the first part. The sum is written to total, for the last part to g.
// losses[0] is the loss of the batch so far, summed the same way; losses[1] is the contribution of this part times
// `scale`.
// FLOPs: 2 * size
static void add_gradient(Int begin, Int end,
                         T* __restrict__ g,        // [size]
                         T* __restrict__ total,    // [size]
                         const T* value,           // [1]
                         T* losses,                // [2]
                         const T* weights,         // [parts]
                         Int size, Int part, Int parts, T scale) {
    const T weight = weights[part];
    const Int first = begin * BLOCK, last = smaller(end * BLOCK, size);
    if (begin == 0) {
        const T own = weight * value[0];
        losses[0] = (part ? losses[0] : T(0)) + own;
        losses[1] = scale * own;
    }
    const auto add = [=](T* sum) {
        if (part) {
            INDEPENDENT
            for (Int i = first; i < last; ++i) sum[i] = total[i] + weight * g[i];
        } else {
            INDEPENDENT
            for (Int i = first; i < last; ++i) sum[i] = weight * g[i];
        }
    };
    add(part == parts - 1 ? g : total);
}
SLICES(add_gradient)

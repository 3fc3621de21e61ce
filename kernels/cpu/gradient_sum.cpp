// gradient_sum.cpp: the sum of the gradients of the parts of a batch, of which one update is made.
//
// Each part's gradient is the mean over its rows, and is weighted by their share of the batch: the sum is the gradient of
// the batch. The unit is a block of BLOCK elements: [begin, end) are blocks. The last part leaves the sum where the
// optimizer reads it.

#include "common.h"
#include "vector.h"

constexpr Int BLOCK = 16384;

// sum = weights[part] g, and the total of the parts before, if there are any; it goes into total, of the last part into
// g. losses[0] is the loss of the batch, summed likewise; losses[1] is what the part adds to it, times `scale`.
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

// gather.cu: the rows of a batch, out[i] = a[order[first + i]], of up to three arrays (features, targets, row weights)
// in one launch.
//
// `first` lies on the device and is moved on to the next batch, so that a recorded step walks through an epoch's
// permutation. Memory-bound: each element is read and written once, 16 bytes at a time where widths and pointers allow
// it; `order` is read once a vector, from the cache but for the first. Indices beyond the ends are taken as the ends, as
// NumPy's mode "clip" does: a wrong index gives a wrong row, never a fault.
//
// Options: REAL, an integer type whose size divides that of every row: what is moved are bits.
// Launch: grid-stride; grid as you like, at least one block, block (256,).

#include "common.cuh"

DEVICE void gather_rows(const T* a, const long long* order, long long begin, T* out, int n, int width, int total,
                        int count) {
    const bool whole = width % VECTOR == 0 && aligned(a) && aligned(out);
    const unsigned step = whole ? VECTOR : 1;
    const unsigned pieces = static_cast<unsigned>(count) * width / step;
    for (unsigned piece = flat_thread(); piece < pieces; piece += flat_stride()) {
        const unsigned i = piece * step / width, column = piece * step % width;
        const long long place = min(max(begin + i, 0LL), total - 1LL);
        const long long row = min(max(order[place], 0LL), n - 1LL);
        if (whole) {
            store(out + piece * step, load(a + row * width + column));
        } else {
            out[piece] = a[row * width + column];
        }
    }
}

// FLOPs: 0
extern "C" __global__ void __launch_bounds__(256) gather(
    const T* __restrict__ a,                // [n * width_a]
    const T* __restrict__ b,                // [n * width_b] or null
    const T* __restrict__ c,                // [n * width_c] or null
    const long long* __restrict__ order,    // [total]
    long long* first,                       // [1] or null: 0
    unsigned* arrivals,                     // [1] or null: zero, with `first`
    T* __restrict__ out_a,                  // [count * width_a]
    T* __restrict__ out_b,                  // [count * width_b] or null
    T* __restrict__ out_c,                  // [count * width_c] or null
    int n, int width_a, int width_b, int width_c, int total, int count) {
    const long long begin = first ? first[0] : 0;
    gather_rows(a, order, begin, out_a, n, width_a, total, count);
    if (b) gather_rows(b, order, begin, out_b, n, width_b, total, count);
    if (c) gather_rows(c, order, begin, out_c, n, width_c, total, count);
    if (first && last_to_arrive(arrivals, gridDim.x) && threadIdx.x == 0) first[0] = begin + count;
}

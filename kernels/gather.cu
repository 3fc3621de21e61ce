// gather.cu: the rows of a batch, out[i] = a[order[first + i]], for a of (n, width).
//
// `first` lies on the device, so that a recorded step can walk through an epoch's permutation. Memory-bound: each
// element is read and written once, 16 bytes at a time where width and the pointers allow it; `order` is read once a
// vector, from the cache but for the first. Indices beyond the ends are taken as the ends, as NumPy's mode "clip" does:
// a wrong index gives a wrong row, never a fault.
//
// Options: REAL, the type of a, any of those that the launch knows (labels are gathered as long long).
// Launch: grid-stride; grid (ceil(count * width / (256 * VECTOR)),) or fewer, block (256,).

#include "common.cuh"

extern "C" __global__ void __launch_bounds__(256) gather(
    const T* __restrict__ a,                // [n * width]
    const long long* __restrict__ order,    // [total]
    const long long* __restrict__ first,    // [1] or null: 0
    T* __restrict__ out,                    // [count * width]
    int n, int width, int total, int count) {
    const long long begin = first ? first[0] : 0;
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

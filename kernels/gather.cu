// gather.cu: gather rows, out[i] = a[rows[i]]; and the rows of a batch, out[i] = a[order[first + i]], of up to three
// arrays (features, targets, row weights) in one launch.
//
// Features may be stored in another type than the layers use, such as bytes, and are converted (convert.cuh). All other
// data is copied bit by bit.
//
// `first` is in device memory and is advanced to the next batch, so that each replay of a recorded step reads the next
// rows of the epoch. Memory-bound: each element is read and written once, 16 bytes of output at a time if widths and
// pointers allow it. The order is read once per vector, mostly from the cache. Indices are clamped to the array, as in
// NumPy's mode "clip": a wrong index gives a wrong row, never a fault.
//
// Options of gather: REAL, an integer type whose size divides that of a row. Options of gather_batch: REAL, the type of
// the features in the batch; SOURCE, the type in which they are stored. Launch: grid-stride; any grid of at least one
// block, block (256,).

#include "common.cuh"
#include "convert.cuh"

DEVICE int clipped(long long i, int n) { return static_cast<int>(min(max(i, 0LL), n - 1LL)); }

template <int WIDTH, typename From, typename To, typename Row, typename Convert>
DEVICE void copy_rows(const From* a, To* out, int width, int count, Row row, Convert convert) {
    const unsigned vectors = static_cast<unsigned>(count) * width / WIDTH;
    for (unsigned vector = flat_thread(); vector < vectors; vector += flat_stride()) {
        const unsigned i = vector * WIDTH / width, column = vector * WIDTH % width;
        const From* from = a + static_cast<long long>(row(i)) * width + column;
        const Group<From, WIDTH> x = *reinterpret_cast<const Group<From, WIDTH>*>(from);
        Group<To, WIDTH> y;
#pragma unroll
        for (int k = 0; k < WIDTH; ++k) y.v[k] = convert(x.v[k], column + k);
        reinterpret_cast<Group<To, WIDTH>*>(out)[vector] = y;
    }
}

// Gather the rows of one array; row(i) is the index of the i-th row, convert(x, column) the new value of an element.
template <typename From, typename To, typename Row, typename Convert>
DEVICE void gather_rows(const From* a, To* out, int width, int count, Row row, Convert convert) {
    constexpr int WIDTH = sizeof(To) < 16 ? 16 / sizeof(To) : 1;
    if (width % WIDTH == 0 && aligned(a) && aligned(out)) {
        copy_rows<WIDTH>(a, out, width, count, row, convert);
    } else {
        copy_rows<1>(a, out, width, count, row, convert);
    }
}

// FLOPs: 0
extern "C" __global__ void __launch_bounds__(256) gather(
    const T* __restrict__ a,               // [n * width]
    const long long* __restrict__ rows,    // [count]
    T* __restrict__ out,                   // [count * width]
    int n, int width, int count) {
    gather_rows(a, out, width, count, [=](int i) { return clipped(rows[i], n); }, [](T x, int) { return x; });
}

// FLOPs: 0
extern "C" __global__ void __launch_bounds__(256) gather_batch(
    const S* __restrict__ features,         // [n * width]
    const double* __restrict__ mean,        // [width] or null: the features are only converted
    const double* __restrict__ factor,      // [width] or null, with `mean`
    const unsigned* __restrict__ b,         // [n * width_b] or null
    const unsigned* __restrict__ c,         // [n * width_c] or null
    const long long* __restrict__ order,    // [total]
    long long* first,                       // [1]
    unsigned* arrivals,                     // [1]: zero
    T* __restrict__ out,                    // [count * width]
    unsigned* __restrict__ out_b,           // [count * width_b] or null
    unsigned* __restrict__ out_c,           // [count * width_c] or null
    int n, int width, int width_b, int width_c, int total, int count) {
    const long long begin = first[0];
    const auto row = [=](int i) { return clipped(order[clipped(begin + i, total)], n); };
    const auto same = [](unsigned x, int) { return x; };
    gather_rows(features, out, width, count, row, [=](S x, int i) { return converted(x, mean, factor, i); });
    if (b) gather_rows(b, out_b, width_b, count, row, same);
    if (c) gather_rows(c, out_c, width_c, count, row, same);
    if (last_to_arrive(arrivals, gridDim.x) && threadIdx.x == 0) first[0] = begin + count;
}

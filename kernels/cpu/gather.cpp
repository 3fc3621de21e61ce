// gather.cpp: the rows of a batch, out[i] = source[order[place + i]], of up to three arrays (features, targets, row
// weights), and the advance to the next batch.
//
// Data is copied byte by byte, except for features that are stored in another type than the layers use, such as bytes,
// or that still have to be standardised: gather_features converts them, exactly as Standardizer.write does. The work is
// divided by rows. The addresses of the sources and of the order are in memory, since they change with the data set and
// the epoch.
//
// Options: SOURCE: for gather_features, the type in which the features are stored.

#include <cstring>

#include "common.h"

#ifndef SOURCE
#define SOURCE REAL
#endif
using S = SOURCE;

DEVICE void gather_rows(Int begin, Int end, Int source, const Int* order, unsigned char* out, Int bytes) {
    const unsigned char* rows = reinterpret_cast<const unsigned char*>(source);
    for (Int i = begin; i < end; ++i) std::memcpy(out + i * bytes, rows + order[i] * bytes, bytes);
}

// FLOPs: 0
static void gather(Int begin, Int end,
                   const Int* sources,     // [4]: the addresses of three arrays and of their order, an array of Int
                   const Int* place,       // [1]: where the batch begins in the order
                   unsigned char* out0,    // [rows * bytes0] or null
                   unsigned char* out1,    // [rows * bytes1] or null
                   unsigned char* out2,    // [rows * bytes2] or null
                   Int bytes0, Int bytes1, Int bytes2, Int rows) {
    const Int* order = reinterpret_cast<const Int*>(sources[3]) + place[0];
    if (out0) gather_rows(begin, end, sources[0], order, out0, bytes0);
    if (out1) gather_rows(begin, end, sources[1], order, out1, bytes1);
    if (out2) gather_rows(begin, end, sources[2], order, out2, bytes2);
}
ROWS(gather)

// FLOPs: 2 * rows * n
static void gather_features(Int begin, Int end,
                            const Int* sources,    // [6]: as for gather, then those of means and factors, or zeros
                            const Int* place,      // [1]
                            T* out,                // [rows * n]
                            Int n, Int rows) {
    const S* features = reinterpret_cast<const S*>(sources[0]);
    const Int* order = reinterpret_cast<const Int*>(sources[3]) + place[0];
    const double* mean = reinterpret_cast<const double*>(sources[4]);
    const double* factor = reinterpret_cast<const double*>(sources[5]);
    for (Int i = begin; i < end; ++i) {
        const S* x = features + order[i] * n;
        T* y = out + i * n;
        if (mean) {
            for (Int j = 0; j < n; ++j) y[j] = static_cast<T>((static_cast<double>(x[j]) - mean[j]) * factor[j]);
        } else {
            for (Int j = 0; j < n; ++j) y[j] = static_cast<T>(x[j]);
        }
    }
}
ROWS(gather_features)

// FLOPs: 0
static void advance(Int begin, Int end,
                    Int* place,    // [1]
                    Int count) {
    place[0] += count;
}
WHOLE(advance)

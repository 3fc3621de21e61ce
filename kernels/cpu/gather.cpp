// gather.cpp: the rows of a batch, out[i] = source[order[place + i]], of up to three arrays (features, targets, row
// weights), and the step to the next batch.
//
// What is copied are bytes. It divides by rows. The addresses of the sources and of the order lie in memory, as other
// data sets and other epochs have others.

#include <cstring>

#include "common.h"

DEVICE void gather_rows(Int begin, Int end, Int source, const Int* order, unsigned char* out, Int bytes) {
    const unsigned char* rows = reinterpret_cast<const unsigned char*>(source);
    for (Int i = begin; i < end; ++i) std::memcpy(out + i * bytes, rows + order[i] * bytes, bytes);
}

// FLOPs: 0
static void gather(Int begin, Int end,
                   const Int* sources,     // [4]: the addresses of three arrays and of their order, an array of Int
                   const Int* place,       // [1]: where the batch begins in the order
                   unsigned char* out0,    // [rows * bytes0]
                   unsigned char* out1,    // [rows * bytes1] or null
                   unsigned char* out2,    // [rows * bytes2] or null
                   Int bytes0, Int bytes1, Int bytes2, Int rows) {
    const Int* order = reinterpret_cast<const Int*>(sources[3]) + place[0];
    gather_rows(begin, end, sources[0], order, out0, bytes0);
    if (out1) gather_rows(begin, end, sources[1], order, out1, bytes1);
    if (out2) gather_rows(begin, end, sources[2], order, out2, bytes2);
}
ROWS(gather)

// FLOPs: 0
static void advance(Int begin, Int end,
                    Int* place,    // [1]
                    Int count) {
    place[0] += count;
}
WHOLE(advance)

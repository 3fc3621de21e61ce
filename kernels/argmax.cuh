// argmax.cuh: the index of the largest element of a row, with NumPy's rules for ties and NaN.

#pragma once
#include "common.cuh"

struct Best {
    T value;
    int index;

    // The larger value wins, then the lower index. NaN is larger than any number, as in NumPy's argmax.
    DEVICE bool beats(const Best& other) const {
        const bool nan = value != value, other_nan = other.value != other.value;
        if (nan != other_nan) return nan;
        if (!nan && value != other.value) return value > other.value;
        return index < other.index;
    }
};

// The index of a row's largest element, in each of the SPAN adjacent lanes that share the row.
template <int SPAN>
DEVICE int argmax(const T* row, int n) {
    Best best{row[0], 0};
    for (int i = threadIdx.x % SPAN; i < n; i += SPAN) {
        const Best candidate{row[i], i};
        if (candidate.beats(best)) best = candidate;
    }
#pragma unroll
    for (int distance = SPAN / 2; distance > 0; distance /= 2) {
        const Best other{__shfl_xor_sync(ALL_LANES, best.value, distance),
                         __shfl_xor_sync(ALL_LANES, best.index, distance)};
        if (other.beats(best)) best = other;
    }
    return best.index;
}

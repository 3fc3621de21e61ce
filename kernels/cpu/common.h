// common.h: shared by the CPU kernels: the element type T, the arguments of a node, and the export of a kernel.
//
// A kernel is a plain function whose first two parameters are the part of the work that a call does, [begin, end):
//
//     void scale(Int begin, Int end,
//                const T* x,     // [rows * n]
//                T* y,           // [rows * n]
//                Int rows, Int n, T factor) { ... }
//     ROWS(scale)
//
// The comments are its declaration, as in a CUDA source (gpunet/cuda/source.py). The macro below the function exports
// it as a node of a recorded step and says how its work is divided:
//
// ROWS(name): by rows of the batch. [begin, end) are rows, and a row is computed from the same row of every array that
// has rows, that is, whose size begins with `rows` or `m`. All other arrays are read only, as a whole. Consecutive
// kernels of this kind run chunk by chunk without a barrier in between.
//
// SLICES(name): by parts of its output. [begin, end) is a range of elements, columns or rows of the output.
//
// WHOLE(name): not at all. One call does everything, with begin 0 and end 1.
//
// Results do not depend on the number of threads: the parts depend only on the shapes, and a sum over parts is taken in
// their order. Sums inside a kernel keep LANES partial sums, so that they vectorize without -ffast-math.

#pragma once
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#ifndef REAL
#define REAL float
#endif
using T = REAL;
using Int = int64_t;

#define DEVICE inline __attribute__((always_inline))   // same name as in common.cuh, for activations.h

// std::min and std::max without <algorithm>, which would add a tenth of a second to each compilation.
template <typename A>
DEVICE constexpr A smaller(A a, A b) { return b < a ? b : a; }
template <typename A>
DEVICE constexpr A larger(A a, A b) { return a < b ? b : a; }

constexpr Int LANES = 64 / sizeof(T);  // a cache line of partial sums

// An argument of a node, as Python stores it: the address of an array, an integer or a floating-point number.
union Slot {
    void* pointer;
    int64_t integer;
    double real;
};

template <typename A>
DEVICE A argument(const Slot& slot) {
    if constexpr (std::is_pointer_v<A>) return static_cast<A>(slot.pointer);
    else if constexpr (std::is_integral_v<A>) return static_cast<A>(slot.integer);
    else return static_cast<A>(slot.real);
}

template <typename... A, std::size_t... I>
DEVICE void call(void (*kernel)(Int, Int, A...), const Slot* slots, Int begin, Int end, std::index_sequence<I...>) {
    kernel(begin, end, argument<A>(slots[I])...);
}

template <typename... A>
DEVICE void call(void (*kernel)(Int, Int, A...), const Slot* slots, Int begin, Int end) {
    call(kernel, slots, begin, end, std::index_sequence_for<A...>{});
}

#define EXPORT(name)                                                                                        \
    extern "C" __attribute__((visibility("default"))) void gpunet_##name(const Slot* slots, Int begin, Int end) { \
        call(name, slots, begin, end);                                                                      \
    }
#define ROWS(name) EXPORT(name)
#define SLICES(name) EXPORT(name)
#define WHOLE(name) EXPORT(name)

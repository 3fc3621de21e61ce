// glu.cu: gated linear units: one half of each row times a function of the other half.
//
//     y = a * f(b)                              x is (rows, 2 n), each row a then b; y is (rows, n)
//     da = dy * f(b),  db = dy * a * f'(b)      both halves of dx
//
// Memory-bound: 12 bytes per element of y in float forward, 20 backward. Backward recomputes f(b): reading it would
// cost 4 bytes more, and writing it another 4.
//
// Options: REAL; ACTIVATION, and USER_FORWARD, USER_BACKWARD for a user-defined function (see activations.h);
// SAVES_OUTPUT: whether f' is a function of f(b) (the default) or of b.

#include "common.cuh"
#include "activations.h"

#ifndef SAVES_OUTPUT
#define SAVES_OUTPUT 1
#endif

// Call visit(index in y, index of its a in x) for WIDTH adjacent elements of y at a time.
template <int WIDTH, typename Visit>
DEVICE void for_each(int rows, int n, Visit visit) {
    const unsigned size = rows * n;
    for (unsigned i = flat_thread() * WIDTH; i < size; i += flat_stride() * WIDTH) visit(i, i + i / n * n);
}

template <int WIDTH>
DEVICE void forward(const T* x, T* y, int rows, int n, T parameter) {
    for_each<WIDTH>(rows, n, [=](unsigned i, unsigned a) {
        auto value = load<WIDTH>(x + a);
        const auto gate = load<WIDTH>(x + a + n);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) value.v[j] *= Activation::forward(gate.v[j], parameter);
        store(y + i, value);
    });
}

template <int WIDTH>
DEVICE void backward(const T* dy, const T* x, T* dx, int rows, int n, T parameter) {
    for_each<WIDTH>(rows, n, [=](unsigned i, unsigned a) {
        const auto gradient = load<WIDTH>(dy + i);
        auto value = load<WIDTH>(x + a);
        auto gate = load<WIDTH>(x + a + n);
#pragma unroll
        for (int j = 0; j < WIDTH; ++j) {
            const T f = Activation::forward(gate.v[j], parameter);
            const T slope = Activation::backward(SAVES_OUTPUT ? f : gate.v[j], parameter);
            gate.v[j] = gradient.v[j] * value.v[j] * slope;
            value.v[j] = gradient.v[j] * f;
        }
        store(dx + a, value);
        store(dx + a + n, gate);
    });
}

// Launch: grid-stride; grid (ceil(rows * n / (256 * VECTOR)),) or fewer, block (256,).
// FLOPs: 5 * rows * n
extern "C" __global__ void __launch_bounds__(256, 1) glu_forward(
    const T* __restrict__ x,    // [rows * 2 * n]
    T* __restrict__ y,          // [rows * n]
    int rows, int n, T parameter) {
    if (n % VECTOR == 0 && aligned(x) && aligned(y))
        forward<VECTOR>(x, y, rows, n, parameter);
    else
        forward<1>(x, y, rows, n, parameter);
}

// Launch: as glu_forward.
// FLOPs: 12 * rows * n
extern "C" __global__ void __launch_bounds__(256, 2) glu_backward(
    const T* __restrict__ dy,    // [rows * n]
    const T* __restrict__ x,     // [rows * 2 * n]
    T* __restrict__ dx,          // [rows * 2 * n]
    int rows, int n, T parameter) {
    if (n % VECTOR == 0 && aligned(dy) && aligned(x) && aligned(dx))
        backward<VECTOR>(dy, x, dx, rows, n, parameter);
    else
        backward<1>(dy, x, dx, rows, n, parameter);
}

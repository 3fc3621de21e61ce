// lstm.cu: a time step of a long short-term memory (LSTM), after its matrix products, in one pass.
//
//     i, f, o = sigmoid of their parts of z + recurrent, g = tanh of its part;    z = x W_ih + bias, recurrent = h W_hh
//     c = f * before + i * g,    h = o * tanh(c)
//
// A row of z has 4 * hidden elements, the parts i, f, g, o one after the other (PyTorch's order). `before` is the c of
// the previous step. The gates overwrite z, and their gradients overwrite the gates; only c and h are stored in
// addition.
//
// One thread per hidden unit of a row; adjacent lanes have adjacent units. Memory-bound: 60 bytes per unit in float
// forward, 56 backward.
//
// Options: REAL. Launch: grid-stride; grid (ceil(rows * hidden / 256),) or fewer, block (256,).

#include "common.cuh"
#include "activations.h"

// FLOPs: 12 * rows * hidden
extern "C" __global__ void __launch_bounds__(256) lstm_forward(
    T* gates,                         // [4 * rows * hidden]: z in, the gates out
    const T* __restrict__ recurrent,  // [4 * rows * hidden] or null: the first step, with initial h and c of zero
    const T* __restrict__ before,     // [rows * hidden] or null: the first step
    T* __restrict__ c,                // [rows * hidden]
    T* __restrict__ h,                // [rows * hidden]
    int rows, int hidden) {
    const unsigned size = rows * hidden;
    for (unsigned place = flat_thread(); place < size; place += flat_stride()) {
        const unsigned first = place / hidden * 4 * hidden + place % hidden;
        T z[4];
#pragma unroll
        for (int gate = 0; gate < 4; ++gate) {
            const unsigned at = first + gate * hidden;
            z[gate] = recurrent ? gates[at] + recurrent[at] : gates[at];
        }
        const T i = activation::logistic(z[0]), f = activation::logistic(z[1]);
        const T g = real::tanh(z[2]), o = activation::logistic(z[3]);
        const T cell = before ? f * before[place] + i * g : i * g;
        gates[first] = i;
        gates[first + hidden] = f;
        gates[first + 2 * hidden] = g;
        gates[first + 3 * hidden] = o;
        c[place] = cell;
        h[place] = o * real::tanh(cell);
    }
}

// FLOPs: 24 * rows * hidden
extern "C" __global__ void __launch_bounds__(256) lstm_backward(
    const T* __restrict__ dh,         // [rows * hidden] or null: zero
    const T* __restrict__ recurrent,  // [rows * hidden] or null: the last step; else dz W_hh^T of the next step
    const T* __restrict__ c,          // [rows * hidden]
    const T* __restrict__ before,     // [rows * hidden] or null: the first step
    T* carry,                         // [rows * hidden]: in, dc f of the next step (not read in the last); out, of this
    T* gates,                         // [4 * rows * hidden]: the gates in, dz out
    int rows, int hidden) {
    const unsigned size = rows * hidden;
    for (unsigned place = flat_thread(); place < size; place += flat_stride()) {
        const unsigned first = place / hidden * 4 * hidden + place % hidden;
        const T i = gates[first], f = gates[first + hidden];
        const T g = gates[first + 2 * hidden], o = gates[first + 3 * hidden];
        const T squashed = real::tanh(c[place]);
        const T gradient = (dh ? dh[place] : T(0)) + (recurrent ? recurrent[place] : T(0));
        const T dc = gradient * o * (T(1) - squashed * squashed) + (recurrent ? carry[place] : T(0));
        gates[first] = dc * g * i * (T(1) - i);
        gates[first + hidden] = before ? dc * before[place] * f * (T(1) - f) : T(0);
        gates[first + 2 * hidden] = dc * i * (T(1) - g * g);
        gates[first + 3 * hidden] = gradient * squashed * o * (T(1) - o);
        carry[place] = dc * f;
    }
}

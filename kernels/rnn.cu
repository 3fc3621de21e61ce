// rnn.cu: a time step of a simple recurrent layer, after its matrix products.
//
//     h = f(z + recurrent)                         forward;  z = x W_ih + bias, recurrent = h W_hh of the previous step
//     dz = (dh + recurrent) f'(h)                  backward; recurrent = dz W_hh^T of the next step
//
// All arrays are flat, rows times hidden units. Memory-bound: 12 bytes per element in float forward, 16 backward.
//
// Options: REAL; ACTIVATION, one that saves its output (see activations.h).
// Launch: grid-stride; grid (ceil(size / 256),) or fewer, block (256,).

#include "common.cuh"
#include "activations.h"

// FLOPs: 2 * size
extern "C" __global__ void __launch_bounds__(256) rnn_forward(
    T* h,                             // [size]: z in, h out
    const T* __restrict__ recurrent,  // [size] or null: the first step
    int size) {
    for (unsigned i = flat_thread(); i < size; i += flat_stride()) {
        h[i] = Activation::forward(recurrent ? h[i] + recurrent[i] : h[i], T(0));
    }
}

// FLOPs: 3 * size
extern "C" __global__ void __launch_bounds__(256) rnn_backward(
    const T* __restrict__ dh,         // [size] or null: zero
    const T* __restrict__ recurrent,  // [size] or null: the last step
    const T* __restrict__ h,          // [size]
    T* __restrict__ dz,               // [size]
    int size) {
    for (unsigned i = flat_thread(); i < size; i += flat_stride()) {
        const T gradient = (dh ? dh[i] : T(0)) + (recurrent ? recurrent[i] : T(0));
        dz[i] = gradient * Activation::backward(h[i], T(0));
    }
}

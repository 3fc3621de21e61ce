// optimizers.cu: the update rules of gpunet/optimizers.py over a model's flat buffers, and the clipping of its
// gradient.
//
// One launch updates all parameters. Memory-bound: Adam reads p, g, m, v and writes p, m, v, 28 bytes a parameter in
// float for some 15 FLOPs, so each thread moves 16 bytes at a time. The learning rate and the number of the step lie on
// the device: a recorded step reads them anew at every replay, and begin_step moves them on.
//
// Options: REAL. Launch, where nothing else is said: grid-stride; grid (ceil(size / (256 * VECTOR)),) or fewer,
// block (256,).

#include "common.cuh"

// Count the step and look up its learning rate: rates[i] is the rate of the step after `first + i` steps; beyond the
// ends the first or last one holds. Launch: one thread.
extern "C" __global__ void begin_step(
    const T* __restrict__ rates,       // [count]
    long long* __restrict__ step,      // [1]
    T* __restrict__ rate,              // [1]
    long long first, int count) {
    rate[0] = rates[min(max(step[0] - first, 0LL), count - 1LL)];
    step[0] += 1;
}

// Call rule(p, g, s, t) for every parameter, its gradient and its state; s and t may be null.
template <typename Rule>
DEVICE void update_each(T* p, const T* g, T* s, T* t, int size, Rule rule) {
    const unsigned vectors = aligned(p) && aligned(g) && aligned(s) && aligned(t) ? size / VECTOR : 0;
    for (unsigned i = flat_thread(); i < vectors; i += flat_stride()) {
        const unsigned place = i * VECTOR;
        Vector parameter = load(p + place), first = {}, second = {};
        const Vector gradient = load(g + place);
        if (s) first = load(s + place);
        if (t) second = load(t + place);
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) rule(parameter.v[j], gradient.v[j], first.v[j], second.v[j]);
        store(p + place, parameter);
        if (s) store(s + place, first);
        if (t) store(t + place, second);
    }
    for (unsigned i = vectors * VECTOR + flat_thread(); i < size; i += flat_stride()) {
        T first = s ? s[i] : T(0), second = t ? t[i] : T(0);
        rule(p[i], g[i], first, second);
        if (s) s[i] = first;
        if (t) t[i] = second;
    }
}

// v = momentum v + g, p -= rate v; with nesterov, p -= rate (g + momentum v). Without a velocity v is g.
extern "C" __global__ void __launch_bounds__(256) sgd(
    T* __restrict__ p,             // [size]
    const T* __restrict__ g,       // [size]
    T* __restrict__ velocity,      // [size] or null
    const T* __restrict__ rate,    // [1]
    int size, T momentum, T weight_decay, bool nesterov) {
    const T lr = rate[0];
    update_each(p, g, velocity, nullptr, size, [=](T& p, T g, T& v, T&) {
        g += weight_decay * p;
        v = momentum * v + g;
        p -= lr * (nesterov ? g + momentum * v : v);
    });
}

// Adam with the scaled moments m / (1 - beta1), v / (1 - beta2) of optimizers.py; AdamW where `decoupled`.
// 1 - beta^t is computed as -expm1(t log(beta)), which loses no digits where beta is near 1.
extern "C" __global__ void __launch_bounds__(256) adam(
    T* __restrict__ p,                     // [size]
    const T* __restrict__ g,               // [size]
    T* __restrict__ m,                     // [size]
    T* __restrict__ v,                     // [size]
    const T* __restrict__ rate,            // [1]
    const long long* __restrict__ step,    // [1]: 1 in the first step
    int size, T beta1, T beta2, T log_beta1, T log_beta2,
    T rest1, T rest2,                      // 1 - beta1 and 1 - beta2, rounded once
    T eps, T weight_decay, bool decoupled) {
    const T t = static_cast<T>(step[0]), lr = rate[0];
    const T a = lr * rest1 / -real::expm1(t * log_beta1);
    const T r = real::sqrt(rest2 / -real::expm1(t * log_beta2));
    const T scale = a / r, floor = eps / r;
    const T shrink = decoupled ? T(1) - lr * weight_decay : T(1), decay = decoupled ? T(0) : weight_decay;
    update_each(p, g, m, v, size, [=](T& p, T g, T& m, T& v) {
        g += decay * p;
        m = beta1 * m + g;
        v = beta2 * v + g * g;
        p = p * shrink - scale * (m / (real::sqrt(v) + floor));
    });
}

// v = alpha v + (1 - alpha) g^2, p -= rate g / (sqrt(v) + eps); with a velocity u = momentum u + g / (...), p -= rate
// u.
extern "C" __global__ void __launch_bounds__(256) rmsprop(
    T* __restrict__ p,             // [size]
    const T* __restrict__ g,       // [size]
    T* __restrict__ v,             // [size]
    T* __restrict__ velocity,      // [size] or null
    const T* __restrict__ rate,    // [1]
    int size, T alpha, T rest,     // 1 - alpha, rounded once
    T eps, T weight_decay, T momentum) {
    const T lr = rate[0];
    update_each(p, g, v, velocity, size, [=](T& p, T g, T& v, T& u) {
        g += weight_decay * p;
        v = alpha * v + rest * (g * g);
        u = momentum * u + g / (real::sqrt(v) + eps);
        p -= lr * u;
    });
}

// g *= min(max_norm / (norm + 1e-6), 1), the norm being the root of the sum of partial_squares, which sum_squares of
// reduce.cu leaves. Every block adds those up for itself, in the same order: cheaper than a launch that does it once.
extern "C" __global__ void __launch_bounds__(256) clip_norm(
    T* __restrict__ g,                        // [size]
    const T* __restrict__ partial_squares,    // [count]
    int size, int count, T max_norm) {
    __shared__ T scratch[256 / WARP];
    __shared__ T factor;
    T squares = 0;
    for (int i = threadIdx.x; i < count; i += 256) squares += partial_squares[i];
    squares = block_sum(squares, scratch);
    if (threadIdx.x == 0) {
        const T quotient = max_norm / (real::sqrt(squares) + T(1e-6));
        factor = quotient > T(1) ? T(1) : quotient;
    }
    __syncthreads();
    const T scale = factor;
    const unsigned vectors = aligned(g) ? size / VECTOR : 0;
    for (unsigned i = flat_thread(); i < vectors; i += flat_stride()) {
        Vector gradient = load(g + i * VECTOR);
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) gradient.v[j] *= scale;
        store(g + i * VECTOR, gradient);
    }
    for (unsigned i = vectors * VECTOR + flat_thread(); i < size; i += flat_stride()) g[i] *= scale;
}

// g = g, but no less than -limit and no more than limit; NaN stays NaN. Launch: grid (ceil(size / 256),) or fewer.
extern "C" __global__ void __launch_bounds__(256) clip_value(
    T* __restrict__ g,    // [size]
    int size, T limit) {
    for (unsigned i = flat_thread(); i < size; i += flat_stride())
        g[i] = g[i] > limit ? limit : g[i] < -limit ? -limit : g[i];
}

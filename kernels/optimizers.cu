// optimizers.cu: the update rules of gpunet/optimizers/ over a model's flat buffers, and gradient clipping.
//
// Two launches. begin_step counts the step and writes one sum of squares of the gradient per block. A rule adds these
// sums up, finds whether the step is applied, and updates all parameters. Every block adds up all sums by itself, in the
// same order: the sums are few, and waiting for another block would add latency. If groups of parameters have their own
// settings, or some are frozen, the rule is launched for each range of the buffers.
//
// Memory-bound: begin_step reads the gradient, 4 bytes per parameter in float; Adam reads p, g, m, v and writes p, m,
// v, 28 bytes for about 15 FLOPs (and the gradient if it is clipped). So each thread moves 16 bytes at a time. All
// values that change from step to step are in device memory and are advanced there, so that a recorded step can be
// replayed.
//
// The squares are summed in T, and again in double if that overflows (in float, for elements from 1e19 on), as on the
// CPU. Summing in double from the start would cost nothing on an H100; but on a GPU with 2 double FLOPs per 128 float
// FLOPs, the sum over a block would take longer than loading the gradient.
//
// Options: REAL. Launch: grid-stride; grid (ceil(size / (256 * VECTOR)),) or fewer, block (256,).

#include "update_rules.cuh"

// Indices of `progress`.
constexpr int STEPS = 0;          // completed steps; after begin_step including this one
constexpr int RATES_FROM = 1;     // rates[0] is the rate after this number of completed steps
constexpr int FIRST_SKIPPED = 2;  // the first step that was not applied, counted from 1; 0: none

template <typename Real>
DEVICE bool is_finite(Real x) {
    return x - x == Real(0);
}

// The sum of the squares of the elements that this block reads, in every thread; NaN if one of them is NaN or infinite.
template <typename Real>
DEVICE Real square_sum(const T* g, int size, Real* scratch) {
    const unsigned vectors = aligned(g) ? size / VECTOR : 0;
    const auto square = [](Real x) { return x * x + (x - x); };  // NaN for an infinite x too
    Real squares = 0;
    for (unsigned i = flat_thread(); i < vectors; i += flat_stride()) {
        const Vector value = load(g + i * VECTOR);
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) squares += square(value.v[j]);
    }
    for (unsigned i = vectors * VECTOR + flat_thread(); i < size; i += flat_stride()) squares += square(g[i]);
    return block_sum(squares, scratch);
}

// Count the step, look up the learning rate of each group (clamped to the ends of its `rates`), and sum the squares of
// the gradient. A sum over `most` becomes NaN, so that the step is not applied: the rule's state, which holds squares,
// would overflow permanently.
// FLOPs: 3 * size
extern "C" __global__ void __launch_bounds__(256) begin_step(
    const T* __restrict__ g,                 // [size]
    double* __restrict__ partial_squares,    // [grid_x]
    const T* __restrict__ rates,             // [groups * count]
    T* __restrict__ rate,                    // [groups]
    long long* progress,                     // [3]
    int size, int count, int groups, double most) {
    __shared__ T scratch[256 / WARP];
    __shared__ double wide_scratch[256 / WARP];
    double squares = square_sum(g, size, scratch);
    if (!is_finite(squares)) squares = square_sum(g, size, wide_scratch);
    if (threadIdx.x == 0) partial_squares[blockIdx.x] = squares > most ? __int_as_float(0x7fc00000) : squares;
    if (flat_thread() != 0) return;
    const long long done = progress[STEPS], place = done - progress[RATES_FROM];
    const int now = static_cast<int>(min(max(place, 0LL), count - 1LL));
    for (int group = 0; group < groups; ++group) rate[group] = rates[group * count + now];
    progress[STEPS] = done + 1;
}

// A step: its number from 1 on, its learning rate, and the factor of the gradient; with factor 0 the step is not
// applied.
struct Update {
    T step, rate, factor;
};

// Find the factor that scales the gradient to a norm of at most max_norm (0: no limit), min(max_norm / (norm + 1e-6),
// 1), or 0 if an element is NaN or infinite. Return whether the sum of the squares fits Real; if not, the factor is not
// valid.
template <typename Real>
DEVICE bool find_factor(const double* partial_squares, int parts, T max_norm, Real* scratch, T& factor) {
    Real squares = 0;
    for (int i = threadIdx.x; i < parts; i += 256) squares += static_cast<Real>(partial_squares[i]);
    squares = block_sum(squares, scratch);
    const Real clip = max_norm > T(0) ? max_norm / (real::sqrt(squares) + Real(1e-6)) : Real(1);
    factor = squares != squares ? T(0) : clip < Real(1) ? static_cast<T>(clip) : T(1);
    return is_finite(squares);
}

// Return the update, and record the first step that is not applied.
DEVICE Update find_update(const double* partial_squares, const T* rate, long long* progress, int parts, T max_norm) {
    __shared__ T scratch[256 / WARP];
    __shared__ double wide_scratch[256 / WARP];
    T factor;
    if (!find_factor(partial_squares, parts, max_norm, scratch, factor))
        find_factor(partial_squares, parts, max_norm, wide_scratch, factor);
    const long long step = progress[STEPS];
    if (factor == T(0) && flat_thread() == 0 && progress[FIRST_SKIPPED] == 0) progress[FIRST_SKIPPED] = step;
    return {static_cast<T>(step), rate[0], factor};
}

// Call rule(p, g, s, t) for every parameter, its gradient and its state; s and t may be null. The gradient is scaled
// first, and stored scaled, as on the CPU.
template <typename Rule>
DEVICE void update_each(T* p, T* g, T* s, T* t, T factor, int size, Rule rule) {
    if (factor == T(0)) return;
    const unsigned vectors = aligned(p) && aligned(g) && aligned(s) && aligned(t) ? size / VECTOR : 0;
    for (unsigned i = flat_thread(); i < vectors; i += flat_stride()) {
        const unsigned place = i * VECTOR;
        Vector parameter = load(p + place), first = {}, second = {};
        Vector gradient = load(g + place);
        if (s) first = load(s + place);
        if (t) second = load(t + place);
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) gradient.v[j] *= factor;
        if (factor < T(1)) store(g + place, gradient);
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) rule(parameter.v[j], gradient.v[j], first.v[j], second.v[j]);
        store(p + place, parameter);
        if (s) store(s + place, first);
        if (t) store(t + place, second);
    }
    for (unsigned i = vectors * VECTOR + flat_thread(); i < size; i += flat_stride()) {
        T first = s ? s[i] : T(0), second = t ? t[i] : T(0);
        const T gradient = factor * g[i];
        if (factor < T(1)) g[i] = gradient;
        rule(p[i], gradient, first, second);
        if (s) s[i] = first;
        if (t) t[i] = second;
    }
}

// rule::Sgd of update_rules.cuh. Without a velocity buffer, v is g.
// FLOPs: 6 * size
extern "C" __global__ void __launch_bounds__(256) sgd(
    const double* __restrict__ partial_squares,    // [parts]
    const T* __restrict__ rate,                    // [1]
    long long* progress,                           // [3]
    int parts, T max_norm,
    T* __restrict__ p,           // [size]
    T* __restrict__ g,           // [size]
    T* __restrict__ velocity,    // [size] or null
    int size, T momentum, T weight_decay, bool nesterov) {
    const Update update = find_update(partial_squares, rate, progress, parts, max_norm);
    update_each(p, g, velocity, nullptr, update.factor, size, rule::Sgd{update.rate, momentum, weight_decay, nesterov});
}

// rule::Adam of update_rules.cuh.
// FLOPs: 15 * size
extern "C" __global__ void __launch_bounds__(256) adam(
    const double* __restrict__ partial_squares,    // [parts]
    const T* __restrict__ rate,                    // [1]
    long long* progress,                           // [3]
    int parts, T max_norm,
    T* __restrict__ p,          // [size]
    T* __restrict__ g,          // [size]
    T* __restrict__ m,          // [size]
    T* __restrict__ v,          // [size]
    int size, T beta1, T beta2, T log_beta1, T log_beta2,
    T rest1, T rest2,           // 1 - beta1 and 1 - beta2, each rounded once
    T eps, T weight_decay, bool decoupled) {
    const Update update = find_update(partial_squares, rate, progress, parts, max_norm);
    const T settings[] = {beta1, beta2, log_beta1, log_beta2, rest1, rest2, eps, weight_decay, T(decoupled)};
    update_each(p, g, m, v, update.factor, size, rule::Adam::of(update.step, update.rate, settings));
}

// v = alpha v + (1 - alpha) g^2, p -= rate g / (sqrt(v) + eps); with a velocity u = momentum u + g / (...), p -= rate
// u.
// FLOPs: 12 * size
extern "C" __global__ void __launch_bounds__(256) rmsprop(
    const double* __restrict__ partial_squares,    // [parts]
    const T* __restrict__ rate,                    // [1]
    long long* progress,                           // [3]
    int parts, T max_norm,
    T* __restrict__ p,            // [size]
    T* __restrict__ g,            // [size]
    T* __restrict__ v,            // [size]
    T* __restrict__ velocity,     // [size] or null
    int size, T alpha, T rest,    // 1 - alpha, rounded once
    T eps, T weight_decay, T momentum) {
    const Update update = find_update(partial_squares, rate, progress, parts, max_norm);
    update_each(p, g, v, velocity, update.factor, size, [=](T& p, T g, T& v, T& u) {
        g += weight_decay * p;
        v = alpha * v + rest * (g * g);
        u = momentum * u + g / (real::sqrt(v) + eps);
        p -= update.rate * u;
    });
}

// Clip g to [-limit, limit]; NaN stays NaN. Launch: grid (ceil(size / 256),) or fewer.
// FLOPs: 0
extern "C" __global__ void __launch_bounds__(256) clip_value(
    T* __restrict__ g,    // [size]
    int size, T limit) {
    for (unsigned i = flat_thread(); i < size; i += flat_stride())
        g[i] = g[i] > limit ? limit : g[i] < -limit ? -limit : g[i];
}

// mean += rest (p - mean): the moving average of the parameters, launched after the rule that updates them. mean is NaN
// before the first average, and then becomes p. A step that is not applied changes nothing.
// FLOPs: 3 * size
extern "C" __global__ void __launch_bounds__(256) average(
    const double* __restrict__ partial_squares,    // [parts]
    const T* __restrict__ rate,                    // [1]
    long long* progress,                           // [3]
    int parts, T max_norm,
    const T* __restrict__ p,    // [size]
    T* __restrict__ mean,       // [size]
    int size, T rest) {
    if (find_update(partial_squares, rate, progress, parts, max_norm).factor == T(0)) return;
    const unsigned vectors = aligned(p) && aligned(mean) ? size / VECTOR : 0;
    const auto moved = [=](T mean, T p) { return mean == mean ? mean + rest * (p - mean) : p; };
    for (unsigned i = flat_thread(); i < vectors; i += flat_stride()) {
        const Vector parameter = load(p + i * VECTOR);
        Vector value = load(mean + i * VECTOR);
#pragma unroll
        for (int j = 0; j < VECTOR; ++j) value.v[j] = moved(value.v[j], parameter.v[j]);
        store(mean + i * VECTOR, value);
    }
    for (unsigned i = vectors * VECTOR + flat_thread(); i < size; i += flat_stride()) mean[i] = moved(mean[i], p[i]);
}

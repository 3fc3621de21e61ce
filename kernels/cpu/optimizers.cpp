// optimizers.cpp: the update rules of gpunet/optimizers/ over a model's flat buffers, and gradient clipping.
//
// All kernels that are divided work on blocks of BLOCK elements: [begin, end) are blocks, `parts` is their number. A
// step is: clip_value, if requested; squares, one sum per block; a rule; average, if requested; end_step. Each call of
// a rule computes the update itself, from the sums of all blocks in their order, as these are few. Values that change
// from step to step are in `progress` and `rates`.
//
// Memory-bound: Adam reads p, g, m, v and writes p, m, v, 28 bytes for about 15 FLOPs (and the gradient if it is
// clipped), so each rule is one pass.

#include "common.h"
#include "math.h"
#include "vector.h"

constexpr Int BLOCK = 16384;

// Indices of `progress`.
constexpr int STEPS = 0;          // completed steps
constexpr int RATES_FROM = 1;     // the number of completed steps that rates[0] belongs to
constexpr int FIRST_SKIPPED = 2;  // the first step that was not applied, counted from 1; 0: none

struct Range {
    Int first, last;
};

DEVICE Range elements(Int begin, Int end, Int size) {
    return {smaller(begin * BLOCK, size), smaller(end * BLOCK, size)};
}

// The sum of the squares; NaN if an element is NaN or infinite. Computed in T, and again in double if that overflows.
DEVICE double square_sum(const T* g, Int n) {
    const double sum = sum_terms<T, 4 * LANES>(n, [=](Int i) { return g[i] * g[i]; });
    if (sum - sum == 0) return sum;  // finite
    return sum_terms<double>(n, [=](Int i) {
        const double x = g[i];
        return x * x + (x - x);
    });
}

// The sum of each part; NaN for a sum over `most`, with which the rule's state would overflow.
// FLOPs: 2 * size
static void squares(Int begin, Int end,
                    const T* g,                 // [size]
                    double* partial_squares,    // [parts]
                    Int size, Int parts, double most) {
    for (Int part = begin; part < end; ++part) {
        const Range own = elements(part, part + 1, size);
        const double sum = square_sum(g + own.first, own.last - own.first);
        partial_squares[part] = sum > most ? __builtin_nan("") : sum;
    }
}
SLICES(squares)

// Clip g to [-limit, limit]; NaN stays NaN.
// FLOPs: 0
static void clip_value(Int begin, Int end,
                       T* g,    // [size]
                       Int size, Int parts, T limit) {
    const Range own = elements(begin, end, size);
    for (Int i = own.first; i < own.last; ++i) g[i] = g[i] > limit ? limit : g[i] < -limit ? -limit : g[i];
}
SLICES(clip_value)

// The factor that scales the gradient to a norm of at most max_norm (0: no limit), min(max_norm / (norm + 1e-6), 1). It
// is 0 if an element is NaN or infinite: the step is not applied.
DEVICE double clip_factor(const double* partial_squares, Int parts, double max_norm) {
    double squares = 0;
    for (Int part = 0; part < parts; ++part) squares += partial_squares[part];
    const double clip = max_norm > 0 ? max_norm / (real::sqrt(squares) + 1e-6) : 1;
    return squares == squares ? smaller(clip, 1.0) : 0;
}

// A step: its number from 1 on, its learning rate, and the factor of the gradient.
struct Update {
    double step, rate, factor;
};

DEVICE Update find_update(const double* partial_squares, const double* rates, const Int* progress, Int parts, Int count,
                          double max_norm) {
    const Int done = progress[STEPS], place = done - progress[RATES_FROM];
    const double rate = rates[larger<Int>(smaller(place, count - 1), 0)];
    return {static_cast<double>(done + 1), rate, clip_factor(partial_squares, parts, max_norm)};
}

template <bool CLIPPED, bool FIRST, bool SECOND, typename Rule>
DEVICE void update_range(T* __restrict__ p, T* __restrict__ g, T* __restrict__ s, T* __restrict__ t, Range own,
                         T factor, Rule rule) {
    INDEPENDENT
    for (Int i = own.first; i < own.last; ++i) {
        const T gradient = CLIPPED ? factor * g[i] : g[i];
        if constexpr (CLIPPED) g[i] = gradient;
        T parameter = p[i], first = FIRST ? s[i] : T(0), second = SECOND ? t[i] : T(0);
        rule(parameter, gradient, first, second);
        p[i] = parameter;
        if constexpr (FIRST) s[i] = first;
        if constexpr (SECOND) t[i] = second;
    }
}

// Call rule(p, g, s, t) for every parameter, its gradient and its state; FIRST and SECOND say whether s and t exist.
// The gradient is scaled first, and stored scaled.
template <bool FIRST, bool SECOND, typename Rule>
DEVICE void update_each(T* p, T* g, T* s, T* t, Range own, double factor, Rule rule) {
    if (factor == 0) return;
    if (factor < 1) update_range<true, FIRST, SECOND>(p, g, s, t, own, static_cast<T>(factor), rule);
    else update_range<false, FIRST, SECOND>(p, g, s, t, own, T(1), rule);
}

// v = momentum v + g, p -= rate v; with nesterov, p -= rate (g + momentum v). Without a velocity buffer, v is g.
// FLOPs: 6 * size
static void sgd(Int begin, Int end,
                const double* partial_squares,    // [parts]
                const double* rates,              // [count]
                const Int* progress,              // [3]
                Int parts, Int count, double max_norm,
                T* p,           // [size]
                T* g,           // [size]
                T* velocity,    // [size] or null
                Int size, T momentum, T weight_decay, bool nesterov) {
    const Update update = find_update(partial_squares, rates, progress, parts, count, max_norm);
    const Range own = elements(begin, end, size);
    const T rate = static_cast<T>(update.rate), ahead = nesterov ? momentum : T(0);
    if (!velocity)
        return update_each<false, false>(p, g, nullptr, nullptr, own, update.factor, [=](T& p, T g, T&, T&) {
            g += weight_decay * p;
            p -= rate * (g + ahead * g);
        });
    const auto rule = [=](auto look_ahead) {
        return [=](T& p, T g, T& v, T&) {
            g += weight_decay * p;
            v = momentum * v + g;
            p -= rate * (look_ahead ? g + momentum * v : v);
        };
    };
    if (nesterov) update_each<true, false>(p, g, velocity, nullptr, own, update.factor, rule(std::true_type{}));
    else update_each<true, false>(p, g, velocity, nullptr, own, update.factor, rule(std::false_type{}));
}
SLICES(sgd)

// Adam with the scaled moments m / (1 - beta1), v / (1 - beta2) of gpunet/optimizers/adam.py; AdamW if `decoupled`. 1 -
// beta^t is computed as -expm1(t log(beta)), which loses no precision for beta near 1.
// FLOPs: 15 * size
static void adam(Int begin, Int end,
                 const double* partial_squares,    // [parts]
                 const double* rates,              // [count]
                 const Int* progress,              // [3]
                 Int parts, Int count, double max_norm,
                 T* p,    // [size]
                 T* g,    // [size]
                 T* m,    // [size]
                 T* v,    // [size]
                 Int size, double beta1, double beta2, double log_beta1, double log_beta2,
                 double rest1, double rest2,    // 1 - beta1 and 1 - beta2
                 double eps, double weight_decay, bool decoupled) {
    const Update update = find_update(partial_squares, rates, progress, parts, count, max_norm);
    const double a = update.rate * rest1 / -real::expm1(update.step * log_beta1);
    const double r = real::sqrt(rest2 / -real::expm1(update.step * log_beta2));
    const T scale = static_cast<T>(a / r), floor = static_cast<T>(eps / r);
    const T keep1 = static_cast<T>(beta1), keep2 = static_cast<T>(beta2);
    const T shrink = static_cast<T>(decoupled ? 1 - update.rate * weight_decay : 1);
    const T decay = static_cast<T>(decoupled ? 0 : weight_decay);
    const auto rule = [=](T& p, T g, T& m, T& v) {
        g += decay * p;
        m = keep1 * m + g;
        v = keep2 * v + g * g;
        p = p * shrink - scale * (m / (real::sqrt(v) + floor));
    };
    update_each<true, true>(p, g, m, v, elements(begin, end, size), update.factor, rule);
}
SLICES(adam)

// v = alpha v + (1 - alpha) g^2, p -= rate g / (sqrt(v) + eps); with a velocity u = momentum u + g / (...), p -= rate
// u.
// FLOPs: 12 * size
static void rmsprop(Int begin, Int end,
                    const double* partial_squares,    // [parts]
                    const double* rates,              // [count]
                    const Int* progress,              // [3]
                    Int parts, Int count, double max_norm,
                    T* p,           // [size]
                    T* g,           // [size]
                    T* v,           // [size]
                    T* velocity,    // [size] or null
                    Int size, T alpha, T rest,    // 1 - alpha, rounded once
                    T eps, T weight_decay, T momentum) {
    const Update update = find_update(partial_squares, rates, progress, parts, count, max_norm);
    const Range own = elements(begin, end, size);
    const T rate = static_cast<T>(update.rate);
    const auto rule = [=](T& p, T g, T& v, T& u) {
        g += weight_decay * p;
        v = alpha * v + rest * (g * g);
        u = momentum * u + g / (real::sqrt(v) + eps);
        p -= rate * u;
    };
    if (velocity) update_each<true, true>(p, g, v, velocity, own, update.factor, rule);
    else update_each<true, false>(p, g, v, nullptr, own, update.factor, rule);
}
SLICES(rmsprop)

// mean += rest (p - mean): the moving average of the parameters, after the rule has updated them. mean is NaN before
// the first average, and then becomes p. A step that is not applied changes nothing.
// FLOPs: 3 * size
static void average(Int begin, Int end,
                    const double* partial_squares,    // [parts]
                    Int parts, double max_norm,
                    const T* __restrict__ p,    // [size]
                    T* __restrict__ mean,       // [size]
                    Int size, T rest) {
    if (clip_factor(partial_squares, parts, max_norm) == 0) return;
    const Range own = elements(begin, end, size);
    INDEPENDENT
    for (Int i = own.first; i < own.last; ++i) mean[i] = mean[i] == mean[i] ? mean[i] + rest * (p[i] - mean[i]) : p[i];
}
SLICES(average)

// Count the step; record its number if it is the first that was not applied.
// FLOPs: parts
static void end_step(Int begin, Int end,
                     const double* partial_squares,    // [parts]
                     Int* progress,                    // [3]
                     Int parts, double max_norm) {
    const Int step = ++progress[STEPS];
    const bool skipped = clip_factor(partial_squares, parts, max_norm) == 0;
    if (skipped && progress[FIRST_SKIPPED] == 0) progress[FIRST_SKIPPED] = step;
}
WHOLE(end_step)

// update_rules.cuh: the update rules of gpunet/optimizers/ for one parameter: rule(p, g, s, t) updates the parameter p
// and its state s, t with the gradient g. A rule is constructed for a step, from its number (1, 2, ...), its learning
// rate and the settings of the optimizer.

#pragma once
#include "common.cuh"

namespace rule {

// v = momentum v + g, p -= rate v; with nesterov, p -= rate (g + momentum v).
struct Sgd {
    T rate, momentum, weight_decay, nesterov;

    // settings: momentum, weight_decay, nesterov
    static DEVICE Sgd of(T, T rate, const T* settings) { return {rate, settings[0], settings[1], settings[2]}; }

    DEVICE void operator()(T& p, T g, T& v, T&) const {
        g += weight_decay * p;
        v = momentum * v + g;
        p -= rate * (nesterov != T(0) ? g + momentum * v : v);
    }
};

// Adam with the scaled moments m / (1 - beta1), v / (1 - beta2) of gpunet/optimizers/adam.py; AdamW if decoupled.
// 1 - beta^t is computed as -expm1(t log(beta)), which loses no precision for beta near 1.
struct Adam {
    T scale, floor, shrink, decay, beta1, beta2;

    // settings: beta1, beta2, their logarithms, 1 - beta1, 1 - beta2 (each rounded once), eps, weight_decay, decoupled
    static DEVICE Adam of(T step, T rate, const T* settings) {
        const T a = rate * settings[4] / -real::expm1(step * settings[2]);
        const T r = real::sqrt(settings[5] / -real::expm1(step * settings[3]));
        const bool decoupled = settings[8] != T(0);
        return {a / r, settings[6] / r, decoupled ? T(1) - rate * settings[7] : T(1), decoupled ? T(0) : settings[7],
                settings[0], settings[1]};
    }

    DEVICE void operator()(T& p, T g, T& m, T& v) const {
        g += decay * p;
        m = beta1 * m + g;
        v = beta2 * v + g * g;
        p = p * shrink - scale * (m / (real::sqrt(v) + floor));
    }
};

}  // namespace rule

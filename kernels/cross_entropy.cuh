// cross_entropy.cuh: the softmax cross-entropy of a row of logits z and its gradient, with the formula of
// gpunet/ops/_softmax_cross_entropy.py:
//
//     loss = sum_j t_j (lse - z_j),    dz_j = softmax(z)_j sum_k t_k - t_j
//
// where t_j = share c_j ((1 - smoothing) target_j + smoothing / classes), with class weights c.

#pragma once
#include "common.cuh"

// The weights of a row's targets.
struct TargetWeights {
    T share;
    const T* of_class;  // or null
    T smoothing, classes;

    DEVICE T operator()(int j, T target) const {
        const T smooth = (T(1) - smoothing) * target + smoothing / classes;
        return share * (of_class ? of_class[j] * smooth : smooth);
    }
};

// The sums over a row. The lanes of a row read its logits three times: first for the maximum, which starts with any
// logit, then for the sums, which join() adds up over the lanes, then for the gradient.
struct RowSums {
    T largest;
    T total = 0, mass = 0, product = 0;  // of exp(z - largest), t, t (z - largest)

    DEVICE T below(T z) const { return z - largest < LOWEST_LOGIT ? T(LOWEST_LOGIT) : z - largest; }

    DEVICE void raise(T z) { largest = z > largest ? z : largest; }

    DEVICE void add(T z, T t) {
        total += real::exp(below(z));
        mass += t;
        product += t * below(z);
    }

    template <int SPAN>
    DEVICE void join() {
        total = warp_sum<SPAN>(total);
        mass = warp_sum<SPAN>(mass);
        product = warp_sum<SPAN>(product);
    }

    DEVICE T loss() const { return mass * real::log(total) - product; }
    DEVICE T softmax(T z) const { return real::exp(below(z)) * (mass / total); }  // multiplied by the sum of all t
};

// activations.h: the activation functions y = f(z) and their derivatives, with the formulas of
// gpunet/ops/activations.py.
//
// CUDA and CPU kernels include it after common.cuh or cpu/common.h, which define T, DEVICE and namespace real.
//
// A kernel is compiled for one function: -DACTIVATION=relu. forward(z) is f(z); backward(saved) is f', computed from
// what the function saves: z for silu, gelu, gelu_tanh and custom, y for all others. `parameter` is the negative slope
// of leaky_relu, the alpha of elu and the limit of soft_clip. NaN stays NaN.
//
// A user-defined function: -DACTIVATION=custom with two expressions in z, -DUSER_FORWARD='z > 0 ? z * z : T(0)'
// -DUSER_BACKWARD='z > 0 ? 2 * z : T(0)'. They may call CUDA's math functions, such as tanh(z), in T. Write constants
// as T(0.5): a plain 0.5 is a double and slows a float kernel down.

#pragma once

#ifndef ACTIVATION
#define ACTIVATION identity
#endif

namespace activation {

// Beyond +-LIMIT the sigmoid, erf and tanh below are 0, 1 or -1, in double too. Their factor is clamped to the limit,
// as infinity times zero is NaN.
constexpr T LIMIT = T(1000);

DEVICE T bounded_below(T z) { return z < -LIMIT ? -LIMIT : z; }
DEVICE T bounded(T z) { return z > LIMIT ? LIMIT : bounded_below(z); }

DEVICE T logistic(T z) { return T(1) / (T(1) + real::exp(-z)); }

struct identity {
    static DEVICE T forward(T z, T) { return z; }
    static DEVICE T backward(T, T) { return T(1); }
};

struct relu {
    static DEVICE T forward(T z, T) { return z < T(0) ? T(0) : z; }
    static DEVICE T backward(T y, T) { return y > T(0) ? T(1) : T(0); }
};

struct leaky_relu {
    static DEVICE T forward(T z, T slope) {
        if (slope == T(0)) return relu::forward(z, slope);  // infinity times zero is NaN
        return z > T(0) ? z : slope * z;
    }
    static DEVICE T backward(T y, T slope) { return y > T(0) ? T(1) : slope; }
};

struct elu {
    static DEVICE T forward(T z, T alpha) { return z > T(0) ? z : alpha * real::expm1(z); }
    static DEVICE T backward(T y, T alpha) { return y > T(0) ? T(1) : y + alpha; }
};

struct selu {
    static constexpr T SCALE = T(1.0507009873554805), LIMIT = T(1.7580993408473766);
    static DEVICE T forward(T z, T) { return z > T(0) ? SCALE * z : LIMIT * real::expm1(z); }
    static DEVICE T backward(T y, T) { return y > T(0) ? SCALE : y + LIMIT; }
};

struct sigmoid {
    static DEVICE T forward(T z, T) { return logistic(z); }
    static DEVICE T backward(T y, T) { return y * (T(1) - y); }
};

struct tanh {
    static DEVICE T forward(T z, T) { return real::tanh(z); }
    static DEVICE T backward(T y, T) { return T(1) - y * y; }
};

struct soft_clip {
    static DEVICE T between(T z, T limit) { return z > limit ? limit : z < -limit ? -limit : z; }
    static DEVICE T forward(T z, T limit) {
        const T ratio = between(z * (T(1) / limit), T(1e9));
        return ratio / real::sqrt(T(1) + ratio * ratio) * limit;
    }
    static DEVICE T backward(T y, T limit) {
        const T ratio = between(y * (T(1) / limit), T(1));
        const T square = T(1) - ratio * ratio;
        return square * real::sqrt(square);
    }
};

struct softplus {
    static DEVICE T forward(T z, T) { return (z < T(0) ? T(0) : z) + real::log1p(real::exp(-real::abs(z))); }
    static DEVICE T backward(T y, T) { return -real::expm1(-y); }
};

struct silu {
    static DEVICE T forward(T z, T) { return bounded_below(z) * logistic(z); }
    static DEVICE T backward(T z, T) {
        const T s = logistic(z);
        return s * (T(1) + bounded(z) * (T(1) - s));
    }
};

struct gelu {
    static DEVICE T normal_distribution(T z) { return T(0.5) * (T(1) + real::erf(z * T(0.70710678118654752))); }
    static DEVICE T forward(T z, T) { return bounded_below(z) * normal_distribution(z); }
    static DEVICE T backward(T z, T) {
        const T density = T(0.39894228040143268) * real::exp(T(-0.5) * z * z);
        return normal_distribution(z) + (density > T(0) ? z * density : T(0));  // infinity times zero is NaN
    }
};

struct gelu_tanh {
    static constexpr T SQRT_2_OVER_PI = T(0.79788456080286536);
    static DEVICE T inner(T z) { return real::tanh(SQRT_2_OVER_PI * z * (T(1) + T(0.044715) * z * z)); }
    static DEVICE T forward(T z, T) { return bounded_below(z) * (T(0.5) * (T(1) + inner(z))); }
    static DEVICE T backward(T z, T) {
        z = bounded(z);
        const T t = inner(z);
        const T slope = SQRT_2_OVER_PI * (T(1) + T(3 * 0.044715) * z * z);
        return T(0.5) * (T(1) + t + z * slope * (T(1) - t * t));
    }
};

}  // namespace activation

#ifdef USER_FORWARD
// A separate namespace: in the one above, `tanh` is a struct. cpu/cuda_math.h defines CUDA's functions in this one.
namespace user {
struct Activation {
    static DEVICE T forward(T z, T) { return USER_FORWARD; }
    static DEVICE T backward(T z, T) { return USER_BACKWARD; }
};
}  // namespace user
using user::Activation;
#else
using Activation = activation::ACTIVATION;
#endif

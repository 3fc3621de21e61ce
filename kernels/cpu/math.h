// math.h: exp, expm1, log, log1p, tanh, erf, sqrt and abs for float and double, written so that a loop over them
// vectorizes.

#pragma once
#include <cstdint>
#include <cstring>

#define ALWAYS_INLINE inline __attribute__((always_inline))

namespace real {

namespace detail {

// The layout of a type, and the coefficients of its polynomials from the lowest power up.
template <typename Real>
struct Format;

template <>
struct Format<float> {
    using Bits = uint32_t;
    static constexpr int MANTISSA_BITS = 23;
    static constexpr Bits BIAS = 127;
    static constexpr float MIN_NORMAL = 0x1p-126f;
    static constexpr float INTEGERS = 0x1p23f;  // every larger number is an integer
    static constexpr Bits SQRT_HALF = 0x3f3504f3;

    // ln 2 in two parts; the product of the first part and an exponent is exact.
    static constexpr float LN2_HIGH = 0x1.62e4p-1f, LN2_LOW = 0x1.7f7d1cp-20f;

    // Beyond these bounds exp, expm1, tanh and erf overflow, underflow or have reached their limit.
    static constexpr float EXP_MIN = -104, EXP_MAX = 89, EXPM1_MIN = -20, TANH_MAX = 10, ERF_MAX = 4;

    static constexpr float EXPM1[] = {0.49999997f, 0.16666539f, 0.0416677445f, 0.00836705137f, 0.00138392427f};
    static constexpr float LOG[] = {0.666667759f, 0.399775773f, 0.298710823f};
    static constexpr float ERF[] = {0.128379166f,   -0.37612626f,    0.112835787f,   -0.0268533472f,
                                    0.0051871622f, -0.000799785543f, 7.80693081e-05f};
    static constexpr float LOG_ERFC[] = {-0.000341570791f, -1.12708902f,    -0.638145089f,  -0.103106529f,
                                         0.0218379442f,    -0.00294762291f, 0.0001863746f};
};

template <>
struct Format<double> {
    using Bits = uint64_t;
    static constexpr int MANTISSA_BITS = 52;
    static constexpr Bits BIAS = 1023;
    static constexpr double MIN_NORMAL = 0x1p-1022;
    static constexpr double INTEGERS = 0x1p52;
    static constexpr Bits SQRT_HALF = 0x3fe6a09e667f3bcd;

    static constexpr double LN2_HIGH = 0x1.62e42feep-1, LN2_LOW = 0x1.a39ef35793c76p-33;

    static constexpr double EXP_MIN = -746, EXP_MAX = 710, EXPM1_MIN = -40, TANH_MAX = 20, ERF_MAX = 6;

    static constexpr double EXPM1[] = {0.50000000000000056,    0.16666666666666588,    0.041666666666576466,
                                       0.008333333333389736,   0.0013888888931667736,  0.00019841269718696555,
                                       2.4801505141830121e-05, 2.7557407702142562e-06, 2.7626093187877254e-07,
                                       2.5053770248535471e-08};
    static constexpr double LOG[] = {0.66666666666667351, 0.39999999999409314, 0.28571428743698785,
                                     0.22222198428164922, 0.18183572352324917, 0.15313833181732031,
                                     0.14798245478556216};
    static constexpr double ERF[] = {0.12837916709551256,     -0.37612638903183343,   0.11283791670936955,
                                     -0.026866170641960761,   0.0052239775967579281,  -0.00085483254864949154,
                                     0.00012055280554721606,  -1.492446701565775e-05, 1.6444170722631864e-06,
                                     -1.6184169436923032e-07, 1.3617571246817852e-08, -7.6096219041654847e-10};
    static constexpr double LOG_ERFC[] = {
        -5.0283926079424298e-07, -1.1283740895834458,    -0.63664362758352155,   -0.10270344096834946,
        0.018990181699366795,    0.00041062388507149937, -0.0019159391426969256, 0.00077063991189283961,
        -0.0001350483920369121,  -2.0267575931671085e-05, 2.2822832259858994e-05, -8.6672560282840044e-06,
        2.1356967614537201e-06,  -3.7330580543872164e-07, 4.6423186711993606e-08, -3.9342790376810741e-09,
        2.0449694881091133e-10,  -4.9286310139826271e-12};
};

template <typename Real>
using Bits = typename Format<Real>::Bits;

template <typename Real>
ALWAYS_INLINE Bits<Real> to_bits(Real x) {
    Bits<Real> bits;
    std::memcpy(&bits, &x, sizeof x);
    return bits;
}

template <typename Real>
ALWAYS_INLINE Real from_bits(Bits<Real> bits) {
    Real x;
    std::memcpy(&x, &bits, sizeof x);
    return x;
}

// 2^n, for the exponents n of normal numbers. Only the lowest bits of n matter, as many as the exponent field has.
template <typename Real>
ALWAYS_INLINE constexpr Bits<Real> power_bits(Bits<Real> n) {
    return (n + Format<Real>::BIAS) << Format<Real>::MANTISSA_BITS;
}

template <typename Real>
ALWAYS_INLINE Real power_of_two(Bits<Real> n) {
    return from_bits<Real>(power_bits<Real>(n));
}

// y, which is not negative, with the sign of x.
template <typename Real>
ALWAYS_INLINE Real with_sign(Real y, Real x) {
    constexpr Bits<Real> SIGN = Bits<Real>(1) << (8 * sizeof(Real) - 1);
    return from_bits<Real>(to_bits(y) | (to_bits(x) & SIGN));
}

ALWAYS_INLINE float multiply_add(float a, float b, float c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__FP_FAST_FMAF)
    return __builtin_fmaf(a, b, c);
#else
    return a * b + c;
#endif
}

ALWAYS_INLINE double multiply_add(double a, double b, double c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA) || defined(__FP_FAST_FMA)
    return __builtin_fma(a, b, c);
#else
    return a * b + c;
#endif
}

// coefficients[FIRST] + coefficients[FIRST + 1] x + ..., by Horner's rule.
template <int FIRST = 0, typename Real, int COUNT>
ALWAYS_INLINE Real polynomial(Real x, const Real (&coefficients)[COUNT]) {
    if constexpr (FIRST + 1 < COUNT)
        return multiply_add(polynomial<FIRST + 1>(x, coefficients), x, coefficients[FIRST]);
    else
        return coefficients[FIRST];
}

// x + ROUNDER rounds x to an integer n, and the lowest bits of the sum are those of n.
template <typename Real>
constexpr Real ROUNDER = Real(1.5) * Format<Real>::INTEGERS;

// exp(x) = 2^n (1 + fraction); n is also the lowest bits of `shifted`.
template <typename Real>
struct Exponential {
    Real shifted, n, fraction;
};

template <typename Real>
ALWAYS_INLINE Exponential<Real> exponential(Real x) {
    using F = Format<Real>;
    const Real shifted = multiply_add(x, Real(1.4426950408889634), ROUNDER<Real>);
    const Real n = shifted - ROUNDER<Real>;
    const Real r = multiply_add(n, -F::LN2_LOW, multiply_add(n, -F::LN2_HIGH, x));
    return {shifted, n, multiply_add(r, r * polynomial(r, F::EXPM1), r)};
}

// x = 2^k mantissa, the mantissa between sqrt(1/2) and sqrt(2).
template <typename Real>
struct Split {
    Bits<Real> biased_k;
    Real mantissa;

    ALWAYS_INLINE Real k(Real bias = Real(Format<Real>::BIAS)) const {
        constexpr Real INTEGERS = Format<Real>::INTEGERS;
        return from_bits<Real>(to_bits(INTEGERS) | biased_k) - (INTEGERS + bias);
    }
};

template <typename Real>
ALWAYS_INLINE Split<Real> split(Real x) {
    using F = Format<Real>;
    constexpr Bits<Real> FRACTION = (Bits<Real>(1) << F::MANTISSA_BITS) - 1;
    const Bits<Real> bits = to_bits(x) + (power_bits<Real>(0) - F::SQRT_HALF);
    return {bits >> F::MANTISSA_BITS, from_bits<Real>((bits & FRACTION) + F::SQRT_HALF)};
}

// k ln 2 + log(1 + f), for 1 + f between sqrt(1/2) and sqrt(2).
template <typename Real>
ALWAYS_INLINE Real log_sum(Real k, Real f) {
    using F = Format<Real>;
    const Real s = f / (Real(2) + f), z = s * s, half_square = Real(0.5) * f * f;
    const Real rest = multiply_add(z, polynomial(z, F::LOG), half_square);
    const Real correction = half_square - multiply_add(s, rest, k * F::LN2_LOW);
    return multiply_add(k, F::LN2_HIGH, f - correction);
}

// The logarithm of x: y, except for zero, infinity, negative numbers and NaN.
template <typename Real>
ALWAYS_INLINE Real log_at_ends(Real x, Real y) {
    const Real infinity = Real(__builtin_inf());
    const Real inside = x < infinity ? y : x;
    const Real outside = x == 0 ? -infinity : Real(__builtin_nan(""));
    return x > 0 ? inside : outside;
}

}  // namespace detail

ALWAYS_INLINE float sqrt(float x) { return __builtin_sqrtf(x); }
ALWAYS_INLINE double sqrt(double x) { return __builtin_sqrt(x); }

ALWAYS_INLINE float abs(float x) { return __builtin_fabsf(x); }
ALWAYS_INLINE double abs(double x) { return __builtin_fabs(x); }

template <typename Real>
ALWAYS_INLINE Real exp(Real x) {
    using namespace detail;
    using F = Format<Real>;
    x = x > F::EXP_MAX ? F::EXP_MAX : x;
    x = x < F::EXP_MIN ? F::EXP_MIN : x;
    const Exponential<Real> e = exponential(x);
    // 2^n as two factors, as it may be subnormal or overflow.
    const Bits<Real> half = to_bits(multiply_add(e.n, Real(0.5), ROUNDER<Real>));
    const Real scale = power_of_two<Real>(half);
    return multiply_add(scale, e.fraction, scale) * power_of_two<Real>(to_bits(e.shifted) - half);
}

template <typename Real>
ALWAYS_INLINE Real expm1(Real x) {
    using namespace detail;
    using F = Format<Real>;
    constexpr Real TINY = Real(0.25) / F::INTEGERS;
    Real clamped = x > F::EXP_MAX ? F::EXP_MAX : x;
    clamped = clamped < F::EXPM1_MIN ? F::EXPM1_MIN : clamped;
    const Exponential<Real> e = exponential(clamped);
    // Half of the result, as 2^n may overflow.
    const Real scale = power_of_two<Real>(to_bits(e.shifted) - 1);
    const Real y = Real(2) * multiply_add(scale, e.fraction, scale - Real(0.5));
    return abs(x) < TINY ? x : y;
}

template <typename Real>
ALWAYS_INLINE Real log(Real x) {
    using namespace detail;
    using F = Format<Real>;
    const bool subnormal = x < F::MIN_NORMAL;
    const Split<Real> s = split(subnormal ? F::INTEGERS * x : x);
    const Real k = s.k(subnormal ? Real(F::BIAS + F::MANTISSA_BITS) : Real(F::BIAS));
    return log_at_ends(x, log_sum(k, s.mantissa - Real(1)));
}

template <typename Real>
ALWAYS_INLINE Real log1p(Real x) {
    using namespace detail;
    using F = Format<Real>;
    const Real u = Real(1) + x, x_in_u = u - Real(1);
    const Real lost = (Real(1) - (u - x_in_u)) + (x - x_in_u);  // 1 + x = u + lost, exactly
    const Split<Real> s = split(u);
    const Real reciprocal = power_of_two<Real>(F::BIAS - s.biased_k);
    // For large x the lost part is negligible, and the reciprocal of 2^k may underflow.
    const Real f = (s.mantissa - Real(1)) + (x < F::INTEGERS ? lost * reciprocal : Real(0));
    return with_sign(log_at_ends(u, log_sum(s.k(), f)), x);
}

template <typename Real>
ALWAYS_INLINE Real tanh(Real x) {
    using namespace detail;
    using F = Format<Real>;
    Real a = abs(x);
    a = a > F::TANH_MAX ? F::TANH_MAX : a;
    const Exponential<Real> e = exponential(Real(-2) * a);
    const Real scale = power_of_two<Real>(to_bits(e.shifted));
    // (1 - exp(-2a)) / (1 + exp(-2a)), each rounded once.
    const Real numerator = multiply_add(-scale, e.fraction, Real(1) - scale);
    const Real denominator = multiply_add(scale, e.fraction, Real(1) + scale);
    return with_sign(numerator / denominator, x);
}

template <typename Real>
ALWAYS_INLINE Real erf(Real x) {
    using namespace detail;
    using F = Format<Real>;
    const Real a = abs(x);
    const Real small = multiply_add(a, polynomial(a * a, F::ERF), a);
    const Exponential<Real> e = exponential(polynomial(a > F::ERF_MAX ? F::ERF_MAX : a, F::LOG_ERFC));
    const Real scale = power_of_two<Real>(to_bits(e.shifted));
    const Real large = multiply_add(-scale, e.fraction, Real(1) - scale);
    return with_sign(a > Real(1) ? large : small, x);
}

}  // namespace real

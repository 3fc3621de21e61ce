// softmax_cross_entropy.cpp: the loss of logits z (rows, classes) and its gradient, with the formula of
// gpunet/ops/_softmax_cross_entropy.py:
//
//     losses_i = sum_j t_ij (lse_i - z_ij),    dz_ij = softmax(z)_ij sum_k t_ik - t_ij
//
// where t_ij = share_i c_j ((1 - smoothing) target_ij + smoothing / classes), share_i = w_i / N, with row weights w and
// class weights c; share_i is 0 if N is zero. The loss is the sum of `losses`. A label out of range counts as no class.
//
// The work is divided by rows. LANES rows form a group, in which the logarithms and the losses are computed together. Up to
// FEW classes, a group is first transposed to (classes, LANES), so that all loops run over LANES rows, without a
// remainder and without sums across a vector. With more classes the loops run along a row, which stays in cache: one
// for the maximum, one for the exponentials and their sum, one for the gradient.

#include "common.h"
#include "math.h"
#include "vector.h"

// Conditions that the caller may fix at compile time, so that only one case is compiled.
#ifndef FEW_CLASSES
#define FEW_CLASSES (classes <= FEW)
#endif
#ifndef SMOOTHED
#define SMOOTHED (smoothing != T(0))
#endif
#ifndef CLASS_WEIGHTS
#define CLASS_WEIGHTS (class_weight != nullptr)
#endif
#ifndef LABELS
#define LABELS 1
#endif
#ifndef DISTRIBUTIONS
#define DISTRIBUTIONS 1
#endif

constexpr Int FEW = 16;
constexpr T LOWEST = T(-3e38);  // below any difference to the largest logit; finite, so that 0 * LOWEST is not NaN

// N if rows or, with labels, classes have weights: sum_i w_i c_{label i}.
// FLOPs: 2 * rows
static void cross_entropy_norm(Int begin, Int end,
                               const T* weight,          // [rows] or null
                               const T* class_weight,    // [classes] or null
                               const Int* labels,        // [rows] or null
                               T* norm,                  // [1]
                               Int rows, Int classes) {
    norm[0] = static_cast<T>(sum_terms<double>(rows, [=](Int i) {
        const double share = weight ? weight[i] : T(1);
        if (!labels || !class_weight) return share;
        return labels[i] >= 0 && labels[i] < classes ? share * class_weight[labels[i]] : 0.0;
    }));
}
WHOLE(cross_entropy_norm)

// The arguments of a launch.
struct Batch {
    const T* logits;
    const Int* labels;    // or null
    const T* target;      // or null
    const T* weight;
    const T* class_weight;
    T* dlogits;
    T* losses;
    Int rows, classes;
    T smoothing, norm;

    DEVICE T share(Int row) const { return norm == T(0) ? T(0) : (weight ? weight[row] : T(1)) / norm; }
    DEVICE T of_class(Int j) const { return class_weight ? class_weight[j] : T(1); }
    DEVICE bool has_class(Int row) const { return labels[row] >= 0 && labels[row] < classes; }
};

template <typename Loss>
DEVICE void in_groups(const Batch& batch, Int begin, Int end, Loss loss) {
    for (Int row = begin; row < end; row += LANES) loss(batch, row, smaller(LANES, end - row));
}

DEVICE T not_below(T lowest, T distance) { return distance < lowest ? lowest : distance; }

// The terms of the losses of a group's rows, mass_i log(total_i) - product_i.
struct Group {
    T mass[LANES], total[LANES], product[LANES];

    DEVICE void write_losses(T* losses, Int count) const {
        T of_lanes[LANES];
        for (Int l = 0; l < LANES; ++l) of_lanes[l] = mass[l] * real::log(total[l]) - product[l];
        for (Int l = 0; l < count; ++l) losses[l] = of_lanes[l];
    }
};

// Without smoothing: the only class of a row with nonzero t_ij. For a label out of range the mass is zero.
struct Label {
    Int place;
    T mass;

    DEVICE static Label of(const Batch& batch, Int row) {
        if (!batch.has_class(row)) return {0, T(0)};
        return {batch.labels[row], batch.share(row) * batch.of_class(batch.labels[row])};
    }

    // t_ij (z_ij - largest). It is infinite for a class excluded by -inf, unless classes have weights.
    DEVICE T product(const Batch& batch, T distance) const {
        if (batch.class_weight) distance = not_below(LOWEST, distance);
        return mass == T(0) ? T(0) : mass * distance;
    }
};

// A group with few classes, transposed; lanes past the last row repeat it.
struct Tile {
    T z[FEW][LANES];

    DEVICE void load(const T* rows, Int count, Int classes) {
        for (Int l = 0; l < LANES; ++l)
            for (Int j = 0; j < classes; ++j) z[j][l] = rows[smaller(l, count - 1) * classes + j];
    }

    DEVICE void store(T* rows, Int count, Int classes) const {
        for (Int l = 0; l < count; ++l)
            for (Int j = 0; j < classes; ++j) rows[l * classes + j] = z[j][l];
    }

    DEVICE void subtract_largest(Int classes) {
        T largest[LANES];
        for (Int l = 0; l < LANES; ++l) largest[l] = z[0][l];
        for (Int j = 1; j < classes; ++j)
            for (Int l = 0; l < LANES; ++l) largest[l] = z[j][l] > largest[l] ? z[j][l] : largest[l];
        for (Int j = 0; j < classes; ++j)
            for (Int l = 0; l < LANES; ++l) z[j][l] -= largest[l];
    }

    DEVICE void exponentiate(T* total, Int classes) {
        for (Int l = 0; l < LANES; ++l) total[l] = 0;
        for (Int j = 0; j < classes; ++j)
            for (Int l = 0; l < LANES; ++l) {
                z[j][l] = real::exp(z[j][l]);
                total[l] += z[j][l];
            }
    }

    DEVICE void scale(const T* mass, const T* total, Int classes) {
        T ratio[LANES];
        for (Int l = 0; l < LANES; ++l) ratio[l] = mass[l] / total[l];
        for (Int j = 0; j < classes; ++j)
            for (Int l = 0; l < LANES; ++l) z[j][l] *= ratio[l];
    }
};

static void few_hard(const Batch& batch, Int first, Int count) {
    Tile tile;
    Group group;
    Int places[LANES];
    tile.load(batch.logits + first * batch.classes, count, batch.classes);
    tile.subtract_largest(batch.classes);
    for (Int l = 0; l < LANES; ++l) {
        const Label label = Label::of(batch, first + smaller(l, count - 1));
        places[l] = label.place;
        group.mass[l] = label.mass;
        group.product[l] = label.product(batch, tile.z[label.place][l]);
    }
    tile.exponentiate(group.total, batch.classes);
    tile.scale(group.mass, group.total, batch.classes);
    for (Int l = 0; l < LANES; ++l) tile.z[places[l]][l] -= group.mass[l];
    tile.store(batch.dlogits + first * batch.classes, count, batch.classes);
    group.write_losses(batch.losses + first, count);
}

// Write dz = exp(z - largest); return its sum.
DEVICE T exponentiate(const T* z, T* dz, T largest, Int classes) {
    return sum_terms<T>(classes, [=](Int j) { return dz[j] = real::exp(z[j] - largest); });
}

static void many_hard(const Batch& batch, Int first, Int count) {
    Group group = {};
    for (Int l = 0; l < count; ++l) {
        const Int row = first + l;
        const T* z = batch.logits + row * batch.classes;
        T* dz = batch.dlogits + row * batch.classes;
        const Label label = Label::of(batch, row);
        const T largest = largest_of(z, batch.classes);
        group.mass[l] = label.mass;
        group.product[l] = label.product(batch, z[label.place] - largest);
        group.total[l] = exponentiate(z, dz, largest, batch.classes);
        const T ratio = group.mass[l] / group.total[l];
        INDEPENDENT
        for (Int j = 0; j < batch.classes; ++j) dz[j] *= ratio;
        dz[label.place] -= label.mass;
    }
    group.write_losses(batch.losses + first, count);
}

// t_ij of a row: a smooth part for every class and, with labels, an extra part for the label.
template <bool SOFT_LABELS, bool WEIGHTED>
struct Target {
    const T* target;
    const T* class_weight;
    Int label;
    T share, keep, smooth, extra;

    DEVICE Target(const Batch& batch, Int row)
        : target(SOFT_LABELS ? batch.target + row * batch.classes : nullptr),
          class_weight(batch.class_weight),
          label(SOFT_LABELS ? 0 : Label::of(batch, row).place),
          share(batch.share(row)),
          keep(T(1) - batch.smoothing),
          smooth(batch.smoothing / static_cast<T>(batch.classes)),
          extra(SOFT_LABELS ? T(0) : keep * Label::of(batch, row).mass) {}

    DEVICE T operator[](Int j) const {
        const T own = SOFT_LABELS ? keep * target[j] + smooth : smooth;
        return share * (WEIGHTED ? class_weight[j] * own : own);
    }
};

template <bool SOFT_LABELS, bool WEIGHTED>
static void few_soft(const Batch& batch, Int first, Int count) {
    Tile tile, targets;
    Group group = {};
    const Int classes = batch.classes;
    tile.load(batch.logits + first * classes, count, classes);
    for (Int l = 0; l < LANES; ++l) {
        const Target<SOFT_LABELS, WEIGHTED> t(batch, first + smaller(l, count - 1));
        for (Int j = 0; j < classes; ++j) targets.z[j][l] = t[j];
        targets.z[t.label][l] += t.extra;
    }
    tile.subtract_largest(classes);
    for (Int j = 0; j < classes; ++j)
        for (Int l = 0; l < LANES; ++l) {
            group.mass[l] += targets.z[j][l];
            group.product[l] += targets.z[j][l] * not_below(LOWEST, tile.z[j][l]);
        }
    tile.exponentiate(group.total, classes);
    tile.scale(group.mass, group.total, classes);
    for (Int j = 0; j < classes; ++j)
        for (Int l = 0; l < LANES; ++l) tile.z[j][l] -= targets.z[j][l];
    tile.store(batch.dlogits + first * classes, count, classes);
    group.write_losses(batch.losses + first, count);
}

template <bool SOFT_LABELS, bool WEIGHTED>
static void many_soft(const Batch& batch, Int first, Int count) {
    Group group = {};
    const Int classes = batch.classes;
    for (Int l = 0; l < count; ++l) {
        const Int row = first + l;
        const T* z = batch.logits + row * classes;
        T* dz = batch.dlogits + row * classes;
        const Target<SOFT_LABELS, WEIGHTED> t(batch, row);
        const T largest = largest_of(z, classes);
        group.mass[l] = sum_terms<T>(classes, [=](Int j) { return t[j]; });
        group.product[l] = sum_terms<T>(classes, [=](Int j) { return t[j] * not_below(LOWEST, z[j] - largest); });
        group.mass[l] += t.extra;
        group.product[l] += t.extra * not_below(LOWEST, z[t.label] - largest);
        group.total[l] = exponentiate(z, dz, largest, classes);
        const T ratio = group.mass[l] / group.total[l];
        INDEPENDENT
        for (Int j = 0; j < classes; ++j) dz[j] = dz[j] * ratio - t[j];
        dz[t.label] -= t.extra;
    }
    group.write_losses(batch.losses + first, count);
}

template <bool SOFT_LABELS, bool WEIGHTED>
DEVICE void soft(const Batch& batch, Int begin, Int end) {
    [[maybe_unused]] const Int classes = batch.classes;
    if (FEW_CLASSES) in_groups(batch, begin, end, few_soft<SOFT_LABELS, WEIGHTED>);
    else in_groups(batch, begin, end, many_soft<SOFT_LABELS, WEIGHTED>);
}

#if LABELS
// FLOPs: 12 * rows * classes
static void softmax_cross_entropy_labels(Int begin, Int end,
                                         const T* logits,          // [rows * classes]
                                         const Int* labels,        // [rows]
                                         const T* weight,          // [rows] or null
                                         const T* class_weight,    // [classes] or null
                                         const T* norm,            // [1] or null: rows
                                         T* dlogits,               // [rows * classes]: may be the logits
                                         T* losses,                // [rows]
                                         Int rows, Int classes, T smoothing) {
    const T whole = norm ? norm[0] : static_cast<T>(rows);
    const Batch batch{logits, labels, nullptr, weight, class_weight, dlogits, losses, rows, classes, smoothing, whole};
    if (SMOOTHED && CLASS_WEIGHTS) soft<false, true>(batch, begin, end);
    else if (SMOOTHED) soft<false, false>(batch, begin, end);
    else if (FEW_CLASSES) in_groups(batch, begin, end, few_hard);
    else in_groups(batch, begin, end, many_hard);
}
ROWS(softmax_cross_entropy_labels)
#endif

#if DISTRIBUTIONS
// FLOPs: 12 * rows * classes
static void softmax_cross_entropy_distributions(Int begin, Int end,
                                                const T* logits,          // [rows * classes]
                                                const T* target,          // [rows * classes]
                                                const T* weight,          // [rows] or null
                                                const T* class_weight,    // [classes] or null
                                                const T* norm,            // [1] or null: rows
                                                T* dlogits,               // [rows * classes]: may be the logits
                                                T* losses,                // [rows]
                                                Int rows, Int classes, T smoothing) {
    const T whole = norm ? norm[0] : static_cast<T>(rows);
    const Batch batch{logits, nullptr, target, weight, class_weight, dlogits, losses, rows, classes, smoothing, whole};
    if (CLASS_WEIGHTS) soft<true, true>(batch, begin, end);
    else soft<true, false>(batch, begin, end);
}
ROWS(softmax_cross_entropy_distributions)
#endif

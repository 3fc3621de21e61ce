// metrics.cpp: which predictions of a batch are correct, and the sums of an epoch: totals[0] += loss * rows, totals[1]
// += correct predictions, with the rules of gpunet/training/running.py.
//
// Rows are independent. A class is the answer if no other class beats it: a larger output, or an equal one with a lower
// index; NaN beats every number, and the first NaN all others, as in NumPy's argmax. So checking a label only takes a
// count of comparisons, which vectorizes, instead of a search for the largest output.

#include "common.h"
#include "vector.h"

// Whether NumPy's argmax of z (classes,) is `label`.
DEVICE bool is_answer(const T* z, Int label, Int classes) {
    if (label < 0 || label >= classes) return false;
    const T own = z[label];
    int better = 0;
    if (own == own) {
        for (Int j = 0; j < label; ++j) better += !(z[j] < own);
        for (Int j = label + 1; j < classes; ++j) better += !(z[j] <= own);
    } else {
        for (Int j = 0; j < label; ++j) better += z[j] != z[j];
    }
    return better == 0;
}

// NumPy's argmax: the first NaN, else the first of the largest elements.
DEVICE Int argmax(const T* a, Int n) {
    const T largest = largest_of(a, n);
    int nans = 0;
    for (Int j = 0; j < n; ++j) nans += a[j] != a[j];
    for (Int j = 0; j < n; ++j)
        if (nans ? a[j] != a[j] : a[j] == largest) return j;
    return 0;
}

// A row is correct if its largest output is that of its label.
// FLOPs: rows * classes
static void right_labels(Int begin, Int end,
                         const T* prediction,    // [rows * classes]
                         const Int* labels,      // [rows]
                         bool* right,            // [rows]
                         Int rows, Int classes) {
    for (Int i = begin; i < end; ++i) right[i] = is_answer(prediction + i * classes, labels[i], classes);
}
ROWS(right_labels)

// A row is correct if its largest output is where its target is largest.
// FLOPs: 2 * rows * classes
static void right_distributions(Int begin, Int end,
                                const T* prediction,    // [rows * classes]
                                const T* target,        // [rows * classes]
                                bool* right,            // [rows]
                                Int rows, Int classes) {
    for (Int i = begin; i < end; ++i)
        right[i] = is_answer(prediction + i * classes, argmax(target + i * classes, classes), classes);
}
ROWS(right_distributions)

// An element is correct if its logit is above 0 exactly where its target is above 0.5.
// FLOPs: 2 * rows * n
static void right_binary(Int begin, Int end,
                         const T* __restrict__ prediction,    // [rows * n]
                         const T* __restrict__ target,        // [rows * n]
                         bool* __restrict__ right,            // [rows * n]
                         Int rows, Int n) {
    for (Int i = begin * n; i < end * n; ++i) right[i] = (prediction[i] > T(0)) == (target[i] > T(0.5));
}
ROWS(right_binary)

// FLOPs: answers
static void accumulate(Int begin, Int end,
                       const T* loss,        // [1]
                       const bool* right,    // [answers] or null: for regression
                       double* totals,       // [2]
                       Int rows, Int answers) {
    totals[0] += static_cast<double>(loss[0]) * static_cast<double>(rows);
    Int count = 0;
    if (right)
        for (Int i = 0; i < answers; ++i) count += right[i];
    totals[1] += static_cast<double>(count);
}
WHOLE(accumulate)

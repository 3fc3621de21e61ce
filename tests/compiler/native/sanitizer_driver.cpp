// sanitizer_driver.cpp: call every CPU kernel on heap arrays of exactly the declared sizes, under the sanitizers.
//
// It is linked with the kernels, each compiled separately. Other tests compare the results.

#include <cstdint>
#include <cstdio>
#include <initializer_list>
#include <limits>
#include <memory>
#include <vector>

#include "cpu/common.h"

using Thunk = void(const Slot*, Int, Int);

extern "C" {
Thunk gpunet_bias_activation_forward, gpunet_activation_backward, gpunet_sum_columns, gpunet_cross_entropy_norm,
    gpunet_softmax_cross_entropy_labels, gpunet_softmax_cross_entropy_distributions, gpunet_mean_squared_error,
    gpunet_huber, gpunet_absolute_error, gpunet_poisson_nll, gpunet_binary_cross_entropy, gpunet_sum, gpunet_right_labels, gpunet_right_distributions,
    gpunet_right_binary, gpunet_accumulate, gpunet_squares, gpunet_clip_value, gpunet_sgd, gpunet_adam, gpunet_rmsprop,
    gpunet_end_step, gpunet_dropout_forward, gpunet_dropout_backward, gpunet_copy_columns, gpunet_category_forward,
    gpunet_category_backward, gpunet_gather, gpunet_advance, gpunet_product, gpunet_transposed_product,
    gpunet_average, gpunet_add_gradient;
}

constexpr Int BLOCK = 16384;

// A heap block of exactly n elements.
template <typename A>
struct Array {
    std::unique_ptr<A[]> data;

    explicit Array(Int n, A value = A(1)) : data(new A[n]) {
        for (Int i = 0; i < n; ++i) data[i] = value;
    }
    operator A*() const { return data.get(); }
};

Slot slot(Int value) {
    Slot s;
    s.integer = value;
    return s;
}
Slot slot(double value) {
    Slot s;
    s.real = value;
    return s;
}
Slot slot(std::nullptr_t) { return slot(Int(0)); }
template <typename A>
Slot slot(const Array<A>& a) {
    Slot s;
    s.pointer = a.data.get();
    return s;
}

// Call a kernel on `count` rows or elements, first in one part, then in three parts.
template <typename... A>
void call(Thunk* kernel, Int count, const A&... arguments) {
    const Slot slots[] = {slot(arguments)...};
    const Int a = count / 3, b = count - count / 4;
    kernel(slots, 0, count);
    for (auto [begin, end] : {std::pair(b, count), std::pair(Int(0), a), std::pair(a, b)}) kernel(slots, begin, end);
}

void bias_activation(Int rows, Int n) {
    Array<T> z(rows * n), bias(n), kept(rows * n), out(rows * n), sums(n);
    call(gpunet_bias_activation_forward, rows, z, bias, kept, out, rows, n, 0.5);
    call(gpunet_bias_activation_forward, rows, z, nullptr, nullptr, z, rows, n, 0.5);
    call(gpunet_activation_backward, rows, z, kept, out, rows, n, 0.5);
    call(gpunet_activation_backward, rows, z, nullptr, z, rows, n, 0.5);
    call(gpunet_sum_columns, n, z, sums, rows, n);
}

void losses(Int rows, Int n) {
    Array<T> a(rows * n), target(rows * n), weight(rows), of_class(n), norm(1), out(rows * n), of_rows(rows);
    Array<Int> labels(rows);
    const Int none[] = {-1, n, std::numeric_limits<Int>::max(), std::numeric_limits<Int>::min()};
    for (Int i = 0; i < rows; ++i) labels[i] = i % 3 ? i % n : none[i / 3 % 4];
    call(gpunet_cross_entropy_norm, 1, weight, of_class, labels, norm, rows, n);
    call(gpunet_cross_entropy_norm, 1, weight, of_class, nullptr, norm, rows, n);
    for (double smoothing : {0.0, 0.1}) {
        call(gpunet_softmax_cross_entropy_labels, rows, a, labels, weight, of_class, norm, out, of_rows, rows, n,
             smoothing);
        call(gpunet_softmax_cross_entropy_labels, rows, a, labels, nullptr, nullptr, nullptr, out, of_rows, rows, n,
             smoothing);
        call(gpunet_softmax_cross_entropy_distributions, rows, a, target, weight, of_class, norm, out, of_rows, rows, n,
             smoothing);
    }
    call(gpunet_softmax_cross_entropy_distributions, rows, a, target, nullptr, nullptr, nullptr, a, of_rows, rows, n,
         0.0);
    call(gpunet_mean_squared_error, rows, a, target, nullptr, nullptr, out, of_rows, rows, n);
    call(gpunet_huber, rows, a, target, weight, norm, out, of_rows, rows, n, 0.5);
    call(gpunet_absolute_error, rows, a, target, weight, norm, out, of_rows, rows, n, 0.2, 0.8);
    call(gpunet_poisson_nll, rows, a, target, weight, norm, out, of_rows, rows, n, Int(1), 0.1);
    call(gpunet_poisson_nll, rows, a, target, nullptr, nullptr, out, of_rows, rows, n, Int(0), 9.0);
    call(gpunet_binary_cross_entropy, rows, a, target, weight, norm, a, of_rows, rows, n);
    call(gpunet_sum, 1, of_rows, norm, rows);

    Array<bool> right(rows), right_elements(rows * n);
    Array<double> totals(2);
    call(gpunet_right_labels, rows, a, labels, right, rows, n);
    call(gpunet_right_distributions, rows, a, target, right, rows, n);
    call(gpunet_right_binary, rows, a, target, right_elements, rows, n);
    call(gpunet_accumulate, 1, norm, right_elements, totals, rows, rows * n);
    call(gpunet_accumulate, 1, norm, nullptr, totals, rows, Int(0));
}

void optimizers(Int size) {
    const Int parts = size ? (size + BLOCK - 1) / BLOCK : 1, count = 2;
    Array<T> p(size), g(size), s(size), t(size);
    Array<double> squares(parts), rates(count);
    Array<Int> progress(3);
    const double decay = 0.1;
    for (double max_norm : {0.0, 0.5}) {
        call(gpunet_clip_value, parts, g, size, parts, 0.5);
        call(gpunet_squares, parts, g, squares, size, parts, 1e300);
        call(gpunet_sgd, parts, squares, rates, progress, parts, count, max_norm, p, g, nullptr, size, 0.0, decay,
             Int(0));
        call(gpunet_sgd, parts, squares, rates, progress, parts, count, max_norm, p, g, s, size, 0.9, decay, Int(1));
        call(gpunet_adam, parts, squares, rates, progress, parts, count, max_norm, p, g, s, t, size, 0.9, 0.99, -0.1,
             -0.01, 0.1, 0.01, 1e-8, decay, Int(1));
        call(gpunet_rmsprop, parts, squares, rates, progress, parts, count, max_norm, p, g, s, nullptr, size, 0.9, 0.1,
             1e-8, decay, 0.0);
        call(gpunet_rmsprop, parts, squares, rates, progress, parts, count, max_norm, p, g, s, t, size, 0.9, 0.1, 1e-8,
             decay, 0.9);
        call(gpunet_average, parts, squares, parts, max_norm, p, s, size, 0.1);
        call(gpunet_end_step, 1, squares, progress, parts, max_norm);
        if (size) g[size - 1] = std::numeric_limits<T>::infinity();
    }
}

void gradient_sum(Int size) {
    const Int blocks = (size + BLOCK - 1) / BLOCK;
    Array<T> g(size), total(size), value(1), losses(2), weights(3);
    for (Int part = 0; part < 3; ++part)
        call(gpunet_add_gradient, blocks, g, total, value, losses, weights, size, part, Int(3), 3.0);
}

void dropout_and_gather(Int rows, Int n) {
    Array<T> x(rows * n), y(rows * n);
    Array<bool> keep(rows * n);
    Array<Int> step(1);
    for (Int first_row : {Int(0), Int(5), Int(1) << 40}) {
        call(gpunet_dropout_forward, rows, x, y, keep, step, Int(-7), Int(2), first_row, rows, n, 0.5, 2.0);
        call(gpunet_dropout_backward, rows, x, keep, x, rows, n, 2.0);
    }
    Array<unsigned char> source(4 * n), out0(rows * n), out1(rows * n);
    Array<Int> order(rows + 1, 3), place(1), sources(4, 0);
    sources[0] = sources[1] = reinterpret_cast<Int>(source.data.get());
    sources[3] = reinterpret_cast<Int>(order.data.get());
    call(gpunet_gather, rows, sources, place, out0, out1, nullptr, n, n, Int(0), rows);
    call(gpunet_gather, rows, sources, place, out0, nullptr, nullptr, n, Int(0), Int(0), rows);
    call(gpunet_advance, 1, place, rows);
}

void entity_embedding(Int rows, Int n) {
    for (T category : {T(-1), T(0), T(2), T(3), T(1e30), T(__builtin_nan(""))}) {  // of a table with three categories
        Array<T> x(rows * (n + 1), category), weight(4 * 5), dweight(4 * 5), y(rows * (n + 5));
        call(gpunet_copy_columns, rows, x, y, n, n + 1, n + 5, rows);
        call(gpunet_category_forward, rows, x, weight, y, n, Int(4), Int(5), n, n + 1, n + 5, rows);
        call(gpunet_category_backward, 1, y, x, dweight, n, Int(4), Int(5), n, n + 1, n + 5, rows);
    }
}

// A product that accesses all memory that cblas_?gemm may access.
void multiply(int, int transpose_a, int transpose_b, Int m, Int n, Int k, T, const T* a, Int lda, const T* b, Int ldb,
              T, T* c, Int ldc) {
    for (Int i = 0; i < m; ++i)
        for (Int j = 0; j < n; ++j) {
            c[i * ldc + j] = 0;
            for (Int l = 0; l < k; ++l)
                c[i * ldc + j] += a[transpose_a == 112 ? l * lda + i : i * lda + l] *
                                  b[transpose_b == 112 ? j * ldb + l : l * ldb + j];
        }
}

void products(Int m, Int n, Int k) {
    Array<T> a(m * k), b(k * n), c(m * n);
    const Int gemm = reinterpret_cast<Int>(&multiply);
    call(gpunet_product, m, gemm, a, b, c, m, n, k, k, n, n, Int(0));
    call(gpunet_product, m, gemm, a, b, c, m, n, k, k, k, n, Int(1));
    call(gpunet_transposed_product, m, gemm, a, b, c, m, n, k, m, n, n);
}

int main() {
    for (Int rows : {0, 1, 3, 16, 17, 70})
        for (Int n : {1, 2, 10, 15, 16, 17, 70, 130}) {
            bias_activation(rows, n);
            losses(rows, n);
            dropout_and_gather(rows, n);
            entity_embedding(rows, n);
            products(rows, n, n / 2);
        }
    bias_activation(3, 0);
    losses(2, 1100);
    for (Int size : {Int(0), Int(1), Int(15), Int(16), Int(17), BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 70}) {
        optimizers(size);
        gradient_sum(size);
    }
    std::puts("all kernels done");
}

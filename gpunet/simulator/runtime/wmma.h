// nvcuda::wmma: matrix products by a warp (CUDA's mma.h).
//
// CUDA does not define which lane holds which element of a fragment. Here each lane holds consecutive elements.
#pragma once
#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "tensor_core.h"

namespace nvcuda::wmma {

using simulator::Lanes;

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
struct col_major;
namespace precision {
struct tf32;
}
enum layout_t { mem_row_major, mem_col_major };

template <class T>
struct stored {
  using type = T;
};
template <>
struct stored<precision::tf32> {
  using type = float;
};

template <class T, int M, int N, int K>
constexpr bool is_shape = (std::is_same_v<T, precision::tf32> && M == 16 && N == 16 && K == 8) ||
                          (!std::is_same_v<T, precision::tf32> && M * N == 256 && K == 16 && M % 8 == 0 && N % 8 == 0);

template <class Use, int M, int N, int K, class T, class Layout = void>
struct fragment {
  static constexpr int rows = std::is_same_v<Use, matrix_b> ? K : M, columns = std::is_same_v<Use, matrix_a> ? K : N;
  static constexpr int num_elements = rows * columns / 32;
  static_assert(is_shape<T, M, N, K> || std::is_same_v<Use, accumulator>,
                "wmma: the shapes are 16x16x16, 32x8x16, 8x32x16, and 16x16x8 for tf32");
  typename stored<T>::type x[num_elements];
};

inline float __float_to_tf32(float value) { return __uint_as_float(simulator::float_to_tf32(value)); }

inline void all_lanes(Lanes& lanes, unsigned participants) {
  if (participants != ~0u) lanes.misread = participants;
}
inline void gather(simulator::Where where) {
  simulator::warp_collective(~0u, all_lanes, nullptr, 0, nullptr, 0, simulator::Memory::unordered, where);
}

// always_inline, here and below, so that findings name the kernel's line.
template <class Fragment>
inline __attribute__((always_inline)) size_t place_of(int i, unsigned stride, bool by_rows) {
  const unsigned element = simulator::lane() * Fragment::num_elements + i;
  const unsigned row = element / Fragment::columns, column = element % Fragment::columns;
  return by_rows ? row * size_t{stride} + column : column * size_t{stride} + row;
}

template <class Use, int M, int N, int K, class T, class Layout, class Number>
inline __attribute__((always_inline)) void load_matrix_sync(fragment<Use, M, N, K, T, Layout>& to, const Number* from,
                                                            unsigned stride, GPUNET_WHERE) {
  static_assert(!std::is_void_v<Layout>, "wmma: pass a layout to load an accumulator");
  gather(where);
  for (int i = 0; i < to.num_elements; ++i)
    to.x[i] = from[place_of<fragment<Use, M, N, K, T, Layout>>(i, stride, std::is_same_v<Layout, row_major>)];
}

template <int M, int N, int K, class T>
inline __attribute__((always_inline)) void load_matrix_sync(fragment<accumulator, M, N, K, T>& to, const T* from,
                                                            unsigned stride, layout_t layout, GPUNET_WHERE) {
  gather(where);
  for (int i = 0; i < to.num_elements; ++i)
    to.x[i] = from[place_of<fragment<accumulator, M, N, K, T>>(i, stride, layout == mem_row_major)];
}

template <int M, int N, int K, class T>
inline __attribute__((always_inline)) void store_matrix_sync(T* to, const fragment<accumulator, M, N, K, T>& from,
                                                             unsigned stride, layout_t layout, GPUNET_WHERE) {
  gather(where);
  for (int i = 0; i < from.num_elements; ++i)
    to[place_of<fragment<accumulator, M, N, K, T>>(i, stride, layout == mem_row_major)] = from.x[i];
}

template <class Use, int M, int N, int K, class T, class Layout>
inline void fill_fragment(fragment<Use, M, N, K, T, Layout>& to,
                          const std::type_identity_t<typename stored<T>::type>& value) {
  for (auto& x : to.x) x = value;
}

template <class T>
inline auto number(T value) {
  if constexpr (std::is_integral_v<T>) return int{value};
  else return static_cast<float>(value);
}

template <int M, int N, int K, class A, class B, class C>
struct Product {
  struct Argument {
    A a;
    B b;
    C c;
  };
  template <class Fragment>
  static auto& element(Lanes& lanes, Fragment Argument::*operand, int i) {
    constexpr int share = Fragment::num_elements;
    return (simulator::in<Argument>(lanes, i / share).*operand).x[i % share];
  }
  static void run(Lanes& lanes, unsigned participants) {
    all_lanes(lanes, participants);
    for (int i = 0; i < M * N; ++i) {
      auto sum = number(element(lanes, &Argument::c, i));
      for (int k = 0; k < K; ++k)
        sum += number(element(lanes, &Argument::a, i / N * K + k)) *
               number(element(lanes, &Argument::b, k * N + i % N));
      simulator::out<C>(lanes, i / C::num_elements).x[i % C::num_elements] = sum;
    }
  }
};

template <int M, int N, int K, class T, class LayoutA, class LayoutB, class D, class C>
inline void mma_sync(fragment<accumulator, M, N, K, D>& d, const fragment<matrix_a, M, N, K, T, LayoutA>& a,
                     const fragment<matrix_b, M, N, K, T, LayoutB>& b, const fragment<accumulator, M, N, K, C>& c,
                     GPUNET_WHERE) {
  fragment<accumulator, M, N, K, D> start;
  for (int i = 0; i < d.num_elements; ++i) start.x[i] = c.x[i];
  using Of = Product<M, N, K, std::decay_t<decltype(a)>, std::decay_t<decltype(b)>, std::decay_t<decltype(d)>>;
  d = simulator::collective<std::decay_t<decltype(d)>>(~0u, typename Of::Argument{a, b, start}, Of::run, where);
}

}  // namespace nvcuda::wmma

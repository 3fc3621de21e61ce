"""Idioms of C++ and of CUDA: classes, variadic templates, function pointers, work queues, counters, packs."""

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


@case("atomicAdd(&next_item, 1)", "next_item++", "race: .*next_item")
def work_queue():
    """Persistent threads draw items from a counter in device memory."""
    source = """
__device__ int next_item;
__global__ void reset(const int* cost, int* done, int n) { if (threadIdx.x == 0 && blockIdx.x == 0) next_item = 0; }
__global__ void worker(const int* cost, int* done, int n) {
  while (true) {
    const int item = atomicAdd(&next_item, 1);
    if (item >= n) break;
    int s = 0;
    for (int k = 0; k < cost[item]; ++k) s += k;
    done[item] = s;
  }
}"""
    cost = integers(0, 20, 70)
    return source, 2, 16, (cost, zeros(70, dtype=np.int32), 70), {1: cost * (cost - 1) // 2}


@case("(args + ...)", "(args - ...)", WRONG)
def variadic_templates():
    source = """
template <typename... Args> __device__ float total(Args... args) { return (args + ...); }
__global__ void sum_of_four(const float* __restrict__ a, float* __restrict__ y) {
  const int i = threadIdx.x;
  y[i] = total(a[i], a[i + 32], a[i + 64], a[i + 96]);
}"""
    a = normal(4, 32)
    return source, 1, 32, (a, zeros(32)), {1: a.sum(axis=0)}


@case("grid.sync();", "", "race: .* array partial|uninitialized read")
def cooperative_normalization():
    source = """
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
namespace cg = cooperative_groups;
__global__ void normalize(float* x, float* partial, int n) {
  auto grid = cg::this_grid();
  auto warp = cg::tiled_partition<32>(cg::this_thread_block());
  float s = 0;
  for (int i = grid.thread_rank(); i < n; i += grid.num_threads()) s += x[i] * x[i];
  s = cg::reduce(warp, s, cg::plus<float>());
  if (warp.thread_rank() == 0) partial[blockIdx.x] = s;
  grid.sync();
  float norm = 0;
  for (int b = 0; b < gridDim.x; ++b) norm += partial[b];
  for (int i = grid.thread_rank(); i < n; i += grid.num_threads()) x[i] *= rsqrtf(norm);
}"""
    x = normal(150)
    expected = x / np.linalg.norm(x.astype(np.float64))
    return source, 3, 32, (x, zeros(3), 150), {0: expected}, 0, 1e-5, True


@case("f(i < n ? x[i] : 0.f)", "f(x[i])", "out of bounds: read .* array x")
def function_pointers():
    source = """
typedef float (*Unary)(float);
__device__ float square(float v) { return v * v; }
__device__ float cube(float v) { return v * v * v; }
__global__ void map(const float* x, float* y, int which, int n) {
  const Unary f = which ? cube : square;
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  const float v = f(i < n ? x[i] : 0.f);
  if (i < n) y[i] = v;
}"""
    x = normal(50)
    return source, 2, 32, (x, zeros(50), 1, 50), {1: x.astype(np.float64) ** 3}


@case("Base::area(i) * 2", "Base::area(i)", WRONG)
def inheritance():
    source = """
template <class Derived> struct Base {
  const float* sides;
  __device__ float area(int i) const { return sides[i] * sides[i]; }
  __device__ float get(int i) const { return static_cast<const Derived*>(this)->area(i); }
};
struct Double : Base<Double> { __device__ float area(int i) const { return Base::area(i) * 2; } };
__global__ void areas(const float* s, float* y) {
  Double d;
  d.sides = s;
  y[threadIdx.x] = d.get(threadIdx.x);
}"""
    s = normal(40)
    return source, 1, 40, (s, zeros(40)), {1: 2 * s * s}


@case("cell.count, 1", "cell.count + 1, 1", "out of bounds|race|uninitialized")
def structs_in_shared_memory():
    source = """
struct Cell { int sum; unsigned count; };
__global__ void means(const int* x, const int* key, int* sums, unsigned* counts) {
  __shared__ Cell cells[8];
  if (threadIdx.x < 8) cells[threadIdx.x] = Cell{};
  __syncthreads();
  Cell& cell = cells[key[threadIdx.x]];
  atomicAdd(&cell.sum, x[threadIdx.x]);
  atomicAdd(&cell.count, 1);
  __syncthreads();
  if (threadIdx.x < 8) { sums[threadIdx.x] = cells[threadIdx.x].sum; counts[threadIdx.x] = cells[threadIdx.x].count; }
}"""
    x, key = integers(-9, 9, 64), integers(0, 8, 64)
    key[0] = 7
    arguments = (x, key, zeros(8, dtype=np.int32), zeros(8, dtype=np.uint32))
    counts = np.bincount(key, minlength=8)
    return source, 1, 64, arguments, {2: np.bincount(key, x, minlength=8), 3: counts}


@case("long long at = (long long)row", "int at = row", "integer overflow")
def wide_indices():
    source = """
__global__ void pick(const long long* stride, const int* x, int* y, int scale) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  const long long at = (long long)row * scale % 97;
  y[row] = x[at];
}"""
    x = integers(-99, 99, 97)
    at = np.arange(64, dtype=np.int64) * 100_000_007 % 97
    return source, 2, 32, (zeros(1, dtype=np.int64), x, zeros(64, dtype=np.int32), 100_000_007), {2: x[at]}


@case("__umulhi(a, b)", "a * b", WRONG)
def integer_intrinsics():
    source = """
__global__ void integers(const unsigned* x, const unsigned* y, uint4* out) {
  const unsigned a = x[threadIdx.x], b = y[threadIdx.x];
  out[threadIdx.x] = make_uint4(__umulhi(a, b), __byte_perm(a, b, 0x5410), __funnelshift_l(a, b, 8), __usad(a, b, 1u));
}"""
    a, b = integers(2**20, 2**32, 32, dtype=np.uint32), integers(2**20, 2**32, 32, dtype=np.uint32)
    wide_a, wide_b = a.astype(np.uint64), b.astype(np.uint64)
    distance = np.maximum(a, b) - np.minimum(a, b) + np.uint32(1)
    funnel = (b << np.uint32(8)) | (a >> np.uint32(24))
    permuted = (a & np.uint32(0xFFFF)) | (b << np.uint32(16))
    expected = np.stack([(wide_a * wide_b) >> np.uint64(32), permuted, funnel, distance], axis=1)
    return source, 1, 32, (a, b, zeros(32, 4, dtype=np.uint32)), {2: expected}


@case("if (ready)", "if (!ready)", WRONG)
def one_launch_sets_another_reads():
    source = """
__device__ bool ready;
__device__ float factor[4];
__global__ void prepare(const float* x, float* y) {
  if (threadIdx.x < 4) factor[threadIdx.x] = threadIdx.x + 1;
  if (threadIdx.x == 0) ready = true;
}
__global__ void use(const float* x, float* y) {
  if (ready) y[threadIdx.x] = x[threadIdx.x] * factor[threadIdx.x & 3];
}"""
    x = normal(32)
    return source, 1, 32, (x, zeros(32)), {1: x * (np.arange(32) % 4 + 1)}


@case(
    "#pragma unroll\n  for (int k = 0; k < N; ++k) acc",
    "for (int k = 0; k <= N; ++k) acc",
    "out of bounds|uninitialized",
)
def pack_of_elements():
    source = """
template <typename T, int N> struct alignas(sizeof(T) * N) Pack { T elem[N]; };
template <typename T, int N> __device__ float sum(const Pack<T, N>& p) {
  float acc = 0;
#pragma unroll
  for (int k = 0; k < N; ++k) acc += p.elem[k];
  return acc;
}
__global__ void pack_sum(const float* x, float* y, int n) {
  const auto* packs = reinterpret_cast<const Pack<float, 4>*>(x);
  for (int i = threadIdx.x; i < n / 4; i += blockDim.x) { const Pack<float, 4> p = packs[i]; y[i] = sum(p); }
}"""
    x = normal(40, 4)
    return source, 1, 32, (x, zeros(40), 160), {1: x.sum(axis=1)}


@case("return; // past the end", "{}", "out of bounds: .* array")
def goto_and_early_return():
    source = """
__global__ void collatz(const int* x, int* steps, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return; // past the end
  int v = x[i], s = 0;
again:
  if (v > 1) { v = v & 1 ? 3 * v + 1 : v / 2; s++; if (s < 500) goto again; }
  steps[i] = s;
}"""

    def steps(v):
        return 0 if v == 1 else 1 + steps(3 * v + 1 if v % 2 else v // 2)

    x = integers(1, 200, 40)
    return source, 2, 32, (x, zeros(40, dtype=np.int32), 40), {1: np.array([steps(int(v)) for v in x])}


@case("atomicMin(&best[c], d)", "best[c] = min(best[c], d)", "race: .* (array|shared memory) best")
def minimum_of_64_bits():
    """A distance and an index in one word, so that one atomic keeps both."""
    source = """
__global__ void nearest(const unsigned* dist, unsigned long long* best, int n) {
  const int c = blockIdx.y, i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const unsigned long long d = (unsigned long long)dist[c * n + i] << 32 | i;
  atomicMin(&best[c], d);
}"""
    dist = integers(0, 99, 3, 50, dtype=np.uint32)
    at = dist.argmin(axis=1).astype(np.uint64)
    expected = dist.min(axis=1).astype(np.uint64) << np.uint64(32) | at
    return source, (2, 3), 32, (dist, np.full(3, 2**64 - 1, np.uint64), 50), {1: expected}


@case("if (lane == 0) printf", "if (lane >= 0) s[0] = lane, printf", "race: .* shared memory s")
def prints():
    source = """
#include <cstdio>
__global__ void report(const int* x, int* y) {
  __shared__ int s[32];
  const int lane = threadIdx.x;
  s[lane] = x[lane];
  if (lane == 0) printf("");
  __syncthreads();
  y[lane] = s[31 - lane];
}"""
    x = integers(-9, 9, 32)
    return source, 1, 32, (x, zeros(32, dtype=np.int32)), {1: x[::-1]}


@case("i < Traits<T>::count", "i <= Traits<T>::count", "out of bounds: .* array")
def traits():
    source = """
template <class T> struct Traits;
template <> struct Traits<float> { static constexpr int count = 48; using Wide = double; };
template <class T> __global__ void widen(const T* x, typename Traits<T>::Wide* y) {
  for (int i = threadIdx.x; i < Traits<T>::count; i += blockDim.x) y[i] = typename Traits<T>::Wide(x[i]) * 1.5;
}
template __global__ void widen<float>(const float*, Traits<float>::Wide*);
"""
    x = normal(48)
    return source, 1, 16, (x, zeros(48, dtype=np.float64)), {1: 1.5 * x.astype(np.float64)}

"""Reductions of rows and columns, of several values at once, in one and in two launches."""

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


@case("count += other_count", "count = other_count", WRONG)
def welford():
    """Mean and variance in one pass, merged by shuffles."""
    source = """
__global__ void mean_variance(const float* x, float2* out, int n) {
  float mean = 0.f, m2 = 0.f, count = 0.f;
  for (int i = threadIdx.x; i < n; i += 32) {
    count += 1.f;
    float delta = x[blockIdx.x * n + i] - mean;
    mean += delta / count;
    m2 += delta * (x[blockIdx.x * n + i] - mean);
  }
  for (int o = 16; o > 0; o >>= 1) {
    float other_mean = __shfl_down_sync(~0u, mean, o), other_m2 = __shfl_down_sync(~0u, m2, o);
    float other_count = __shfl_down_sync(~0u, count, o), delta = other_mean - mean;
    float total = count + other_count;
    if (total > 0.f) {
      mean += delta * other_count / total;
      m2 += other_m2 + delta * delta * count * other_count / total;
    }
    count += other_count;
  }
  if (threadIdx.x == 0) out[blockIdx.x] = make_float2(mean, m2 / count);
}"""
    x = normal(3, 77)
    expected = np.stack([x.mean(axis=1), x.var(axis=1)], axis=1)
    return source, 3, 32, (x, zeros(3, 2), 77), {1: expected}


@case("parts[blockIdx.x] = s", "parts[0] = s", "race: .* array parts")
def two_launches():
    source = """
__device__ float warp_sum(float s) {
  for (int o = 16; o; o /= 2) s += __shfl_down_sync(0xffffffff, s, o);
  return s;
}
__global__ void partial_sums(const float* x, float* parts, float* out, int n, int blocks) {
  float s = 0;
  for (int i = blockIdx.x * 32 + threadIdx.x; i < n; i += 32 * gridDim.x) s += x[i];
  s = warp_sum(s);
  if (threadIdx.x == 0) parts[blockIdx.x] = s;
}
__global__ void sum_of_parts(const float* x, float* parts, float* out, int n, int blocks) {
  if (blockIdx.x > 0) return;
  float s = warp_sum(threadIdx.x < blocks ? parts[threadIdx.x] : 0.f);
  if (threadIdx.x == 0) *out = s;
}"""
    x = abs(normal(999))
    return source, 5, 32, (x, zeros(5), zeros(1), 999, 5), {2: x.sum(dtype=np.float64)}


@case("col < cols", "col <= cols", "out of bounds: .* array")
def column_sums():
    source = """
__global__ void col_sum(const float* a, float* s, int rows, int cols) {
  int col = blockIdx.x * blockDim.x + threadIdx.x;
  if (col < cols) {
    float acc = 0.0f;
    for (int r = 0; r < rows; ++r) acc += a[r * cols + col];
    s[col] = acc;
  }
}"""
    a = normal(9, 50)
    return source, 2, 32, (a, zeros(50), 9, 50), {1: a.sum(axis=0)}


@case("__syncthreads();\n  if (threadIdx.y == 0)", "if (threadIdx.y == 0)", "race: .* shared memory part")
def column_sums_of_a_tile():
    source = """
__global__ void bias_gradient(const float* __restrict__ dy, float* __restrict__ db, int rows, int cols) {
  __shared__ float part[8][33];
  const int c = blockIdx.x * 32 + threadIdx.x;
  float s = 0.f;
  if (c < cols) for (int r = threadIdx.y; r < rows; r += 8) s += dy[(size_t)r * cols + c];
  part[threadIdx.y][threadIdx.x] = s;
  __syncthreads();
  if (threadIdx.y == 0) {
    #pragma unroll
    for (int k = 1; k < 8; ++k) s += part[k][threadIdx.x];
    if (c < cols) db[c] = s;
  }
}"""
    dy = normal(21, 40)
    return source, 2, (32, 8), (dy, zeros(40), 21, 40), {1: dy.sum(axis=0)}


@case("if (row >= rows) return;", "", "out of bounds: .* array")
def warp_per_row():
    source = """
__global__ void row_mean(const float* x, float* y, int rows, int cols) {
  int row = (blockIdx.x * blockDim.x + threadIdx.x) >> 5;
  if (row >= rows) return;
  int lane = threadIdx.x & 31;
  float s = 0.0f;
  for (int c = lane; c < cols; c += 32) s += x[row * cols + c];
  for (int o = 16; o >= 1; o >>= 1) s += __shfl_xor_sync(0xffffffff, s, o);
  if (lane == 0) y[row] = s / cols;
}"""
    x = normal(7, 40)
    return source, 2, 128, (x, zeros(7), 7, 40), {1: x.mean(axis=1)}


@case("__float_as_int(v)", "(int)v", WRONG)
def float_max_by_integer_atomics():
    source = """
__device__ __forceinline__ void atomicMaxFloat(float* address, float v) {
  if (v >= 0) atomicMax((int*)address, __float_as_int(v));
  else atomicMin((unsigned*)address, __float_as_uint(v));
}
__global__ void global_max(const float* x, float* m, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicMaxFloat(m, x[i]);
}"""
    x = normal(150)
    return source, 3, 64, (x, np.full(1, -np.inf, np.float32), 150), {1: x.max()}


@case("as_double(assumed)", "as_double(0)", WRONG)
def double_add_by_compare_and_swap():
    source = """
__device__ double atomic_add(double* address, double v) {
  unsigned long long* p = (unsigned long long*)address;
  unsigned long long old = *p, assumed;
  do {
    assumed = old;
    old = atomicCAS(p, assumed, __double_as_longlong(v + __longlong_as_double(assumed)));
  } while (assumed != old);
  return __longlong_as_double(old);
}
__global__ void dsum(const double* x, double* s) { atomic_add(s, x[blockIdx.x * blockDim.x + threadIdx.x]); }
"""
    x = normal(96).astype(np.float64) ** 2
    return source, 3, 32, (x, zeros(1, dtype=np.float64)), {1: x.sum()}


@case("__ballot_sync(0xffffffff, p)", "__ballot_sync(0xffffffff, !p)", WRONG)
def votes():
    source = """
__global__ void vote(const int* x, unsigned* bits, int* flags) {
  const bool p = x[blockIdx.x * blockDim.x + threadIdx.x] > 0;
  const unsigned mask = __ballot_sync(0xffffffff, p);
  const int any = __any_sync(0xffffffff, p), all = __all_sync(0xffffffff, p);
  if (threadIdx.x == 0) { bits[blockIdx.x] = mask; flags[blockIdx.x] = any * 2 + all + 100 * __popc(mask); }
}"""
    x = integers(-3, 5, 4, 32)
    x[0] = 1
    bits = ((x > 0) * (1 << np.arange(32, dtype=np.int64))).sum(axis=1)
    flags = (x > 0).any(axis=1) * 2 + (x > 0).all(axis=1) + 100 * (x > 0).sum(axis=1)
    return source, 4, 32, (x, zeros(4, dtype=np.uint32), zeros(4, dtype=np.int32)), {1: bits, 2: flags}


@case("__syncthreads_count(x[i] > 0)", "__syncthreads_or(x[i] > 0)", WRONG)
def barrier_that_counts():
    source = """
__global__ void count(const float* x, int* y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  int c = __syncthreads_count(x[i] > 0);
  if (threadIdx.x == 0) y[blockIdx.x] = c;
}"""
    x = normal(2, 96)
    return source, 2, 96, (x, zeros(2, dtype=np.int32)), {1: (x > 0).sum(axis=1)}


@case("row < N", "row < N + 1", "out of bounds: .* array")
def cross_entropy():
    source = """
#define WARP 32
__global__ void nll(float* losses, const float* logits, const int* targets, int N, int V) {
  int row = blockIdx.x * blockDim.y + threadIdx.y;
  if (row < N) {
    const float* x = logits + row * V;
    float m = -1e30f;
    for (int i = threadIdx.x; i < V; i += WARP) m = fmaxf(m, x[i]);
    for (int o = WARP / 2; o; o >>= 1) m = fmaxf(m, __shfl_xor_sync(0xffffffff, m, o));
    float s = 0.f;
    for (int i = threadIdx.x; i < V; i += WARP) s += expf(x[i] - m);
    for (int o = WARP / 2; o; o >>= 1) s += __shfl_xor_sync(0xffffffff, s, o);
    if (threadIdx.x == 0) losses[row] = logf(s) + m - x[targets[row]];
  }
}"""
    x, t = normal(6, 50), integers(0, 50, 6)
    expected = np.log(np.exp(x).sum(axis=1)) - x[np.arange(6), t]
    return source, 2, (32, 4), (zeros(6), x, t, 6, 50), {0: expected}

"""Scans, and what is built on them: compaction, partition, radix sort, run lengths, segments."""

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


@case("0.f;\n    __syncthreads();", "0.f;", "race: .* shared memory s")
def hillis_steele():
    source = """
__global__ void inclusive(const float* x, float* y) {
  __shared__ float s[128];
  int tid = threadIdx.x;
  s[tid] = x[tid];
  __syncthreads();
  for (int d = 1; d < 128; d <<= 1) {
    float t = tid >= d ? s[tid - d] : 0.f;
    __syncthreads();
    s[tid] += t;
    __syncthreads();
  }
  y[tid] = s[tid];
}"""
    x = normal(128)
    return source, 1, 128, (x, zeros(128)), {1: np.cumsum(x, dtype=np.float64)}


@case("else temp[pout * n", "else temp[pin * n", "(race|uninitialized read): .* dynamic shared memory")
def double_buffered():
    """The scan of GPU Gems 3, chapter 39: two buffers that swap."""
    source = """
__global__ void scan(float *g_odata, const float *g_idata, int n) {
  extern __shared__ float temp[];
  int thid = threadIdx.x, pout = 0, pin = 1;
  temp[pout * n + thid] = (thid > 0) ? g_idata[thid - 1] : 0;
  __syncthreads();
  for (int offset = 1; offset < n; offset *= 2) {
    pout = 1 - pout; pin = 1 - pout;
    if (thid >= offset) temp[pout * n + thid] = temp[pin * n + thid] + temp[pin * n + thid - offset];
    else temp[pout * n + thid] = temp[pin * n + thid];
    __syncthreads();
  }
  g_odata[thid] = temp[pout * n + thid];
}"""
    x = normal(64)
    return source, 1, 64, (zeros(64), x, 64), {0: np.cumsum(x, dtype=np.float64) - x}, 512


@case("if (lane >= d) v += t", "v += t", WRONG)
def warp_scan():
    source = """
__global__ void warp_inclusive(const int* x, int* y) {
  const int i = blockIdx.x * 32 + threadIdx.x, lane = threadIdx.x;
  int v = x[i];
#pragma unroll
  for (int d = 1; d < 32; d *= 2) { int t = __shfl_up_sync(0xffffffff, v, d); if (lane >= d) v += t; }
  y[i] = v;
}"""
    x = integers(-9, 9, 3, 32)
    return source, 3, 32, (x, zeros(3, 32, dtype=np.int32)), {1: np.cumsum(x, axis=1)}


@case("if (lane == 31)", "if (lane >= 30)", "race: .* shared memory totals")
def block_scan_of_warps():
    source = """
template <int WARPS> struct BlockScan {
  static __device__ int warp(int v, int lane) {
    for (int d = 1; d < 32; d *= 2) { int t = __shfl_up_sync(~0u, v, d); v += lane >= d ? t : 0; }
    return v;
  }
  static __device__ int inclusive(int v) {
    __shared__ int totals[WARPS];
    int lane = threadIdx.x & 31, w = threadIdx.x >> 5;
    v = warp(v, lane);
    if (lane == 31) totals[w] = v;
    __syncthreads();
    for (int k = 0; k < w; k++) v += totals[k];
    return v;
  }
};
__global__ void block_inclusive(const int* x, int* y) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  y[i] = BlockScan<4>::inclusive(x[i]);
}"""
    x = integers(-9, 9, 2, 128)
    return source, 2, 128, (x, zeros(2, 128, dtype=np.int32)), {1: np.cumsum(x, axis=1)}


@case("y[i] += sums[b]", "y[i + 1] += sums[b]", "(race|out of bounds): .* array y")
def three_launches():
    source = """
__global__ void blocks(const int* x, int* y, int* sums) {
  __shared__ int s[32];
  int i = blockIdx.x * 32 + threadIdx.x;
  s[threadIdx.x] = x[i];
  __syncthreads();
  if (threadIdx.x == 0) for (int k = 1; k < 32; ++k) s[k] += s[k - 1];
  __syncthreads();
  y[i] = s[threadIdx.x];
  if (threadIdx.x == 31) sums[blockIdx.x] = s[31];
}
__global__ void totals(const int* x, int* y, int* sums) {
  if (blockIdx.x == 0 && threadIdx.x == 0) for (int k = 1; k < gridDim.x; ++k) sums[k] += sums[k - 1];
}
__global__ void uniform_add(const int* x, int* y, int* sums) {
  int i = blockIdx.x * 32 + threadIdx.x;
  if (int b = blockIdx.x; b > 0) { b -= 1; y[i] += sums[b]; }
}"""
    x = integers(-9, 9, 160)
    return source, 5, 32, (x, zeros(160, dtype=np.int32), zeros(5, dtype=np.int32)), {1: np.cumsum(x)}


@case("__popc(mask & below)", "__popc(mask & below) + 1", "race|out of bounds|uninitialized")
def stream_compaction():
    """A warp vote gives each kept element its output index, in the order of the input."""
    source = """
__global__ void compact(const int* x, int* kept, int* count) {
  int v = x[threadIdx.x];
  unsigned mask = __ballot_sync(0xffffffff, v > 0), below = (1u << threadIdx.x) - 1;
  if (v > 0) kept[__popc(mask & below)] = v;
  if (threadIdx.x == 0) *count = __popc(mask);
}"""
    x = integers(1, 9, 32)
    x[5:9] *= -1
    expected = x[x > 0]
    return source, 1, 32, (x, zeros(expected.size, dtype=np.int32), zeros(1, dtype=np.int32)), {1: expected}


@case("__activemask()", "0xffffffff", "collective|mask|lanes")
def aggregated_atomics():
    """One atomic for all lanes that keep an element."""
    source = """
__device__ int aggregated_increment(int* counter) {
  unsigned mask = __activemask();
  int lane = threadIdx.x & 31, leader = __ffs(mask) - 1, base;
  if (lane == leader) base = atomicAdd(counter, __popc(mask));
  base = __shfl_sync(mask, base, leader);
  return base + __popc(mask & ((1u << lane) - 1));
}
__global__ void filter(const int* x, int* counter, int* seen, int* scratch, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n && x[i] % 3 == 0) { scratch[aggregated_increment(counter)] = i; seen[i] = 1; }
}"""
    x = integers(0, 99, 90)
    arguments = (x, zeros(1, dtype=np.int32), zeros(90, dtype=np.int32), zeros(90, dtype=np.int32), 90)
    return source, 1, 96, arguments, {1: (x % 3 == 0).sum(), 2: x % 3 == 0}


@case("n - total + before_ones", "n - total + before_ones + 1", "race: .* s|out of bounds")
def split_of_a_radix_sort():
    """One stable pass per bit: first the keys whose bit is 0, then those whose bit is 1."""
    source = """
__global__ void radix_sort(unsigned* keys, int bits) {
  const int n = 32;
  __shared__ unsigned s[n];
  unsigned key = keys[threadIdx.x];
  for (int b = 0; b < bits; b++) {
    unsigned ones = __ballot_sync(0xffffffff, (key >> b) & 1);
    int total = __popc(ones), before_ones = __popc(ones & ((1u << threadIdx.x) - 1));
    int place = (key >> b) & 1 ? n - total + before_ones : threadIdx.x - before_ones;
    s[place] = key;
    __syncthreads();
    key = s[threadIdx.x];
    __syncthreads();
  }
  keys[threadIdx.x] = key;
}"""
    x = integers(0, 256, 32, dtype=np.uint32)
    return source, 1, 32, (x, 8), {0: np.sort(x)}


@case("i == 0 || x[i - 1] != x[i]", "x[i - 1] != x[i]", "out of bounds: read .* array x")
def run_starts():
    source = """
__global__ void mark_runs(const int* x, int* start, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  start[i] = i == 0 || x[i - 1] != x[i];
}"""
    x = integers(0, 3, 70)
    expected = np.append(1, np.diff(x) != 0)
    return source, 3, 32, (x, zeros(70, dtype=np.int32), 70), {1: expected}


@case("k < row_start[row + 1]", "k <= row_start[row + 1]", "out of bounds: read .* array x")
def segmented_sum():
    source = """
__global__ void segment_sum(const int* __restrict__ row_start, const float* __restrict__ x, float* y, int rows) {
  for (int row = blockIdx.x * blockDim.x + threadIdx.x; row < rows; row += gridDim.x * blockDim.x) {
    float s = 0;
    for (int k = row_start[row]; k < row_start[row + 1]; ++k) s += x[k];
    y[row] = s;
  }
}"""
    ends = np.array([0, 3, 10, 11, 30, 40], np.int32)
    x = normal(40)
    return source, 1, 4, (ends, x, zeros(5), 5), {2: np.add.reduceat(x, ends[:-1])}


@case("v = op(t, v)", "v = op(v, v)", WRONG)
def scan_by_functor():
    source = """
struct Max { __device__ float operator()(float a, float b) const { return a > b ? a : b; } };
struct Mul { __device__ float operator()(float a, float b) const { return a * b; } };
template <class Op> __global__ void scan_op(const float* x, float* y) {
  Op op;
  float v = x[threadIdx.x];
  for (int d = 1; d < 32; d <<= 1) {
    float t = __shfl_up_sync(0xffffffffu, v, d);
    if (threadIdx.x >= d) v = op(t, v);
  }
  y[threadIdx.x] = v;
}
template __global__ void scan_op<Mul>(const float*, float*);
"""
    x = np.exp(normal(32) / 9)
    return source, 1, 32, (x, zeros(32)), {1: np.cumprod(x, dtype=np.float64)}

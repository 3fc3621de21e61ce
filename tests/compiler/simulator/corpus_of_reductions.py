"""Reductions: sums, extremes, products, norms, counts, by shared memory, shuffles, groups and atomics."""

import numpy as np
from compiler.simulator.corpus import case, integers, normal, zeros


@case("__syncthreads();\n  }", "}", "race: .* dynamic shared memory")
def interleaved_addressing():
    source = """
__global__ void reduce0(int *g_idata, int *g_odata) {
  extern __shared__ int sdata[];
  unsigned int tid = threadIdx.x;
  unsigned int i = blockIdx.x * blockDim.x + threadIdx.x;
  sdata[tid] = g_idata[i];
  __syncthreads();
  for (unsigned int s = 1; s < blockDim.x; s *= 2) {
    if (tid % (2 * s) == 0) sdata[tid] += sdata[tid + s];
    __syncthreads();
  }
  if (tid == 0) g_odata[blockIdx.x] = sdata[0];
}"""
    x = integers(-99, 99, 3, 64)
    return source, 3, 64, (x, zeros(3, dtype=np.int32)), {1: x.sum(axis=1)}, 256


@case("index < blockDim.x", "index <= blockDim.x", "(out of bounds|uninitialized read): .* dynamic shared memory")
def strided_index():
    source = """
__global__ void reduce1(const int *g_idata, int *g_odata) {
  extern __shared__ int sdata[];
  unsigned int tid = threadIdx.x;
  sdata[tid] = g_idata[blockIdx.x * blockDim.x + tid];
  __syncthreads();
  for (unsigned int s = 1; s < blockDim.x; s *= 2) {
    int index = 2 * s * tid;
    if (index < blockDim.x) sdata[index] += sdata[index + s];
    __syncthreads();
  }
  if (tid == 0) g_odata[blockIdx.x] = sdata[0];
}"""
    x = integers(-99, 99, 2, 128)
    return source, 2, 128, (x, zeros(2, dtype=np.int32)), {1: x.sum(axis=1)}, 512


@case("i < n ? in[i] : 0.0f", "in[i]", "out of bounds: read .* array in")
def sequential_addressing():
    source = """
__global__ void reduce2(const float* in, float* out, int n) {
  __shared__ float cache[128];
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  cache[threadIdx.x] = i < n ? in[i] : 0.0f;
  __syncthreads();
  for (int half = blockDim.x >> 1; half; half >>= 1) {
    if (threadIdx.x < half) cache[threadIdx.x] += cache[threadIdx.x + half];
    __syncthreads();
  }
  if (!threadIdx.x) out[blockIdx.x] = cache[0];
}"""
    x = normal(200)
    return source, 2, 128, (x, zeros(2), 200), {1: np.array([x[:128].sum(), x[128:].sum()])}


@case("__syncwarp(); }", "}", "race: .* shared memory sdata")
def unrolled_last_warp():
    """Since Volta, volatile alone is not enough: __syncwarp separates the steps."""
    source = """
#define STEP(k) { float t = tid < k ? sdata[tid + k] : 0.f; __syncwarp();\\
  if (tid < k) sdata[tid] += t; __syncwarp(); }
__global__ void reduce_unrolled(const float* x, float* y) {
  __shared__ float sdata[64];
  const int tid = threadIdx.x;
  sdata[tid] = x[blockIdx.x * 64 + tid];
  __syncthreads();
  if (tid < 32) {
    STEP(32) STEP(16) STEP(8) STEP(4) STEP(2) STEP(1)
    if (tid == 0) y[blockIdx.x] = sdata[0];
  }
}"""
    x = normal(3, 64)
    return source, 3, 64, (x, zeros(3)), {1: x.sum(axis=1)}


@case("lane == 0", "lane <= 1", "race: .* shared memory partial")
def two_levels_of_shuffles():
    source = """
__inline__ __device__ float warp_sum(float v) {
  #pragma unroll
  for (int d = warpSize / 2; d > 0; d /= 2) v += __shfl_down_sync(0xffffffff, v, d);
  return v;
}
__global__ void block_sum(const float *in, float *out, int n) {
  __shared__ float partial[32];
  int lane = threadIdx.x % warpSize, warp = threadIdx.x / warpSize;
  float sum = 0.f;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) sum += in[i];
  sum = warp_sum(sum);
  if (lane == 0) partial[warp] = sum;
  __syncthreads();
  sum = (threadIdx.x < blockDim.x / warpSize) ? partial[lane] : 0.f;
  if (warp == 0) sum = warp_sum(sum);
  if (threadIdx.x == 0) atomicAdd(out, sum);
}"""
    x = abs(normal(1000))
    return source, 3, 128, (x, zeros(1), 1000), {1: x.sum(dtype=np.float64)}


@case("atomicAdd(count, s)", "*count += s", "race: .* array count")
def count_of_positives():
    source = """
__global__ void count_positive(const float* __restrict__ x, int* count, int n) {
  int s = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) s += x[i] > 0.f;
  s = __reduce_add_sync(~0u, s);
  if ((threadIdx.x & 31) == 0) atomicAdd(count, s);
}"""
    x = normal(777)
    return source, 2, 64, (x, zeros(1, dtype=np.int32), 777), {1: (x > 0).sum()}


@case("m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, o))", "m = fmaxf(m, __shfl_xor_sync(0xffffu, m, o))", "mask|lane")
def row_max():
    source = """
__global__ void row_max(const float* x, float* y, int cols) {
  const float* row = x + blockIdx.x * cols;
  float m = -INFINITY;
  for (int j = threadIdx.x; j < cols; j += 32) m = fmaxf(m, row[j]);
  for (int o = 16; o; o >>= 1) m = fmaxf(m, __shfl_xor_sync(0xffffffffu, m, o));
  if (threadIdx.x == 0) y[blockIdx.x] = m;
}"""
    x = normal(4, 45)
    return source, 4, 32, (x, zeros(4), 45), {1: x.max(axis=1)}


@case("if (tid < s && tid + s < n)", "if (tid < s)", "out of bounds: .*index")
def argmax_of_pairs():
    source = """
struct Pair { float value; int index; };
__device__ __forceinline__ Pair better(Pair a, Pair b) {
  return a.value > b.value || (a.value == b.value && a.index < b.index) ? a : b;
}
__global__ void argmax(const float* x, int* where, int n) {
  __shared__ Pair best[100];
  const int tid = threadIdx.x;
  if (tid < n) best[tid] = Pair{x[blockIdx.x * n + tid], tid};
  __syncthreads();
  for (int s = 64; s > 0; s >>= 1) {
    if (tid < s && tid + s < n) best[tid] = better(best[tid], best[tid + s]);
    __syncthreads();
  }
  if (tid == 0) where[blockIdx.x] = best[0].index;
}"""
    x = normal(3, 100)
    return source, 3, 128, (x, zeros(3, dtype=np.int32), 100), {1: x.argmax(axis=1)}


@case("block.sync();\n  if", "if", "race: .* shared memory sums")
def tiles_of_groups():
    source = """
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
namespace cg = cooperative_groups;
template <typename T>
__global__ void reduce_groups(const T* in, T* out) {
  auto block = cg::this_thread_block();
  auto tile = cg::tiled_partition<16>(block);
  __shared__ T sums[8];
  T v = cg::reduce(tile, in[blockIdx.x * block.size() + block.thread_rank()], cg::plus<T>());
  if (tile.thread_rank() == 0) sums[tile.meta_group_rank()] = v;
  block.sync();
  if (block.thread_rank() == 0) {
    T s = 0;
    for (int i = 0; i < tile.meta_group_size(); i++) s += sums[i];
    out[blockIdx.x] = s;
  }
}
template __global__ void reduce_groups<int>(const int*, int*);
"""
    x = integers(-99, 99, 2, 128)
    return source, 2, 128, (x, zeros(2, dtype=np.int32)), {1: x.sum(axis=1)}


@case("__threadfence();", "", "race: .* array partial")
def last_block_sums():
    source = """
__device__ unsigned int retirementCount = 0;
__global__ void reduceSinglePass(const float* x, volatile float* partial, float* out, unsigned int n) {
  __shared__ bool amLast;
  float s = 0;
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) s += x[i];
  for (int d = 16; d; d /= 2) s += __shfl_down_sync(~0u, s, d);
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = s;
    __threadfence();
    unsigned int ticket = atomicInc(&retirementCount, gridDim.x);
    amLast = (ticket == gridDim.x - 1);
  }
  __syncwarp();
  if (amLast && threadIdx.x == 0) {
    float total = 0;
    for (int b = 0; b < gridDim.x; ++b) total += partial[b];
    *out = total;
    retirementCount = 0;
  }
}"""
    x = abs(normal(300))
    return source, 4, 32, (x, zeros(4), zeros(1), np.uint32(300)), {2: x.sum(dtype=np.float64)}


@case("i < n4", "i <= n4", "out of bounds: read .* array x")
def norm_by_float4():
    source = """
__device__ float dot4(float4 a, float4 b) { return a.x * b.x + a.y * b.y + a.z * b.z + a.w * b.w; }
__global__ void squared_norm(const float4* x, float* out, int n4) {
  float s = 0.f;
  for (int i = threadIdx.x; i < n4; i += blockDim.x) { const float4 v = x[i]; s += dot4(v, v); }
  for (int o = 16; o > 0; o >>= 1) s += __shfl_xor_sync(0xffffffff, s, o);
  __shared__ float w[4];
  if (threadIdx.x % 32 == 0) w[threadIdx.x / 32] = s;
  __syncthreads();
  if (threadIdx.x == 0) out[0] = sqrtf(w[0] + w[1] + w[2] + w[3]);
}"""
    x = normal(1024)
    return source, 1, 128, (x, zeros(1), 256), {1: np.linalg.norm(x.astype(np.float64))}

"""Kernels like those that a first course on CUDA shows."""

import numpy as np
from compiler.simulator.corpus import RNG, case, normal


@case("__syncthreads();\n  if (blockSize >= 256)", "if (blockSize >= 256)", "race: .* dynamic shared memory")
def reduction():
    """A reduction with several elements per thread, steps unrolled by a template, and shuffles in the last warp."""
    source = """
template <unsigned int blockSize>
__device__ void warpReduce(volatile float *sdata, unsigned int tid) {
  float v = sdata[tid];
  if (blockSize >= 64) v += sdata[tid + 32];
  for (int offset = 16; offset > 0; offset /= 2) v += __shfl_down_sync(0xffffffff, v, offset);
  if (tid == 0) sdata[0] = v;
}
template <unsigned int blockSize>
__global__ void reduce6(const float *g_idata, float *g_odata, unsigned int n) {
  extern __shared__ float sdata[];
  unsigned int tid = threadIdx.x;
  unsigned int i = blockIdx.x * (blockSize * 2) + tid;
  unsigned int gridSize = blockSize * 2 * gridDim.x;
  sdata[tid] = 0;
  while (i < n) {
    sdata[tid] += g_idata[i] + (i + blockSize < n ? g_idata[i + blockSize] : 0.f);
    i += gridSize;
  }
  __syncthreads();
  if (blockSize >= 256) { if (tid < 128) sdata[tid] += sdata[tid + 128]; __syncthreads(); }
  if (blockSize >= 128) { if (tid < 64) sdata[tid] += sdata[tid + 64]; __syncthreads(); }
  if (tid < 32) warpReduce<blockSize>(sdata, tid);
  if (tid == 0) g_odata[blockIdx.x] = sdata[0];
}
template __global__ void reduce6<128>(const float *, float *, unsigned int);
"""
    x = normal(1500)
    parts = np.zeros((3, 6, 256), np.float32).reshape(-1)
    parts[:1500] = x
    expected = parts.reshape(-1, 3, 256).sum(axis=(0, 2))
    return source, 3, 128, (x, np.zeros(3, np.float32), np.uint32(1500)), {1: expected}, 512


@case("offset >>= 1;\n    __syncthreads();", "offset >>= 1;", "race: .* dynamic shared memory")
def scan():
    """The work-efficient scan of a block, with padding against bank conflicts."""
    source = """
#define CONFLICT_FREE_OFFSET(n) ((n) >> 5)
__global__ void prescan(float *g_odata, const float *g_idata, int n) {
  extern __shared__ float temp[];
  int thid = threadIdx.x, offset = 1;
  int ai = thid, bi = thid + n / 2;
  temp[ai + CONFLICT_FREE_OFFSET(ai)] = g_idata[ai];
  temp[bi + CONFLICT_FREE_OFFSET(bi)] = g_idata[bi];
  for (int d = n >> 1; d > 0; d >>= 1) {
    __syncthreads();
    if (thid < d) {
      int ai = offset * (2 * thid + 1) - 1, bi = offset * (2 * thid + 2) - 1;
      ai += CONFLICT_FREE_OFFSET(ai); bi += CONFLICT_FREE_OFFSET(bi);
      temp[bi] += temp[ai];
    }
    offset *= 2;
  }
  if (thid == 0) temp[n - 1 + CONFLICT_FREE_OFFSET(n - 1)] = 0;
  for (int d = 1; d < n; d *= 2) {
    offset >>= 1;
    __syncthreads();
    if (thid < d) {
      int ai = offset * (2 * thid + 1) - 1, bi = offset * (2 * thid + 2) - 1;
      ai += CONFLICT_FREE_OFFSET(ai); bi += CONFLICT_FREE_OFFSET(bi);
      float t = temp[ai];
      temp[ai] = temp[bi];
      temp[bi] += t;
    }
  }
  __syncthreads();
  g_odata[ai] = temp[ai + CONFLICT_FREE_OFFSET(ai)];
  g_odata[bi] = temp[bi + CONFLICT_FREE_OFFSET(bi)];
}"""
    x = normal(256)
    expected = np.cumsum(x, dtype=np.float64) - x
    return source, 1, 128, (np.zeros(256, np.float32), x, np.int32(256)), {0: expected}, 264 * 4


@case("__syncthreads();\n  x = ", "x = ", "race: .* shared memory tile")
def transpose():
    source = """
const int TILE_DIM = 32;
const int BLOCK_ROWS = 8;
__global__ void transposeNoBankConflicts(float *odata, const float *idata) {
  __shared__ float tile[TILE_DIM][TILE_DIM + 1];
  int x = blockIdx.x * TILE_DIM + threadIdx.x;
  int y = blockIdx.y * TILE_DIM + threadIdx.y;
  int width = gridDim.x * TILE_DIM;
  for (int j = 0; j < TILE_DIM; j += BLOCK_ROWS) tile[threadIdx.y + j][threadIdx.x] = idata[(y + j) * width + x];
  __syncthreads();
  x = blockIdx.y * TILE_DIM + threadIdx.x;
  y = blockIdx.x * TILE_DIM + threadIdx.y;
  for (int j = 0; j < TILE_DIM; j += BLOCK_ROWS) odata[(y + j) * width + x] = tile[threadIdx.x][threadIdx.y + j];
}"""
    x = normal(64, 64)
    return source, (2, 2), (32, 8), (np.zeros_like(x), x), {0: x.T}


@case("if (idx >= N) return;", "", "out of bounds: .* array inp")
def softmax():
    """One row per warp, with cooperative groups."""
    source = """
#include <cooperative_groups.h>
#include <cooperative_groups/reduce.h>
__global__ void softmax_forward_kernel5(float* out, float inv_temperature, const float* inp, int N, int T) {
  namespace cg = cooperative_groups;
  cg::thread_block block = cg::this_thread_block();
  cg::thread_block_tile<32> warp = cg::tiled_partition<32>(block);
  int idx = blockIdx.x * warp.meta_group_size() + warp.meta_group_rank();
  if (idx >= N) return;
  const float* x = inp + idx * T;
  float maxval = -3.402823466e+38f, sumval = 0.0f;
  for (int i = warp.thread_rank(); i < T; i += warp.size()) {
    float old_maxval = maxval;
    maxval = fmaxf(maxval, x[i]);
    sumval *= expf(inv_temperature * (old_maxval - maxval));
    sumval += expf(inv_temperature * (x[i] - maxval));
  }
  float global_maxval = cg::reduce(warp, maxval, cg::greater<float>{});
  sumval *= expf(inv_temperature * (maxval - global_maxval));
  float sum = cg::reduce(warp, sumval, cg::plus<float>{});
  float norm = 1.f / sum;
  for (int i = warp.thread_rank(); i < T; i += warp.size())
    __stcs(out + idx * T + i, expf(inv_temperature * (__ldcs(x + i) - global_maxval)) * norm);
}"""
    x = normal(7, 50)
    e = np.exp(0.5 * (x - x.max(axis=1, keepdims=True)))
    arguments = (np.zeros_like(x), np.float32(0.5), x, np.int32(7), np.int32(50))
    return source, 2, 128, arguments, {0: e / e.sum(axis=1, keepdims=True)}


@case("shared[wid] = val;\n  __syncthreads();", "shared[wid] = val;", "race: .* shared memory shared")
def layer_norm():
    """One row per block: each warp reduces its sum by shuffles, and then the sums of all warps."""
    source = """
__inline__ __device__ float warpReduceSum(float val) {
#pragma unroll
  for (int mask = 16; mask > 0; mask >>= 1) val += __shfl_xor_sync(0xffffffff, val, mask, 32);
  return val;
}
__inline__ __device__ float blockReduceSum(float val) {
  static __shared__ float shared[32];
  int lane = threadIdx.x & 0x1f, wid = threadIdx.x >> 5;
  val = warpReduceSum(val);
  if (lane == 0) shared[wid] = val;
  __syncthreads();
  val = threadIdx.x < (blockDim.x / 32.f) ? shared[lane] : 0.0f;
  return warpReduceSum(val);
}
__global__ void layerNorm(const float4* __restrict__ x, float4* __restrict__ y, int n) {
  __shared__ float s_mean, s_variance;
  float4 v = x[blockIdx.x * blockDim.x + threadIdx.x];
  float mean = blockReduceSum(v.x + v.y + v.z + v.w);
  if (threadIdx.x == 0) s_mean = mean / n;
  __syncthreads();
  v.x -= s_mean; v.y -= s_mean; v.z -= s_mean; v.w -= s_mean;
  float variance = blockReduceSum(v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w);
  if (threadIdx.x == 0) s_variance = rsqrtf(variance / n + 1e-5f);
  __syncthreads();
  y[blockIdx.x * blockDim.x + threadIdx.x] =
      make_float4(v.x * s_variance, v.y * s_variance, v.z * s_variance, v.w * s_variance);
}"""
    x = normal(3, 256)
    expected = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    return source, 3, 64, (x, np.zeros_like(x), np.int32(256)), {1: expected}


@case("out + i,", "out + i + 1,", "out of bounds: atomic access .* array out")
def histogram():
    source = """
typedef unsigned int uint;
__global__ void histogram_smem_atomics(const unsigned char* in, int n, uint* out) {
  __shared__ uint smem[256];
  for (int i = threadIdx.x; i < 256; i += blockDim.x) smem[i] = 0;
  __syncthreads();
  const uchar4* in4 = reinterpret_cast<const uchar4*>(in);
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n / 4; i += gridDim.x * blockDim.x) {
    uchar4 v = in4[i];
    atomicAdd(&smem[v.x], 1); atomicAdd(&smem[v.y], 1); atomicAdd(&smem[v.z], 1); atomicAdd(&smem[v.w], 1);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 256; i += blockDim.x) if (smem[i]) atomicAdd(out + i, smem[i]);
}"""
    x = RNG.integers(0, 256, 4000).astype(np.uint8)
    arguments = (x, np.int32(4000), np.zeros(256, np.uint32))
    return source, 3, 96, arguments, {2: np.bincount(x, minlength=256)}


@case("__syncthreads();\n      uint pos", "uint pos", "race: .* shared memory s_key")
def bitonic_sort():
    source = """
__device__ inline void Comparator(uint &keyA, uint &keyB, uint dir) {
  if ((keyA > keyB) == dir) { uint t = keyA; keyA = keyB; keyB = t; }
}
__global__ void bitonicSortShared(uint *d_Key, uint arrayLength, uint dir) {
  __shared__ uint s_key[256];
  d_Key += blockIdx.x * 256 + threadIdx.x;
  s_key[threadIdx.x + 0] = d_Key[0];
  s_key[threadIdx.x + 128] = d_Key[128];
  for (uint size = 2; size < arrayLength; size <<= 1) {
    uint ddd = dir ^ ((threadIdx.x & (size / 2)) != 0);
    for (uint stride = size / 2; stride > 0; stride >>= 1) {
      __syncthreads();
      uint pos = 2 * threadIdx.x - (threadIdx.x & (stride - 1));
      Comparator(s_key[pos], s_key[pos + stride], ddd);
    }
  }
  for (uint stride = arrayLength / 2; stride > 0; stride >>= 1) {
    __syncthreads();
    uint pos = 2 * threadIdx.x - (threadIdx.x & (stride - 1));
    Comparator(s_key[pos], s_key[pos + stride], dir);
  }
  __syncthreads();
  d_Key[0] = s_key[threadIdx.x];
  d_Key[128] = s_key[threadIdx.x + 128];
}"""
    x = RNG.integers(0, 2**32, (2, 256)).astype(np.uint32)
    arguments = (x, np.uint32(256), np.uint32(1))
    return source, 2, 128, arguments, {0: np.sort(x, axis=1)}

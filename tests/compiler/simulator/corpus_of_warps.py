"""Warps and groups: shuffles, votes, matches, tiles, partitions, warp specialization, asynchronous copies."""

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


@case("(lane + 1) % 32", "(lane + 2) % 32", WRONG)
def rotation():
    source = """
__global__ void rotate(const int* x, int* y) {
  const int lane = threadIdx.x % warpSize;
  y[threadIdx.x] = __shfl_sync(0xffffffff, x[threadIdx.x], (lane + 1) % 32);
}"""
    x = integers(-9, 9, 2, 32)
    return source, 1, 64, (x, zeros(2, 32, dtype=np.int32)), {1: np.roll(x, -1, axis=1)}


@case("int d = 4", "int d = 8", WRONG)
def shuffles_of_parts():
    source = """
__global__ void sums_of_eight(const float* x, float* y) {
  float v = x[threadIdx.x];
  for (int d = 4; d > 0; d >>= 1) v += __shfl_down_sync(0xffffffff, v, d, 8);
  if (threadIdx.x % 8 == 0) y[threadIdx.x / 8] = v;
}"""
    x = normal(8, 8)
    return source, 1, 64, (x, zeros(8)), {1: x.sum(axis=1)}


@case("__syncwarp();\n  out", "out", "race: .* shared memory s")
def exchange_in_a_warp():
    source = """
__global__ void exchange(const float4* in, float* out) {
  __shared__ float4 s[32];
  s[threadIdx.x] = in[threadIdx.x];
  __syncwarp();
  out[threadIdx.x] = reinterpret_cast<float*>(s)[threadIdx.x] + reinterpret_cast<float*>(s)[96 + threadIdx.x];
}"""
    x = normal(128)
    return source, 1, 32, (x, zeros(32)), {1: x[:32] + x[96:]}


@case("tile.sync();\n    if (tile", "if (tile", "race: .* shared memory s")
def tiles_of_eight():
    source = """
#include <cooperative_groups.h>
using namespace cooperative_groups;
template <unsigned N> __device__ int tile_sum(thread_block_tile<N> tile, int* s, int v) {
  for (int i = tile.size() / 2; i > 0; i /= 2) {
    s[tile.thread_rank()] = v;
    tile.sync();
    if (tile.thread_rank() < i) v += s[tile.thread_rank() + i];
    tile.sync();
  }
  return v;
}
__global__ void sum_tiles(const int* x, int* y) {
  __shared__ int s[64];
  thread_block block = this_thread_block();
  auto tile = tiled_partition<8>(block);
  int v = tile_sum<8>(tile, s + tile.meta_group_rank() * 8, x[block.thread_rank()]);
  if (tile.thread_rank() == 0) y[tile.meta_group_rank()] = v;
}"""
    x = integers(-99, 99, 8, 8)
    return source, 1, 64, (x, zeros(8, dtype=np.int32)), {1: x.sum(axis=1)}


@case("active.size()", "32", WRONG)
def coalesced_groups():
    source = """
#include <cooperative_groups.h>
namespace cg = cooperative_groups;
__global__ void count_odd(const int* x, int* y) {
  if (x[threadIdx.x] & 1) {
    cg::coalesced_group active = cg::coalesced_threads();
    if (active.thread_rank() == 0) atomicAdd(y, active.size());
  }
}"""
    x = integers(0, 99, 64)
    x[0] = 2
    x[40] = 4
    return source, 1, 64, (x, zeros(1, dtype=np.int32)), {1: (x & 1).sum()}


@case("__syncthreads();  // full", "", "(race|uninitialized read): .* shared memory slot")
def producer_and_consumer_warps():
    """Warp specialization: one warp loads while the other computes, by turns of two slots."""
    source = """
__global__ void specialized(const float* x, float* y, int tiles) {
  __shared__ float slot[2][32];
  const int warp = threadIdx.x / 32, lane = threadIdx.x % 32;
  float sum = 0.f;
  for (int t = 0; t <= tiles; ++t) {
    if (warp == 0 && t < tiles) slot[t % 2][lane] = x[t * 32 + lane];
    if (warp == 1 && t > 0) sum += slot[(t - 1) % 2][31 - lane];
    __syncthreads();  // full
  }
  if (warp == 1) y[31 - lane] = sum;
}"""
    x = normal(6, 32)
    return source, 1, 64, (x, zeros(32), 6), {1: x.sum(axis=0)}


@case("if (threadIdx.x < 40) {\n    x", "if (threadIdx.x < 40) { __syncthreads();\n    x", "divergent|barrier")
def early_work_without_barriers():
    source = """
__global__ void bump(int* x) {
  if (threadIdx.x < 40) {
    x[threadIdx.x] += 1;
  }
  __syncthreads();
  if (threadIdx.x >= 24) x[threadIdx.x - 24] *= 2;
}"""
    x = integers(-9, 9, 64)
    y = x.copy()
    y[:40] = (y[:40] + 1) * 2
    return source, 1, 64, (x,), {0: y}


@case("__syncwarp(mask);", "", "race: .* shared memory s")
def half_of_a_warp():
    source = """
__global__ void half_warp(const int* x, int* y) {
  __shared__ int s[16];
  if (threadIdx.x < 16) {
    const unsigned mask = 0xffff;
    s[threadIdx.x] = x[threadIdx.x];
    __syncwarp(mask);
    y[threadIdx.x] = s[15 - threadIdx.x];
  } else {
    y[threadIdx.x] = __reduce_max_sync(0xffff0000, x[threadIdx.x]);
  }
}"""
    x = integers(-99, 99, 32)
    return source, 1, 32, (x, zeros(32, dtype=np.int32)), {1: np.append(x[15::-1], np.full(16, x[16:].max()))}


@case("cg::inclusive_scan(warp, v)", "cg::exclusive_scan(warp, v)", WRONG)
def scan_of_groups():
    source = """
#include <cooperative_groups.h>
#include <cooperative_groups/scan.h>
namespace cg = cooperative_groups;
__global__ void scans(const int* x, int* y) {
  auto warp = cg::tiled_partition<32>(cg::this_thread_block());
  const int v = x[threadIdx.x];
  y[threadIdx.x] = cg::inclusive_scan(warp, v);
}"""
    x = integers(-9, 9, 2, 32)
    return source, 1, 64, (x, zeros(2, 32, dtype=np.int32)), {1: np.cumsum(x, axis=1)}


@case("__pipeline_wait_prior(0);", "", "(race|uninitialized read): .* shared memory s")
def copy_in_the_background():
    source = """
#include <cuda_pipeline.h>
__global__ void staged(const float* x, float* y) {
  __shared__ float s[64];
  __pipeline_memcpy_async(&s[threadIdx.x], &x[blockIdx.x * 64 + threadIdx.x], sizeof(float));
  __pipeline_commit();
  __pipeline_wait_prior(0);
  __syncthreads();
  y[blockIdx.x * 64 + threadIdx.x] = s[threadIdx.x ^ 33];
}"""
    x = normal(3, 64)
    return source, 3, 64, (x, zeros(3, 64)), {1: x[:, np.arange(64) ^ 33]}


@case("0xffff0000u", "0x0000ffffu", "mask")
def branches_with_their_own_masks():
    source = """
__global__ void branches(const int* x, int* y) {
  const int lane = threadIdx.x;
  const unsigned mask = lane < 16 ? 0x0000ffffu : 0xffff0000u;
  int v = x[lane];
  if (lane < 16) { for (int d = 8; d; d /= 2) v += __shfl_xor_sync(mask, v, d); }
  else { for (int d = 8; d; d /= 2) v = max(v, __shfl_xor_sync(mask, v, d)); }
  y[lane] = v;
}"""
    x = integers(-99, 99, 32)
    expected = np.append(np.full(16, x[:16].sum()), np.full(16, x[16:].max()))
    return source, 1, 32, (x, zeros(32, dtype=np.int32)), {1: expected}


@case("__match_all_sync(~0u, v, &same)", "__match_all_sync(~0u, v + (int)threadIdx.x, &same)", WRONG)
def uniform_warps():
    source = """
__global__ void uniform(const int* x, int* y) {
  const int v = x[blockIdx.x * 32 + threadIdx.x];
  int same;
  __match_all_sync(~0u, v, &same);
  if (threadIdx.x == 0) y[blockIdx.x] = same;
}"""
    x = integers(0, 9, 3, 32)
    x[1] = 5
    return source, 3, 32, (x, zeros(3, dtype=np.int32)), {1: np.array([0, 1, 0])}

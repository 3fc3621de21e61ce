"""Tensor cores and asynchronous copies: wmma of bytes, bfloat16 and half, accumulators, PTX, barriers, pipelines."""

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


@case("fill_fragment(acc, 0)", "fill_fragment(acc, 1)", WRONG)
def wmma_of_bytes():
    source = """
#include <mma.h>
using namespace nvcuda::wmma;
__global__ void imma(const signed char* a, const signed char* b, int* c, int k) {
  fragment<matrix_a, 16, 16, 16, signed char, row_major> fa;
  fragment<matrix_b, 16, 16, 16, signed char, col_major> fb;
  fragment<accumulator, 16, 16, 16, int> acc;
  fill_fragment(acc, 0);
  for (int i = 0; i < k; i += 16) {
    load_matrix_sync(fa, a + i, k);
    load_matrix_sync(fb, b + i, k);
    mma_sync(acc, fa, fb, acc);
  }
  store_matrix_sync(c, acc, 16, mem_row_major);
}"""
    a, b = integers(-128, 128, 16, 32, dtype=np.int8), integers(-128, 128, 16, 32, dtype=np.int8)
    return source, 1, 32, (a, b, zeros(16, 16, dtype=np.int32), 32), {2: a.astype(int) @ b.astype(int).T}


@case("i < acc.num_elements", "i < acc.num_elements - 1", WRONG)
def epilogue_on_a_fragment():
    source = """
#include <mma.h>
#include <cuda_fp16.h>
using namespace nvcuda;
__global__ void gemm_relu(const half* a, const half* b, const float* c, float* d, float alpha) {
  wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> fa;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::row_major> fb;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> acc, fc;
  wmma::fill_fragment(acc, 0.0f);
  wmma::load_matrix_sync(fa, a, 16);
  wmma::load_matrix_sync(fb, b, 16);
  wmma::mma_sync(acc, fa, fb, acc);
  wmma::load_matrix_sync(fc, c, 16, wmma::mem_row_major);
  for (int i = 0; i < acc.num_elements; i++) acc.x[i] = fmaxf(alpha * acc.x[i] + fc.x[i], 0.0f);
  wmma::store_matrix_sync(d, acc, 16, wmma::mem_row_major);
}"""
    a, b = integers(-4, 4, 16, 16, dtype=np.float16), integers(-4, 4, 16, 16, dtype=np.float16)
    c = normal(16, 16)
    expected = np.maximum(0.5 * (a.astype(np.float64) @ b) + c, 0)
    return source, 1, 32, (a, b, c, zeros(16, 16), 0.5), {3: expected}


@case("c + warp * 16", "c + warp * 8", "race: .* array c")
def two_warps_of_fragments():
    source = """
#include <mma.h>
using namespace nvcuda;
__global__ void wide(const half* a, const half* b, half* c) {
  const int warp = threadIdx.x / warpSize;
  wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> fa;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::row_major> fb;
  wmma::fragment<wmma::accumulator, 16, 16, 16, half> fc;
  wmma::fill_fragment(fc, __float2half(0.f));
  wmma::load_matrix_sync(fa, a, 16);
  wmma::load_matrix_sync(fb, b + warp * 16, 32);
  wmma::mma_sync(fc, fa, fb, fc);
  wmma::store_matrix_sync(c + warp * 16, fc, 32, wmma::mem_row_major);
}"""
    a, b = integers(-4, 4, 16, 16, dtype=np.float16), integers(-4, 4, 16, 32, dtype=np.float16)
    return source, 1, 64, (a, b, zeros(16, 32, dtype=np.float16)), {2: a.astype(np.float64) @ b}


@case("cp.async.wait_group 0;", "cp.async.wait_group 1;", "(race|uninitialized read): .* shared memory s")
def copies_by_ptx():
    source = """
#define CP_ASYNC(dst, src) asm volatile("cp.async.cg.shared.global [%0], [%1], 16;\\n" ::"r"(dst), "l"(src))
__global__ void staged(const float4* x, float4* y) {
  __shared__ float4 s[32];
  const unsigned to = static_cast<unsigned>(__cvta_generic_to_shared(&s[threadIdx.x]));
  CP_ASYNC(to, x + threadIdx.x);
  asm volatile("cp.async.commit_group;");
  asm volatile("cp.async.wait_group 0;");
  __syncthreads();
  y[threadIdx.x] = s[31 - threadIdx.x];
}"""
    x = normal(32, 4)
    return source, 1, 32, (x, zeros(32, 4)), {1: x[::-1]}


@case("bar.arrive_and_wait();  // filled", "bar.arrive();", "race: .* shared memory s")
def phases_of_a_barrier():
    source = """
#include <cuda/barrier>
__global__ void shift(const float* x, float* y, int rounds) {
  __shared__ cuda::barrier<cuda::thread_scope_block> bar;
  __shared__ float s[64];
  if (threadIdx.x == 0) init(&bar, blockDim.x);
  __syncthreads();
  float v = x[threadIdx.x];
  for (int r = 0; r < rounds; ++r) {
    s[threadIdx.x] = v;
    bar.arrive_and_wait();  // filled
    v += s[(threadIdx.x + 1) % 64];
    bar.arrive_and_wait();
  }
  y[threadIdx.x] = v;
}"""
    x = normal(64)
    expected = x.astype(np.float64)
    for _ in range(3):
        expected = expected + np.roll(expected, -1)
    return source, 1, 64, (x, zeros(64), 3), {1: expected}


@case("ref.fetch_add(1, cuda::memory_order_relaxed)", "counters[x[i]]++", "race: .* array counters")
def counters_by_reference():
    source = """
#include <cuda/atomic>
__global__ void count(const int* x, int* counters, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  cuda::atomic_ref<int, cuda::thread_scope_device> ref(counters[x[i]]);
  ref.fetch_add(1, cuda::memory_order_relaxed);
}"""
    x = integers(0, 6, 100)
    return source, 4, 32, (x, zeros(6, dtype=np.int32), 100), {1: np.bincount(x, minlength=6)}


@case("__dp4a(a[i], b[i], s)", "__dp4a(a[i], b[i + 1], s)", "out of bounds: read .* array b")
def dot_products_of_bytes():
    source = """
__global__ void dots(const int* a, const int* b, int* y, int words) {
  int s = 0;
  a += threadIdx.x * words;
  for (int i = 0; i < words; ++i) s = __dp4a(a[i], b[i], s);
  y[threadIdx.x] = s;
}"""
    a, b = integers(-128, 128, 20, 16, dtype=np.int8), integers(-128, 128, 16, dtype=np.int8)
    return source, 1, 20, (a, b, zeros(20, dtype=np.int32), 4), {2: a.astype(int) @ b.astype(int)}


@case("__syncthreads();  // the tile has been read", "", "race: .* shared memory tile")
def pipelined_rows():
    source = """
#include <cuda_pipeline.h>
__global__ void rows(const float* x, float* y, int n) {
  __shared__ float tile[2][64];
  float s = 0;
  for (int r = 0; r < n + 1; ++r) {
    if (r < n) __pipeline_memcpy_async(&tile[r & 1][threadIdx.x], x + r * 64 + threadIdx.x, 4);
    __pipeline_commit();
    if (r == 0) continue;
    __pipeline_wait_prior(1);
    __syncthreads();
    s += tile[(r - 1) & 1][63 - threadIdx.x];
    __syncthreads();  // the tile has been read
  }
  y[63 - threadIdx.x] = s;
}"""
    x = normal(5, 64)
    return source, 1, 64, (x, zeros(64), 5), {1: x.sum(axis=0)}

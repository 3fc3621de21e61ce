"""Kernels that use the younger parts of CUDA: tensor cores, asynchronous copies, barriers and atomics of libcu++, PTX.

In the form of `corpus.KERNELS`.
"""

import numpy as np
from compiler.simulator.corpus import RNG, normal


def wmma():
    """A warp a tile of 16 x 16, in the manner of the first example that everyone reads."""
    source = """
#include <mma.h>
using namespace nvcuda;
__global__ void wmma_ker(const half* a, const half* b, float* c, int K, int N) {
  wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> a_frag;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major> b_frag;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> c_frag;
  wmma::fill_fragment(c_frag, 0.0f);
  const int row = blockIdx.y * 16, col = (blockIdx.x * blockDim.y + threadIdx.y) * 16;
  for (int k = 0; k < K; k += 16) {
    wmma::load_matrix_sync(a_frag, a + row * K + k, K);
    wmma::load_matrix_sync(b_frag, b + col * K + k, K);
    wmma::mma_sync(c_frag, a_frag, b_frag, c_frag);
  }
  for (int i = 0; i < c_frag.num_elements; i++) c_frag.x[i] *= 2;
  wmma::store_matrix_sync(c + row * N + col, c_frag, N, wmma::mem_row_major);
}"""
    a, b, c = normal(32, 48).astype(np.float16), normal(32, 48).astype(np.float16), np.zeros((32, 32), np.float32)
    arguments = (a, b, c, np.int32(48), np.int32(32))
    return source, "wmma_ker", (1, 2), (32, 2), 0, arguments, {2: 2 * a.astype(np.float64) @ b.T.astype(np.float64)}


def wmma_tf32():
    source = """
#include <mma.h>
using namespace nvcuda::wmma;
__global__ void product(const float* a, const float* b, float* c) {
  fragment<matrix_a, 16, 16, 8, precision::tf32, col_major> a_frag;
  fragment<matrix_b, 16, 16, 8, precision::tf32, row_major> b_frag;
  fragment<accumulator, 16, 16, 8, float> c_frag;
  load_matrix_sync(a_frag, a, 16);
  load_matrix_sync(b_frag, b, 16);
  load_matrix_sync(c_frag, c, 16, mem_col_major);
  for (auto& x : a_frag.x) x = __float_to_tf32(x);
  for (auto& x : b_frag.x) x = __float_to_tf32(x);
  mma_sync(c_frag, a_frag, b_frag, c_frag);
  store_matrix_sync(c, c_frag, 16, mem_col_major);
}"""
    a, b, c = (RNG.integers(-9, 9, shape).astype(np.float32) for shape in ((8, 16), (8, 16), (16, 16)))
    return source, "product", 1, 32, 0, (a, b, c), {2: b.T @ a + c}


def ptx_product():
    """cp.async, ldmatrix and mma.sync by inline PTX: a warp multiplies 16 x 32 by 32 x 8."""
    source = r"""
#include <cuda_fp16.h>
#include <stdint.h>
__device__ __forceinline__ void cp_async16(void* smem, const void* gmem, bool pred) {
  uint32_t addr = static_cast<uint32_t>(__cvta_generic_to_shared(smem));
  asm volatile(
      "{\n"
      "  .reg .pred p;\n"
      "  setp.ne.b32 p, %0, 0;\n"
      "  @p cp.async.cg.shared.global.L2::128B [%1], [%2], %3;\n"
      "}\n" ::"r"((int)pred), "r"(addr), "l"(gmem), "n"(16));
}
__global__ void product(const half* a, const half* b, float* c) {
  __shared__ __align__(16) half As[16][32], Bs[32][8];
  const int lane = threadIdx.x;
  for (int i = lane; i < 64; i += 32) cp_async16(&As[i / 4][i % 4 * 8], a + 8 * i, true);
  cp_async16(&Bs[lane][0], b + 8 * lane, lane < 32);
  asm volatile("cp.async.commit_group;\n" ::: "memory");
  asm volatile("cp.async.wait_group %0;\n" ::"n"(0) : "memory");
  __syncwarp();
  float d[4] = {0, 0, 0, 0};
  for (int k = 0; k < 32; k += 16) {
    uint32_t ra[4], rb[2];
    uint32_t at = __cvta_generic_to_shared(&As[lane % 16][k + lane / 16 * 8]);
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(ra[0]), "=r"(ra[1]), "=r"(ra[2]), "=r"(ra[3]) : "r"(at));
    at = __cvta_generic_to_shared(&Bs[k + lane % 16][0]);
    asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0, %1}, [%2];"
                 : "=r"(rb[0]), "=r"(rb[1]) : "r"(at));
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(ra[0]), "r"(ra[1]), "r"(ra[2]), "r"(ra[3]), "r"(rb[0]), "r"(rb[1]),
                   "f"(d[0]), "f"(d[1]), "f"(d[2]), "f"(d[3]));
  }
  int id;
  asm("mov.u32 %0, %%laneid;" : "=r"(id));
  float* out = c + id / 4 * 8 + id % 4 * 2;
  asm volatile("st.global.v2.f32 [%0], {%1, %2};" ::"l"(out), "f"(d[0]), "f"(d[1]));
  asm volatile("st.global.v2.f32 [%0+256], {%1, %2};" ::"l"(out), "f"(d[2]), "f"(d[3]));
}"""
    a, b = normal(16, 32).astype(np.float16), normal(32, 8).astype(np.float16)
    expected = a.astype(np.float64) @ b.astype(np.float64)
    return source, "product", 1, 32, 0, (a, b, np.zeros((16, 8), np.float32)), {2: expected}


def pipeline_primitives():
    """Two stages in flight; the rows past the end are zeros."""
    source = """
#include <cuda_pipeline.h>
__global__ void column_sums(const float4* x, float4* sums, int rows) {
  __shared__ float4 stages[2][32];
  float4 sum = make_float4(0, 0, 0, 0);
  auto fetch = [&](int row) {
    __pipeline_memcpy_async(&stages[row % 2][threadIdx.x], &x[row * 32 + threadIdx.x], sizeof(float4));
    __pipeline_commit();
  };
  fetch(0);
  for (int row = 0; row < rows; ++row) {
    if (row + 1 < rows) fetch(row + 1);
    else __pipeline_commit();
    __pipeline_wait_prior(1);
    __syncthreads();
    const float4 v = stages[row % 2][31 - threadIdx.x];
    sum.x += v.x; sum.y += v.y; sum.z += v.z; sum.w += v.w;
    __syncthreads();
  }
  sums[31 - threadIdx.x] = sum;
}"""
    x = normal(5, 128)
    return source, "column_sums", 1, 32, 0, (x, np.zeros(128, np.float32), np.int32(5)), {1: x.sum(axis=0)}


def block_pipeline():
    """cuda::pipeline of a block, as in the programming guide: every thread produces and consumes."""
    source = """
#include <cooperative_groups.h>
#include <cuda/pipeline>
__global__ void with_staging(int* out, const int* in, int batches) {
  auto block = cooperative_groups::this_thread_block();
  extern __shared__ int shared[];
  constexpr auto scope = cuda::thread_scope_block;
  constexpr int stages = 2;
  __shared__ cuda::pipeline_shared_state<scope, stages> state;
  auto pipeline = cuda::make_pipeline(block, &state);
  for (int compute = 0, fetch = 0; compute < batches; ++compute) {
    for (; fetch < batches && fetch < compute + stages; ++fetch) {
      pipeline.producer_acquire();
      cuda::memcpy_async(block, shared + fetch % stages * 64, in + fetch * 64, sizeof(int) * 64, pipeline);
      pipeline.producer_commit();
    }
    pipeline.consumer_wait();
    out[compute * 64 + threadIdx.x] = shared[compute % stages * 64 + 63 - threadIdx.x];
    pipeline.consumer_release();
  }
}"""
    x = RNG.integers(-99, 99, (4, 64)).astype(np.int32)
    return source, "with_staging", 1, 64, 512, (np.zeros_like(x), x, np.int32(4)), {0: x[:, ::-1]}


def block_barrier():
    """cuda::barrier: copies that it waits for, then a phase between arrival and wait."""
    source = """
#include <cooperative_groups.h>
#include <cuda/barrier>
#include <cuda/std/utility>
using barrier = cuda::barrier<cuda::thread_scope_block>;
__global__ void smooth(const float* x, float* y) {
  __shared__ barrier bar;
  __shared__ float s[66];
  auto block = cooperative_groups::this_thread_block();
  if (block.thread_rank() == 0) init(&bar, block.size());
  block.sync();
  cuda::memcpy_async(block, s, x + blockIdx.x * 64, sizeof(float) * 66, bar);
  bar.arrive_and_wait();
  const float v = s[threadIdx.x] + s[threadIdx.x + 1] + s[threadIdx.x + 2];
  barrier::arrival_token token = bar.arrive();
  y[blockIdx.x * 64 + threadIdx.x] = v;
  bar.wait(std::move(token));
  s[threadIdx.x] = v;
}"""
    x = normal(130)
    expected = np.convolve(x.astype(np.float64), np.ones(3), "valid")
    return source, "smooth", 2, 64, 0, (x, np.zeros(128, np.float32)), {1: expected}


def library_atomics():
    """The last block adds up what the others left, by an atomic counter that releases and acquires."""
    source = """
#include <cuda/atomic>
__device__ cuda::atomic<unsigned, cuda::thread_scope_device> arrived;
__global__ void total(const int* x, int* partial, int* sum, int* most) {
  __shared__ cuda::atomic<int, cuda::thread_scope_block> in_block;
  __shared__ bool last;
  if (threadIdx.x == 0) in_block.store(0, cuda::memory_order_relaxed);
  __syncthreads();
  const int v = x[blockIdx.x * blockDim.x + threadIdx.x];
  in_block += v;
  cuda::atomic_ref<int, cuda::thread_scope_device>(*most).fetch_max(v, cuda::std::memory_order_relaxed);
  __syncthreads();
  if (threadIdx.x == 0) {
    partial[blockIdx.x] = in_block.load(cuda::memory_order_relaxed);
    last = arrived.fetch_add(1, cuda::memory_order_acq_rel) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && threadIdx.x == 0) {
    for (int i = 0; i < gridDim.x; ++i) *sum += partial[i];
    arrived = 0;
  }
}"""
    x = RNG.integers(-99, 99, (3, 64)).astype(np.int32)
    arguments = (x, *(np.zeros(n, np.int32) for n in (3, 1, 1)))
    return source, "total", 3, 64, 0, arguments, {1: x.sum(axis=1), 2: x.sum(), 3: x.max()}


def group_copies():
    source = """
#include <cooperative_groups.h>
#include <cooperative_groups/memcpy_async.h>
namespace cg = cooperative_groups;
__global__ void reverse(const float* x, float* y) {
  __shared__ float s[96];
  cg::thread_block block = cg::this_thread_block();
  cg::memcpy_async(block, s, x + blockIdx.x * 96, sizeof(s));
  cg::wait(block);
  for (int i = threadIdx.x; i < 96; i += blockDim.x) y[blockIdx.x * 96 + i] = s[95 - i];
}"""
    x = normal(2, 96)
    return source, "reverse", 2, 64, 0, (x, np.zeros_like(x)), {1: x[:, ::-1]}


def quantized_rows():
    """Products of signed bytes by dp4a, the scales by an array of structs."""
    source = """
struct Scale { float factor; int zero; };
__global__ void matvec(const int* __restrict__ w, const int* __restrict__ x, const Scale* scales, float* y, int words) {
  int sum = 0;
  for (int i = threadIdx.x; i < words; i += 32) sum = __dp4a(w[blockIdx.x * words + i], x[i], sum);
  sum = __reduce_add_sync(0xffffffff, sum);
  if (threadIdx.x == 0) y[blockIdx.x] = scales[blockIdx.x].factor * (sum - scales[blockIdx.x].zero);
}"""
    w, x = RNG.integers(-128, 128, (3, 200)).astype(np.int8), RNG.integers(-128, 128, 200).astype(np.int8)
    scales = np.array([(0.5, 1), (2, -3), (1, 0)], [("factor", "f4"), ("zero", "i4")])
    expected = scales["factor"] * (w.astype(int) @ x.astype(int) - scales["zero"])
    return source, "matvec", 3, 32, 0, (w, x, scales, np.zeros(3, np.float32), np.int32(50)), {3: expected}


_FUNCTIONS = (wmma, wmma_tf32, ptx_product, pipeline_primitives, block_pipeline, block_barrier, library_atomics)
KERNELS = {f.__name__: f for f in (*_FUNCTIONS, group_copies, quantized_rows)}

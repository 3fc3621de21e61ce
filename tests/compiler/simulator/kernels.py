"""Correct kernels of the kinds that networks need, each with its NumPy reference.

`CASES[name]()` returns (source, grid, block, arguments, launch options, {argument's index: expected value}).
"""

import re

import numpy as np

from gpunet.simulator.engine import load
from gpunet.simulator.findings import raise_errors
from gpunet.simulator.parameters import Buffer


def buffer(array, flags=None):
    """Return a NumPy array as what the engine takes; `flags` say which of its bytes hold a value."""
    return Buffer(array.ctypes.data, array.nbytes, flags.ctypes.data if flags is not None else 0)


def simulate(source, grid, block, *args, **options):
    """Launch the first kernel of a source on NumPy arrays, and raise what is found; options as for `inspect`."""
    counts, found = _inspect(source, grid, block, *args, **options)
    raise_errors("k", found)
    return counts


def inspect(source, grid, block, *args, **options):
    """Launch the first kernel of a source on NumPy arrays and return what is found; those in `fresh` are unwritten."""
    return _inspect(source, grid, block, *args, **options)[1]


def together(sources):
    """Compile sources of one kernel each, all at once; return the kernels by the sources' names."""
    return {name: kernel for name, (kernel,) in all_together(sources).items()}


def all_together(sources):
    """Compile sources all at once; return the list of each one's kernels by its name."""
    spaces = (
        f'namespace case{i} {{\n#line 1 "test.cu"\n{text}\n}}\n{_undefine(text)}'
        for i, text in enumerate(sources.values())
    )
    library = load("".join(spaces).replace('extern "C" __global__', "__global__"), "test.cu", mode="check")
    kernels = {name: [] for name in sources}
    for qualified, kernel in library.kernels.items():
        kernels[list(sources)[int(qualified.removeprefix("case").partition("::")[0])]].append(kernel)
    return kernels


def _undefine(source):
    return "".join(f"#undef {name}\n" for name in re.findall(r"^\s*#\s*define\s+(\w+)", source, re.MULTILINE))


def _inspect(source, *launch, mode="check", options=(), **options_of_launch):
    kernel = next(iter(load(source, "test.cu", options, mode).kernels.values()))
    return inspect_kernel(kernel, *launch, **options_of_launch)


def inspect_kernel(kernel, grid, block, *args, fresh=(), **launch):
    """Launch a kernel on NumPy arrays and return what is counted and found; those in `fresh` count as never written."""
    flags = [np.zeros(a.nbytes, np.uint8) for a in fresh]
    packed = []
    for a in args:
        if isinstance(a, np.ndarray):
            packed.append(buffer(a, next((f for b, f in zip(fresh, flags, strict=True) if b is a), None)))
        else:
            packed.append(np.int32(a) if isinstance(a, int) else a)
    kernel.max_dynamic_shared_size_bytes = 200 * 1024
    return kernel.inspect(grid, block, packed, **launch)


def _rng():
    return np.random.default_rng(0)


def _normal(*shape, dtype=np.float32):
    return _rng().standard_normal(shape).astype(dtype)


TILED_MATMUL = r"""
#define TILE 16
extern "C" __global__ void __launch_bounds__(TILE * TILE)
matmul(const float* __restrict__ a, const float* __restrict__ b, float* __restrict__ c, int m, int n, int k) {
  __shared__ float As[2][TILE][TILE + 1], Bs[2][TILE][TILE];  // double buffered: one barrier per tile
  const int tx = threadIdx.x, ty = threadIdx.y;
  const int row = blockIdx.y * TILE + ty, col = blockIdx.x * TILE + tx;
  float sum = 0.0f;
  for (int k0 = 0, buffer = 0; k0 < k; k0 += TILE, buffer ^= 1) {
    As[buffer][ty][tx] = row < m && k0 + tx < k ? __ldg(&a[(size_t)row * k + k0 + tx]) : 0.0f;
    Bs[buffer][ty][tx] = col < n && k0 + ty < k ? __ldg(&b[(size_t)(k0 + ty) * n + col]) : 0.0f;
    __syncthreads();
#pragma unroll
    for (int i = 0; i < TILE; ++i) sum = fmaf(As[buffer][ty][i], Bs[buffer][i][tx], sum);
  }
  if (row < m && col < n) c[(size_t)row * n + col] = sum;
}
"""


def matmul():
    m, n, k = 33, 47, 50
    a, b, c = _normal(m, k), _normal(k, n), np.full((m, n), np.nan, np.float32)
    return TILED_MATMUL, (3, 3), (16, 16), (a, b, c, m, n, k), {}, {2: a @ b}


def register_tile():
    """float4 loads and stores, a register tile, a template whose shared memory belongs to the kernel."""
    source = r"""
template <int BM, int BN, int BK>
__device__ void multiply(const float* a, const float* b, float* c, int n, int k, float (&As)[BK][BM],
                         float (&Bs)[BK][BN]) {
  const int t = threadIdx.x, row = t / (BN / 4) * 4, col = t % (BN / 4) * 4;
  float sum[4][4] = {};
  for (int k0 = 0; k0 < k; k0 += BK) {
    for (int i = t; i < BM * BK; i += blockDim.x) As[i % BK][i / BK] = a[(blockIdx.y * BM + i / BK) * k + k0 + i % BK];
    for (int i = 4 * t; i < BK * BN; i += 4 * blockDim.x)
      *reinterpret_cast<float4*>(&Bs[i / BN][i % BN]) =
          *reinterpret_cast<const float4*>(&b[(k0 + i / BN) * n + blockIdx.x * BN + i % BN]);
    __syncthreads();
    for (int i = 0; i < BK; ++i) {
      const float4 x = *reinterpret_cast<float4*>(&As[i][row]), y = *reinterpret_cast<float4*>(&Bs[i][col]);
      const float xs[4] = {x.x, x.y, x.z, x.w}, ys[4] = {y.x, y.y, y.z, y.w};
      for (int r = 0; r < 4; ++r)
        for (int s = 0; s < 4; ++s) sum[r][s] += xs[r] * ys[s];
    }
    __syncthreads();
  }
  for (int r = 0; r < 4; ++r)
    *reinterpret_cast<float4*>(&c[(blockIdx.y * BM + row + r) * n + blockIdx.x * BN + col]) =
        make_float4(sum[r][0], sum[r][1], sum[r][2], sum[r][3]);
}
extern "C" __global__ void __launch_bounds__(64) k(const float* a, const float* b, float* c, int n, int k) {
  __shared__ __align__(16) float As[8][32];
  __shared__ __align__(16) float Bs[8][32];
  multiply(a, b, c, n, k, As, Bs);
}"""
    a, b, c = _normal(64, 40), _normal(40, 96), np.full((64, 96), np.nan, np.float32)
    return source, (3, 2), (64,), (a, b, c, 96, 40), {}, {2: a @ b}


def softmax():
    """A warp a row, reduced by shuffles."""
    source = r"""
__device__ __forceinline__ float warp_max(float v) {
  for (int o = 16; o > 0; o >>= 1) v = fmaxf(v, __shfl_xor_sync(0xffffffffu, v, o));
  return v;
}
__device__ __forceinline__ float warp_sum(float v) {
  for (int o = 16; o > 0; o >>= 1) v += __shfl_xor_sync(0xffffffffu, v, o);
  return v;
}
extern "C" __global__ void k(const float* x, float* y, int rows, int cols) {
  const int row = blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32, lane = threadIdx.x & 31;
  if (row >= rows) return;
  float top = -3.0e38f, total = 0.0f;
  for (int i = lane; i < cols; i += 32) top = max(top, x[row * cols + i]);
  top = warp_max(top);
  for (int i = lane; i < cols; i += 32) total += expf(x[row * cols + i] - top);
  total = warp_sum(total);
  for (int i = lane; i < cols; i += 32) y[row * cols + i] = expf(x[row * cols + i] - top) / total;
}"""
    x = _normal(7, 45)
    e = np.exp(x - x.max(1, keepdims=True))
    return source, (2,), (128,), (x, np.full_like(x, np.nan), 7, 45), {}, {1: e / e.sum(1, keepdims=True)}


def tree_reduction():
    """Dynamic shared memory, halved with a barrier a step; the last warp on __syncwarp."""
    source = r"""
extern "C" __global__ void k(const float* x, float* y, int n) {
  extern __shared__ float s[];
  const int t = threadIdx.x;
  float v = 0.0f;
  for (int i = blockIdx.x * blockDim.x + t; i < n; i += gridDim.x * blockDim.x) v += x[i];
  s[t] = v;
  __syncthreads();
  for (int o = blockDim.x / 2; o >= 32; o >>= 1) {
    if (t < o) s[t] += s[t + o];
    __syncthreads();
  }
  if (t < 32)
    for (int o = 16; o > 0; o >>= 1) {
      const float other = t < o ? s[t + o] : 0.0f;
      __syncwarp();
      if (t < o) s[t] += other;
      __syncwarp();
    }
  if (t == 0) y[blockIdx.x] = s[0];
}"""
    x = _normal(1000)
    parts = np.zeros((3, 128), np.float64)
    for i, v in enumerate(x):
        parts[i // 128 % 3, i % 128] += v
    return source, (3,), (128,), (x, np.zeros(3, np.float32), 1000), {"shared_bytes": 512}, {1: parts.sum(1)}


def cooperative_normalize():
    """Two phases with a grid barrier between them."""
    source = r"""
#include <cooperative_groups.h>
namespace cg = cooperative_groups;
extern "C" __global__ void __launch_bounds__(128) k(float* x, float* partial, int n) {
  cg::grid_group grid = cg::this_grid();
  cg::thread_block block = cg::this_thread_block();
  cg::thread_block_tile<32> warp = cg::tiled_partition<32>(block);
  __shared__ float sums[4];
  float v = 0.0f;
  for (int i = grid.thread_rank(); i < n; i += grid.size()) v += x[i];
  for (int o = warp.size() / 2; o > 0; o >>= 1) v += warp.shfl_down(v, o);
  if (warp.thread_rank() == 0) sums[warp.meta_group_rank()] = v;
  block.sync();
  if (threadIdx.x == 0) partial[blockIdx.x] = sums[0] + sums[1] + sums[2] + sums[3];
  grid.sync();
  float total = 0.0f;
  for (unsigned b = 0; b < gridDim.x; ++b) total += partial[b];
  for (int i = grid.thread_rank(); i < n; i += grid.size()) x[i] /= total;
}"""
    x = np.abs(_normal(700)) + 0.1
    return (
        source,
        (4,),
        (128,),
        (x.copy(), np.full(4, np.nan, np.float32), 700),
        {"cooperative": True},
        {0: x / x.sum()},
    )


def last_block_sums():
    """Partial sums handed over by a fence and an atomic counter, which the last block resets."""
    source = r"""
extern "C" __global__ void k(const float* x, float* partial, float* total, unsigned* counter, int n) {
  __shared__ bool last;
  __shared__ float s[64];
  s[threadIdx.x] = blockIdx.x * 64 + threadIdx.x < n ? x[blockIdx.x * 64 + threadIdx.x] : 0.0f;
  __syncthreads();
  if (threadIdx.x == 0) {
    float v = 0.0f;
    for (int i = 0; i < 64; ++i) v += s[i];
    partial[blockIdx.x] = v;
    __threadfence();
    last = atomicInc(counter, gridDim.x - 1) == gridDim.x - 1;
  }
  __syncthreads();
  if (last && threadIdx.x == 1) {
    float v = 0.0f;
    for (unsigned b = 0; b < gridDim.x; ++b) v += partial[b];
    *total = v;
  }
}"""
    x = _normal(300)
    arguments = (x, np.zeros(5, np.float32), np.zeros(1, np.float32), np.zeros(1, np.uint32), 300)
    return source, (5,), (64,), arguments, {}, {2: x.sum(), 3: 0}


def bytes_of_neighbours():
    """Threads that write neighbouring bytes, in shared and global memory, do not race."""
    source = r"""
extern "C" __global__ void k(const unsigned char* mask, unsigned char* out, bool* flags, int n) {
  __shared__ unsigned char s[64];
  const int i = blockIdx.x * 64 + threadIdx.x;
  if (i < n) s[threadIdx.x] = mask[i];
  __syncthreads();
  if (i < n) {
    out[i] = s[threadIdx.x] + 1;
    flags[i] = s[threadIdx.x] > 100;
  }
}"""
    mask = _rng().integers(0, 200, 101).astype(np.uint8)
    arguments = (mask, np.zeros(101, np.uint8), np.zeros(101, np.bool_), 101)
    return source, (2,), (64,), arguments, {}, {1: mask + 1, 2: mask > 100}


def lanes_that_exit_early():
    """Collectives of lanes that are left when others have exited, by groups within a warp."""
    source = r"""
extern "C" __global__ void k(float* y) {
  __shared__ float s[32];
  const int lane = threadIdx.x;
  if (lane >= 24) return;
  s[lane] = lane;
  __syncwarp();
  const float neighbour = s[lane ^ 1];
  __syncwarp();
  const unsigned group = lane < 8 ? 0xffu : 0xffffff00u;
  s[lane] = neighbour + __popc(__ballot_sync(group, 1));
  if (lane == 5 || lane == 20) return;  // the last of their groups to arrive never come
  __syncwarp(group);
  y[lane] = s[lane < 8 ? lane ^ 1 : lane];
}"""
    lanes = np.arange(32)
    voters = np.where(lanes < 8, 8, 16)
    expected = np.where(lanes < 8, lanes, lanes ^ 1) + voters
    expected[[5, 20, *range(24, 32)]] = 0
    return source, (1,), (32,), (np.zeros(32, np.float32),), {}, {0: expected}


def histogram():
    """Atomics on shared, then on global memory."""
    source = r"""
#include <cuda/std/cstdint>
__shared__ int32_t local[16];
extern "C" __global__ void k(const int* x, int* bins, int n) {
  if (threadIdx.x < 16) local[threadIdx.x] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) atomicAdd(&local[x[i]], 1);
  __syncthreads();
  if (threadIdx.x < 16) atomicAdd(&bins[threadIdx.x], local[threadIdx.x]);
}"""
    x = _rng().integers(0, 16, 500).astype(np.int32)
    return source, (3,), (64,), (x, np.zeros(16, np.int32), 500), {}, {1: np.bincount(x, minlength=16)}


def in_place():
    """One array as input and output, __device__ and __constant__ variables, a three-dimensional grid."""
    source = r"""
__constant__ float table[3] = {1.0f, 10.0f, 100.0f};
__device__ int unused = 7;
struct Scale {
  float factor;
  __device__ float operator()(float v) const { return v * factor * table[1] * (unused - 6); }
};
extern "C" __global__ void k(const float* x, float* y) {
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned i = block * blockDim.x * blockDim.y * blockDim.z + thread;
  y[i] = Scale{2.0f}(x[i]);
}"""
    x = _normal(2 * 3 * 2 * 4 * 2 * 3)
    y = x.copy()
    return source, (2, 3, 2), (4, 2, 3), (y, y), {}, {1: x * 20}


def tensor_core_product():
    """One warp multiplies 16x8 by 8x8 in TF32."""
    source = r"""
__device__ unsigned rounded(float x) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}
__device__ void mma(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
extern "C" __global__ void k(const float* a, const float* b, float* d) {
  const int g = threadIdx.x / 4, t = threadIdx.x % 4;
  float sum[4] = {};
  const unsigned fa[4] = {rounded(a[g * 8 + t]), rounded(a[(g + 8) * 8 + t]), rounded(a[g * 8 + t + 4]),
                          rounded(a[(g + 8) * 8 + t + 4])};
  const unsigned fb[2] = {rounded(b[t * 8 + g]), rounded(b[(t + 4) * 8 + g])};
  mma(sum, fa, fb);
  for (int i = 0; i < 4; ++i) d[(g + 8 * (i / 2)) * 8 + 2 * t + i % 2] = sum[i];
}"""

    def tf32(x):
        return ((x.view(np.uint32) + np.uint32(0x1000)) & np.uint32(0xFFFFE000)).view(np.float32)

    a, b = _normal(16, 8), _normal(8, 8)
    return source, (1,), (32,), (a, b, np.zeros((16, 8), np.float32)), {}, {2: tf32(a) @ tf32(b)}


def asynchronous_copies():
    """A pipeline of copies of 4, 8 or 16 bytes, a tile ahead; past the end there are zeros. Some groups are empty."""
    source = r"""
template <int BYTES>
__device__ void reverse_tiles(const float* x, float* y, int n) {
  constexpr int WIDTH = BYTES / 4, TILE = 32 * WIDTH;
  __shared__ __align__(16) float tiles[3][TILE];
  const int t = threadIdx.x * WIDTH;
  auto fetch = [&](int i) {
    if (i < n) simulator::copy_async<BYTES>(&tiles[i / TILE % 3][t], x + i + t, i + t < n);
    simulator::commit_copies();
  };
  fetch(0);
  fetch(TILE);
  for (int i = 0; i < n; i += TILE) {
    simulator::wait_copies(1);
    __syncthreads();
    fetch(i + 2 * TILE);  // over the tile of the last step, which all have read
    for (int j = t; j < t + WIDTH; ++j) y[i + j] = tiles[i / TILE % 3][TILE - 1 - j];
  }
}
extern "C" __global__ void k(const float* x, float* y, int n) {
  float* out = y + blockIdx.x * 640;
  if (blockIdx.x == 0) reverse_tiles<4>(x, out, n);
  if (blockIdx.x == 1) reverse_tiles<8>(x, out, n);
  if (blockIdx.x == 2) reverse_tiles<16>(x, out, n);
}"""
    x, n = _normal(612), 612
    expected = np.full((3, 640), np.nan, np.float32)
    for row, tile in zip(expected, (32, 64, 128), strict=True):
        tiles = np.append(x, np.zeros(-n % tile, np.float32)).reshape(-1, tile)
        row[: tiles.size] = tiles[:, ::-1].ravel()
    return source, (3,), (32,), (x, np.full_like(expected, np.nan), n), {}, {1: expected}


CASES = {
    f.__name__: f
    for f in (
        matmul,
        register_tile,
        softmax,
        tree_reduction,
        cooperative_normalize,
        last_block_sums,
        bytes_of_neighbours,
        lanes_that_exit_early,
        histogram,
        in_place,
        tensor_core_product,
        asynchronous_copies,
    )
}

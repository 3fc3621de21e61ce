"""Histograms and sorting: privatized bins, ranks, odd-even and bitonic sorts, merges, searches, top k."""

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


@case("atomicAdd(&bins[data[i]], 1)", "bins[data[i]]++", "race: .* array bins")
def global_atomics():
    source = """
__global__ void histogram(const int* data, unsigned int* bins, int n) {
  int i = threadIdx.x + blockIdx.x * blockDim.x;
  int stride = blockDim.x * gridDim.x;
  while (i < n) {
    atomicAdd(&bins[data[i]], 1);
    i += stride;
  }
}"""
    x = integers(0, 16, 500)
    return source, 3, 32, (x, zeros(16, dtype=np.uint32), 500), {1: np.bincount(x, minlength=16)}


@case("temp[threadIdx.x] = 0;\n  __syncthreads();", "temp[threadIdx.x] = 0;", "race: .* shared memory temp")
def bins_in_shared_memory():
    """The histogram of CUDA by Example."""
    source = """
__global__ void histo_kernel(unsigned char *buffer, long size, unsigned int *histo) {
  __shared__ unsigned int temp[256];
  temp[threadIdx.x] = 0;
  __syncthreads();
  int i = threadIdx.x + blockIdx.x * blockDim.x;
  int offset = blockDim.x * gridDim.x;
  while (i < size) {
    atomicAdd(&temp[buffer[i]], 1);
    i += offset;
  }
  __syncthreads();
  atomicAdd(&(histo[threadIdx.x]), temp[threadIdx.x]);
}"""
    x = integers(0, 256, 1500, dtype=np.uint8)
    return source, 2, 256, (x, np.int64(1500), zeros(256, dtype=np.uint32)), {2: np.bincount(x, minlength=256)}


@case("warp * BINS", "0 * BINS", WRONG)
def bins_for_each_warp():
    source = """
#define BINS 16
__global__ void hist_warps(const unsigned char* x, unsigned* out, int n) {
  extern __shared__ unsigned s[];
  const int warp = threadIdx.x / 32, warps = blockDim.x / 32;
  for (int i = threadIdx.x; i < BINS * warps; i += blockDim.x) s[i] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) atomicAdd(s + warp * BINS + (x[i] >> 4), 1u);
  __syncthreads();
  if (threadIdx.x < BINS) {
    for (int w = 0; w < warps; ++w) out[w * BINS + threadIdx.x] = s[w * BINS + threadIdx.x];
  }
}"""
    x = integers(0, 256, 300, dtype=np.uint8)
    warps = np.arange(300) % 64 // 32
    expected = np.stack([np.bincount(x[warps == w] >> 4, minlength=16) for w in (0, 1)])
    return source, 1, 64, (x, zeros(2, 16, dtype=np.uint32), 300), {1: expected}, 128


@case("__match_any_sync(mask, key)", "mask", WRONG)
def bins_by_match():
    source = """
__global__ void hist_match(const int* x, int* bins, int n) {
  const unsigned mask = __ballot_sync(0xffffffff, threadIdx.x < n);
  if (threadIdx.x >= n) return;
  const int key = x[threadIdx.x];
  const unsigned same = __match_any_sync(mask, key);
  if (threadIdx.x == __ffs(same) - 1) bins[key] += __popc(same);
}"""
    x = integers(0, 5, 27)
    return source, 1, 32, (x, zeros(5, dtype=np.int32), 27), {1: np.bincount(x, minlength=5)}


@case("fminf(bins - 1,", "fminf(bins,", "out of bounds: atomic access .* array counts")
def float_bins():
    source = """
__global__ void histf(const float* x, int* counts, float lo, float hi, int bins, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) atomicAdd(counts + (int)fminf(bins - 1, fmaxf(0.f, floorf((x[i] - lo) / (hi - lo) * bins))), 1);
}"""
    x = integers(-20, 25, 100).astype(np.float32) / 8
    edges = np.clip(np.floor((x + 2) / 4 * 8), 0, 7).astype(int)
    return source, 4, 32, (x, zeros(8, dtype=np.int32), -2.0, 2.0, 8, 100), {1: np.bincount(edges, minlength=8)}


@case("__syncthreads();\n  }\n  x[", "}\n  x[", "race: .* shared memory s")
def odd_even_sort():
    source = """
__device__ void swap(float& a, float& b) { float t = a; a = b; b = t; }
__global__ void odd_even(float* x) {
  __shared__ float s[64];
  const int t = threadIdx.x;
  s[t] = x[t];
  __syncthreads();
  for (int phase = 0; phase < 64; ++phase) {
    if (t % 2 == phase % 2 && t + 1 < 64 && s[t] > s[t + 1]) swap(s[t], s[t + 1]);
    __syncthreads();
  }
  x[t] = s[t];
}"""
    x = normal(64)
    return source, 1, 64, (x,), {0: np.sort(x)}


@case("ixj > i", "ixj != i", "race: .* array dev_values")
def bitonic_step():
    """One launch a step in its original; here one block with barriers, in global memory."""
    source = """
__device__ void step(float *dev_values, int j, int k) {
  unsigned int i = threadIdx.x + blockDim.x * blockIdx.x;
  unsigned int ixj = i ^ j;
  if (ixj > i) {
    if ((i & k) == 0 ? dev_values[i] > dev_values[ixj] : dev_values[i] < dev_values[ixj]) {
      float temp = dev_values[i];
      dev_values[i] = dev_values[ixj];
      dev_values[ixj] = temp;
    }
  }
}
__global__ void bitonic_sort(float *dev_values, int n) {
  for (int k = 2; k <= n; k <<= 1)
    for (int j = k >> 1; j > 0; j = j >> 1) {
      step(dev_values, j, k);
      __syncthreads();
    }
}"""
    x = normal(128)
    return source, 1, 128, (x, 128), {0: np.sort(x)}


@case("^ ((lane & j)", "^ !((lane & j)", WRONG)
def bitonic_sort_of_a_warp():
    source = """
__global__ void warp_sort(int* x) {
  int lane = threadIdx.x & 31, v = x[blockIdx.x * 32 + lane];
#pragma unroll
  for (int k = 2; k <= 32; k *= 2)
    for (int j = k / 2; j > 0; j /= 2) {
      int o = __shfl_xor_sync(0xffffffff, v, j);
      bool up = (lane & k) == 0;
      bool low = up ^ ((lane & j) != 0);
      v = low ? min(v, o) : max(v, o);
    }
  x[blockIdx.x * 32 + lane] = v;
}"""
    x = integers(-99, 99, 3, 32)
    return source, 3, 32, (x,), {0: np.sort(x, axis=1)}


@case("j < i", "j <= i", "(out of bounds|race): .* array")
def rank_sort():
    source = """
__global__ void rank_sort(const int* x, int* sorted, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  int rank = 0, v = x[i];
  for (int j = 0; j < n; ++j) rank += x[j] < v || (x[j] == v && j < i);
  sorted[rank] = v;
}"""
    x = integers(0, 9, 50)
    x[-1] = 99
    return source, 2, 32, (x, zeros(50, dtype=np.int32), 50), {1: np.sort(x)}


@case("hi = n;", "hi = n + 1;", "out of bounds: read .* array a")
def lower_bounds():
    source = """
template <class T> __device__ int lower_bound(const T* a, int n, T v) {
  int lo = 0, hi = n;
  while (lo < hi) {
    int mid = (lo + hi) >> 1;
    if (a[mid] < v) lo = mid + 1; else hi = mid;
  }
  return lo;
}
__global__ void search(const float* a, const float* q, int* where, int n, int queries) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < queries) where[i] = lower_bound(a, n, q[i]);
}"""
    a, q = np.sort(normal(40)), normal(50)
    q[0] = 99
    return source, 2, 32, (a, q, zeros(50, dtype=np.int32), 40, 50), {2: np.searchsorted(a, q)}


@case("a[other] <= b[k]", "a[other] < b[k]", WRONG)
def merge_by_ranks():
    source = """
__global__ void merge(const int* a, const int* b, int* out, int n) {
  int k = threadIdx.x, before = 0, other = 0;
  if (k >= n) return;
  while (before < n && b[before] < a[k]) ++before;
  while (other < n && a[other] <= b[k]) ++other;
  out[k + before] = a[k];
  out[k + other] = b[k];
}"""
    a, b = np.sort(integers(0, 20, 30)), np.sort(integers(0, 20, 30))
    b[:4] = a[:4] = range(4)
    a.sort()
    b.sort()
    return source, 1, 32, (a, b, zeros(60, dtype=np.int32), 30), {2: np.sort(np.append(a, b))}


@case("    __syncwarp();  // all have read the row\n", "", "race: write .* array x")
def top_k():
    source = """
struct Item { float v; int i; };
__device__ Item warp_max(Item a) {
  for (int o = 16; o; o >>= 1) {
    Item b{__shfl_xor_sync(~0u, a.v, o), __shfl_xor_sync(~0u, a.i, o)};
    if (b.v > a.v || (b.v == a.v && b.i < a.i)) a = b;
  }
  return a;
}
__global__ void topk(float* x, int* top, int n, int k) {
  float* row = x + blockIdx.x * n;
  for (int r = 0; r < k; ++r) {
    Item best{-INFINITY, 0};
    for (int i = threadIdx.x; i < n; i += 32) if (row[i] > best.v) best = Item{row[i], i};
    best = warp_max(best);
    __syncwarp();  // all have read the row
    if (threadIdx.x == 0) { top[blockIdx.x * k + r] = best.i; row[best.i] = -INFINITY; }
    __syncwarp();
  }
}"""
    x = normal(2, 50)
    expected = np.argsort(-x, axis=1)[:, :3]
    return source, 2, 32, (x, zeros(2, 3, dtype=np.int32), 50, 3), {1: expected}

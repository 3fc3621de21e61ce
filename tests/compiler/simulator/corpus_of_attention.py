"""Attention: scores, online softmax, one query of a cache, masks, grouped heads, values by tiles."""

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


def softmax(scores):
    e = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


@case("if (j <= i)", "if (j < T)", WRONG)
def causal_attention():
    source = """
__global__ void attention(const float* q, const float* k, const float* v, float* out, int T, int d) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= T) return;
  float m = -INFINITY, l = 0.f, acc[8] = {};
  for (int j = 0; j < T; ++j)
    if (j <= i) {
      float s = 0.f;
      for (int c = 0; c < d; ++c) s += q[i * d + c] * k[j * d + c];
      s *= rsqrtf((float)d);
      const float m_new = fmaxf(m, s), scale = expf(m - m_new), p = expf(s - m_new);
      l = l * scale + p;
      for (int c = 0; c < d; ++c) acc[c] = acc[c] * scale + p * v[j * d + c];
      m = m_new;
    }
  for (int c = 0; c < d; ++c) out[i * d + c] = acc[c] / l;
}"""
    q, k, v = (normal(40, 8) for _ in range(3))
    scores = np.where(np.tri(40), q @ k.T / np.sqrt(8), -np.inf)
    return source, 2, 32, (q, k, v, zeros(40, 8), 40, 8), {3: softmax(scores) @ v}


@case("__syncthreads();  // the scores of all warps", "", "race: .* dynamic shared memory")
def one_query_of_a_cache():
    """The decoding of llama2.c: scores by warps, softmax in shared memory, then values."""
    source = """
__global__ void decode(const float* q, const float* cache_k, const float* cache_v, float* out, int pos, int d) {
  extern __shared__ float att[];
  const int h = blockIdx.x, lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const float* kh = cache_k + h * (pos + 1) * d;
  const float* vh = cache_v + h * (pos + 1) * d;
  for (int t = warp; t <= pos; t += blockDim.x / 32) {
    float s = 0;
    for (int c = lane; c < d; c += 32) s += q[h * d + c] * kh[t * d + c];
    for (int o = 16; o; o >>= 1) s += __shfl_xor_sync(~0u, s, o);
    if (lane == 0) att[t] = s * 0.25f;
  }
  __syncthreads();  // the scores of all warps
  float m = att[0], sum = 0;
  for (int t = 1; t <= pos; ++t) m = fmaxf(m, att[t]);
  for (int t = 0; t <= pos; ++t) sum += expf(att[t] - m);
  for (int c = threadIdx.x; c < d; c += blockDim.x) {
    float a = 0;
    for (int t = 0; t <= pos; ++t) a += expf(att[t] - m) / sum * vh[t * d + c];
    out[h * d + c] = a;
  }
}"""
    q, k, v = normal(2, 16), normal(2, 21, 16), normal(2, 21, 16)
    p = softmax(np.einsum("hd,htd->ht", q, k) / 4)
    return source, 2, 64, (q, k, v, zeros(2, 16), 20, 16), {3: np.einsum("ht,htd->hd", p, v)}, 21 * 4


@case("blockIdx.y / group", "blockIdx.y", "out of bounds: read .* array k")
def scores_of_grouped_heads():
    source = """
__global__ void scores(const float* q, const float* k, float* s, int T, int d, int group) {
  const int h = blockIdx.y, kv = blockIdx.y / group, i = blockIdx.x;
  for (int j = threadIdx.x; j < T; j += blockDim.x) {
    float a = 0.f;
    for (int c = 0; c < d; ++c) a += q[(h * T + i) * d + c] * k[(kv * T + j) * d + c];
    s[(h * T + i) * T + j] = a;
  }
}"""
    q, k = normal(4, 9, 8), normal(2, 9, 8)
    expected = q @ np.repeat(k, 2, axis=0).transpose(0, 2, 1)
    return source, (9, 4), 32, (q, k, zeros(4, 9, 9), 9, 8, 2), {2: expected}


@case("__syncthreads();  // before the next tile", "", "race: .* shared memory [KV]")
def tiles_of_keys():
    source = """
constexpr int D = 8, BC = 16;
__global__ void flash(const float* Q, const float* K_, const float* V_, float* O, int N) {
  __shared__ float K[BC][D], V[BC][D];
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  float q[D], o[D] = {0}, m = -1e30f, l = 0;
  for (int c = 0; c < D; ++c) q[c] = Q[i * D + c];
  for (int j0 = 0; j0 < N; j0 += BC) {
    for (int e = threadIdx.x; e < BC * D; e += blockDim.x) {
      K[e / D][e % D] = K_[j0 * D + e];
      V[e / D][e % D] = V_[j0 * D + e];
    }
    __syncthreads();
    for (int j = 0; j < BC; ++j) {
      float s = 0;
#pragma unroll
      for (int c = 0; c < D; ++c) s += q[c] * K[j][c];
      float mn = fmaxf(m, s), a = __expf(m - mn), p = __expf(s - mn);
      l = l * a + p;
      for (int c = 0; c < D; ++c) o[c] = o[c] * a + p * V[j][c];
      m = mn;
    }
    __syncthreads();  // before the next tile
  }
  for (int c = 0; c < D; ++c) O[i * D + c] = o[c] / l;
}"""
    q, k, v = (normal(64, 8) for _ in range(3))
    return source, 1, 64, (q, k, v, zeros(64, 8), 64), {3: softmax(q @ k.T) @ v}


@case("j < length[b]", "j < T", WRONG)
def padding_mask():
    source = """
__global__ void masked_softmax(float* s, const int* length, int T) {
  const int b = blockIdx.y;
  float* row = s + (b * gridDim.x + blockIdx.x) * T;
  const int j = threadIdx.x;
  const bool valid = j < length[b];
  float v = valid ? row[j] : -INFINITY, m = v;
  for (int o = 16; o; o >>= 1) m = fmaxf(m, __shfl_xor_sync(~0u, m, o));
  v = valid ? __expf(v - m) : 0.f;
  float l = v;
  for (int o = 16; o; o >>= 1) l += __shfl_xor_sync(~0u, l, o);
  if (j < T) row[j] = v / l;
}"""
    s, length = normal(3, 5, 20), np.array([20, 3, 11], np.int32)
    masked = np.where(np.arange(20) < length[:, None, None], s, -np.inf)
    return source, (5, 3), 32, (s, length, 20), {0: softmax(masked)}


@case("page[t / 4] * 4", "page[t / 4 + 1] * 4", "out of bounds: read .* array table")
def paged_cache():
    source = """
#define PAGE 4
__global__ void gather_pages(const float* pool, const int* table, float* out, int tokens, int d, int pages) {
  const int* page = table + blockIdx.x * pages;
  for (int e = threadIdx.x; e < tokens * d; e += blockDim.x) {
    const int t = e / d, c = e % d;
    out[blockIdx.x * tokens * d + e] = pool[(page[t / 4] * 4 + t % PAGE) * d + c];
  }
}"""
    pool, table = normal(8, 4, 6), integers(0, 8, 2, 3)
    expected = pool[table].reshape(2, 12, 6)[:, :12]
    return source, 2, 32, (pool, table, zeros(2, 12, 6), 12, 6, 3), {2: expected}

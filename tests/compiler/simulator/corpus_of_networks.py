"""Layers of neural networks: activations, norms, softmax, dropout, losses, optimizers, pooling, convolution."""

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


@case("i += blockDim.x * gridDim.x", "i += blockDim.x * gridDim.x - 1", "race: .* array x")
def relu_in_place():
    source = """
__global__ void relu_(float* x, size_t n) {
  for (size_t i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) x[i] = x[i] > 0 ? x[i] : 0;
}"""
    x = normal(300)
    return source, 2, 32, (x, np.uint64(300)), {0: np.maximum(x, 0)}


@case("if (i < N)", "", "out of bounds: .* array")
def gelu():
    source = """
#define GELU_SCALING_FACTOR sqrtf(2.0f / M_PI)
__global__ void gelu_forward_kernel(float* out, const float* inp, int N) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < N) {
        float xi = inp[i];
        float cube = 0.044715f * xi * xi * xi;
        out[i] = 0.5f * xi * (1.0f + tanhf(GELU_SCALING_FACTOR * (xi + cube)));
    }
}"""
    x = normal(100)
    y = x.astype(np.float64)
    expected = 0.5 * y * (1 + np.tanh(np.sqrt(2 / np.pi) * (y + 0.044715 * y**3)))
    return source, 4, 32, (zeros(100), x, 100), {0: expected}


@case("2 * d + i + d", "2 * d + i + d + 1", "out of bounds: read .* array x")
def swiglu():
    source = """
__device__ __forceinline__ float silu(float v) { return v / (1.0f + __expf(-v)); }
__global__ void silu_and_mul(const float* x, float* y, int d) {
  for (int i = threadIdx.x; i < d; i += blockDim.x)
    y[blockIdx.x * d + i] = silu(x[blockIdx.x * 2 * d + i]) * x[blockIdx.x * 2 * d + i + d];
}"""
    x = normal(3, 80)
    gate = x[:, :40].astype(np.float64)
    return source, 3, 32, (x, zeros(3, 40), 40), {1: gate / (1 + np.exp(-gate)) * x[:, 40:]}


@case("__syncthreads();\n  const float scale", "const float scale", "(race|uninitialized read): .* shared memory")
def rms_norm():
    source = """
__global__ void rmsnorm(float* o, const float* x, const float* weight, int size) {
  __shared__ float ss;
  if (threadIdx.x < 32) {
    float s = 0.0f;
    for (int j = threadIdx.x; j < size; j += 32) s += x[blockIdx.x * size + j] * x[blockIdx.x * size + j];
    for (int d = 16; d; d >>= 1) s += __shfl_xor_sync(0xffffffff, s, d);
    if (threadIdx.x == 0) ss = rsqrtf(s / size + 1e-5f);
  }
  __syncthreads();
  const float scale = ss;
  for (int j = threadIdx.x; j < size; j += blockDim.x)
    o[blockIdx.x * size + j] = weight[j] * scale * x[blockIdx.x * size + j];
}"""
    x, w = normal(3, 70), normal(70)
    expected = w * x / np.sqrt((x.astype(np.float64) ** 2).mean(axis=1, keepdims=True) + 1e-5)
    return source, 3, 64, (zeros(3, 70), x, w, 70), {0: expected}


@case("__syncthreads();  // all have read the maximum", "", "race: .* shared memory red")
def safe_softmax():
    source = """
__device__ float reduce(float* red, float v, bool is_max) {
  red[threadIdx.x] = v;
  __syncthreads();
  for (int s = blockDim.x / 2; s > 0; s >>= 1) {
    if (threadIdx.x < s) {
      float o = red[threadIdx.x + s];
      red[threadIdx.x] = is_max ? fmaxf(red[threadIdx.x], o) : red[threadIdx.x] + o;
    }
    __syncthreads();
  }
  return red[0];
}
__global__ void softmax(const float* x, float* y, int cols) {
  __shared__ float red[64];
  const float* row = x + blockIdx.x * cols;
  float m = -INFINITY, s = 0;
  for (int c = threadIdx.x; c < cols; c += blockDim.x) m = fmaxf(m, row[c]);
  m = reduce(red, m, true);
  __syncthreads();  // all have read the maximum
  for (int c = threadIdx.x; c < cols; c += blockDim.x) s += __expf(row[c] - m);
  s = reduce(red, s, false);
  for (int c = threadIdx.x; c < cols; c += blockDim.x) y[blockIdx.x * cols + c] = __expf(row[c] - m) / s;
}"""
    x = normal(3, 90)
    e = np.exp(x.astype(np.float64))
    return source, 3, 64, (x, zeros(3, 90), 90), {1: e / e.sum(axis=1, keepdims=True)}


@case("j <= row", "j <= row + 1", "out of bounds: read .* array a")
def causal_softmax():
    source = """
__global__ void causal(float* a, int T) {
  int row = blockIdx.x;
  float* x = a + row * T;
  float m = -INFINITY, s = 0.f;
  for (int j = threadIdx.x; j <= row; j += 32) m = max(m, x[j]);
  for (int o = 16; o; o /= 2) m = max(m, __shfl_xor_sync(~0u, m, o));
  for (int j = threadIdx.x; j < T; j += 32) { float e = j > row ? 0.f : expf(x[j] - m); x[j] = e; s += e; }
  for (int o = 16; o; o /= 2) s += __shfl_xor_sync(~0u, s, o);
  for (int j = threadIdx.x; j < T; j += 32) x[j] /= s;
}"""
    x = normal(40, 40)
    e = np.tril(np.exp(x.astype(np.float64)))
    return source, 40, 32, (x, 40), {0: e / e.sum(axis=1, keepdims=True)}


@case("m[i] = mi", "m[i + 1] = mi", "(race|out of bounds): .* array m")
def adam():
    source = """
struct AdamArgs { float lr, beta1, beta2, eps, c1, c2; };
__device__ inline float lerp(float a, float b, float t) { return fma(t, b, fma(-t, a, a)); }
__global__ void adam_step(float* p, const float* g, float* m, float* v, int n, AdamArgs a) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  float mi = lerp(g[i], m[i], a.beta1), vi = lerp(g[i] * g[i], v[i], a.beta2);
  m[i] = mi;
  v[i] = vi;
  p[i] -= a.lr * (mi / a.c1) / (sqrtf(vi / a.c2) + a.eps);
}"""
    p, g, m, v = normal(50), normal(50), normal(50), normal(50) ** 2
    args = np.array([(0.1, 0.9, 0.99, 1e-8, 0.1, 0.01)], [(n, "f4") for n in "abcdef"])[0]
    m2, v2 = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
    expected = p - 0.1 * (m2 / 0.1) / np.sqrt(v2 / 0.01)
    return source, 2, 32, (p, g, m, v, 50, args), {0: expected, 2: m2, 3: v2}, 0, 1e-4


@case("ow < OW", "ow <= OW", "out of bounds: .* array|race: .* array y")
def max_pool():
    source = """
__global__ void maxpool2d(const float* x, float* y, int H, int W, int OH, int OW) {
  int ow = blockIdx.x * blockDim.x + threadIdx.x, oh = blockIdx.y * blockDim.y + threadIdx.y, c = blockIdx.z;
  if (ow < OW && oh < OH) {
    float m = -INFINITY;
    for (int i = 0; i < 2; ++i) for (int j = 0; j < 2; ++j) m = fmaxf(m, x[(c * H + 2 * oh + i) * W + 2 * ow + j]);
    y[(c * OH + oh) * OW + ow] = m;
  }
}"""
    x = normal(2, 8, 10)
    return source, (2, 1, 2), (4, 4), (x, zeros(2, 4, 5), 8, 10, 4, 5), {1: x.reshape(2, 4, 2, 5, 2).max(axis=(2, 4))}


@case("ih >= 0 && ih < H", "ih < H", "out of bounds: read .* array x")
def convolution_with_padding():
    source = """
__constant__ float bias[2] = {0.5f, -1.0f};
__global__ void conv3x3(const float* x, const float* w, float* y, int C, int H, int W) {
  const int o = blockIdx.z, h = threadIdx.y, v = threadIdx.x;
  float s = bias[o];
  for (int c = 0; c < C; c++)
    for (int i = 0; i < 3; i++)
      for (int j = 0; j < 3; j++) {
        const int ih = h + i - 1, iw = v + j - 1;
        if (ih >= 0 && ih < H && iw >= 0 && iw < W) s += x[(c * H + ih) * W + iw] * w[((o * C + c) * 3 + i) * 3 + j];
      }
  y[(o * H + h) * W + v] = s;
}"""
    x, w = normal(3, 6, 8), normal(2, 3, 3, 3)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1))), (3, 3), axis=(1, 2))
    expected = np.einsum("chwij,ocij->ohw", windows, w) + np.array([0.5, -1]).reshape(2, 1, 1)
    return source, (1, 1, 2), (8, 6), (x, w, zeros(2, 6, 8), 3, 6, 8), {2: expected}


@case("const int half = dim / 2", "const int half = dim / 2 + 1", "out of bounds|race")
def rotary_embedding():
    source = """
__global__ void rope(float* q, int dim, int heads) {
  const int half = dim / 2, t = blockIdx.x;
  for (int k = threadIdx.x; k < half * heads; k += blockDim.x) {
    const int h = k / half, i = k % half;
    float s, c;
    sincosf(t * powf(10000.f, -2.f * i / dim), &s, &c);
    float2* v = reinterpret_cast<float2*>(q + (t * heads + h) * dim) + i;
    const float2 old = *v;
    *v = make_float2(old.x * c - old.y * s, old.x * s + old.y * c);
  }
}"""
    q = normal(5, 2, 16)
    angle = np.arange(5)[:, None] * 10000.0 ** (-2 * np.arange(8) / 16)
    z = (q[..., ::2] + 1j * q[..., 1::2]) * np.exp(1j * angle)[:, None]
    return source, 5, 32, (q, 16, 2), {0: np.stack([z.real, z.imag], axis=-1).reshape(5, 2, 16)}


@case("^ (lo >> 16)", "^ (lo >> 15)", WRONG)
def hashed_dropout():
    source = """
__host__ __device__ inline unsigned mix(unsigned lo) {
  lo = (lo ^ (lo >> 16)) * 0x85ebca6bu;
  lo ^= lo >> 13;
  return lo;
}
__global__ void dropout(const float* x, float* y, unsigned char* mask, unsigned seed, int n) {
  for (int i = threadIdx.x + blockIdx.x * blockDim.x; i < n; i += gridDim.x * blockDim.x) {
    const bool keep = (mix(i * 2654435761u + seed) & 0xffff) < 0x8000;
    mask[i] = keep;
    y[i] = keep ? x[i] * 2.0f : 0.0f;
  }
}"""
    x = normal(200)
    h = (np.arange(200, dtype=np.uint64) * 2654435761 + 12345) & 0xFFFFFFFF
    h = ((h ^ (h >> np.uint64(16))) * np.uint64(0x85EBCA6B)) & np.uint64(0xFFFFFFFF)
    keep = ((h ^ (h >> np.uint64(13))) & np.uint64(0xFFFF)) < 0x8000
    arguments = (x, zeros(200), zeros(200, dtype=np.uint8), np.uint32(12345), 200)
    return source, 2, 64, arguments, {1: keep * x * 2, 2: keep}


@case("best < x[c]", "best > x[c]", WRONG)
def accuracy():
    source = """
__global__ void correct(const float* logits, const int* labels, unsigned* hits, int rows, int classes) {
  int r = blockIdx.x * blockDim.x + threadIdx.x, hit = 0;
  if (r < rows) {
    const float* x = logits + r * classes;
    float best = x[0]; int arg = 0;
    for (int c = 1; c < classes; ++c) if (best < x[c]) { best = x[c]; arg = c; }
    hit = arg == labels[r];
  }
  unsigned votes = __ballot_sync(0xffffffffu, hit);
  if (threadIdx.x % 32 == 0) atomicAdd(hits, __popc(votes));
}"""
    x, t = normal(150, 4), integers(0, 4, 150)
    return source, 3, 64, (x, t, zeros(1, dtype=np.uint32), 150, 4), {2: (x.argmax(axis=1) == t).sum()}

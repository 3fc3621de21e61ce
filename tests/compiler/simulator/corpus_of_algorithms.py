"""Algorithms: graphs, dynamic programming, strings, geometry, finance, sieves, polynomials, linear solvers."""

import math

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


@case("e < begin[v + 1]", "e <= begin[v + 1]", "out of bounds: read .* array edges")
def breadth_first_search():
    source = """
__global__ void bfs(const int* begin, const int* edges, int* level, int n, int rounds) {
  const int v = threadIdx.x;
  for (int depth = 0; depth < rounds; ++depth) {
    const bool frontier = v < n && level[v] == depth;
    __syncthreads();
    if (frontier)
      for (int e = begin[v]; e < begin[v + 1]; ++e) atomicCAS(&level[edges[e]], -1, depth + 1);
    __syncthreads();
  }
}"""
    n = 20
    edges = np.stack([(2 * np.arange(n) + 1) % n, (np.arange(n) + 1) % n], axis=1).astype(np.int32)
    level, expected = np.full(n, -1, np.int32), np.full(n, -1)
    level[0] = expected[0] = 0
    for depth in range(n):
        for v in np.flatnonzero(expected == depth):
            expected[edges[v][expected[edges[v]] < 0]] = depth + 1
    return source, 1, 32, (np.arange(0, 2 * n + 1, 2, dtype=np.int32), edges, level, n, n), {2: expected}


@case("__syncthreads();\n  }\n  d[", "}\n  d[", "race: .* shared memory s")
def floyd_warshall():
    source = """
__global__ void apsp(int* d) {
  __shared__ int s[8][8];
  const int i = threadIdx.y, j = threadIdx.x;
  s[i][j] = d[i * 8 + j];
  __syncthreads();
  for (int k = 0; k < 8; ++k) {
    const int through = s[i][k] + s[k][j];
    __syncthreads();
    if (through < s[i][j]) s[i][j] = through;
    __syncthreads();
  }
  d[i * 8 + j] = s[i][j];
}"""
    d = integers(1, 99, 8, 8)
    np.fill_diagonal(d, 0)
    expected = d.copy()
    for k in range(8):
        expected = np.minimum(expected, expected[:, k : k + 1] + expected[k])
    return source, 1, (8, 8), (d,), {0: expected}


@case("i >= 0 && i < n", "i >= 0", "out of bounds: read .* array")
def edit_distance_by_diagonals():
    source = """
__global__ void levenshtein(const char* a, const char* b, int* table, int n) {
  const int w = n + 1;
  table[threadIdx.x] = threadIdx.x;
  table[threadIdx.x * w] = threadIdx.x;
  __syncthreads();
  for (int diagonal = 0; diagonal < 2 * n - 1; ++diagonal) {
    const int j = threadIdx.x, i = diagonal - j;
    if (i >= 0 && i < n && j < n) {
      int* at = &table[(i + 1) * w + j + 1];
      *at = min(min(at[-1], at[-w]) + 1, at[-w - 1] + (a[i] != b[j]));
    }
    __syncthreads();
  }
}"""
    n = 15
    a, b = integers(97, 100, n, dtype=np.uint8), integers(97, 100, n, dtype=np.uint8)
    t = np.add.outer(np.arange(n + 1), np.arange(n + 1))
    for i in range(n):
        for j in range(n):
            t[i + 1, j + 1] = min(t[i, j + 1] + 1, t[i + 1, j] + 1, t[i, j] + (a[i] != b[j]))
    return source, 1, n + 1, (a, b, zeros(n + 1, n + 1, dtype=np.int32), n), {2: t}


@case("i + m <= n", "i < n", "out of bounds: read .* array text")
def string_search():
    source = """
__global__ void find(const char* __restrict__ text, const char* __restrict__ word, int* found, int n, int m) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i + m <= n) {
    int k = 0;
    while (k < m && text[i + k] == word[k]) k++;
    found[i] = k == m;
  }
}"""
    text, word = np.frombuffer(b"abracadabra" * 6 + b"ab", np.uint8).copy(), np.frombuffer(b"abra", np.uint8).copy()
    expected = np.zeros(text.size)
    expected[:-3] = [text[i : i + 4].tobytes() == b"abra" for i in range(text.size - 3)]
    return source, 3, 32, (text, word, zeros(text.size, dtype=np.int32), text.size, 4), {2: expected}


@case("S * n(d1)", "S * n(d2)", WRONG)
def black_scholes():
    source = """
__device__ inline float n(float d) { return 0.5f * erfcf(-d * 0.70710678f); }
__global__ void call(const float* S_, const float* X_, const float* T_, float* out, float R, float V, int count) {
  const int opt = blockDim.x * blockIdx.x + threadIdx.x;
  if (opt >= count) return;
  float S = S_[opt], X = X_[opt], T = T_[opt], sqrtT = sqrtf(T);
  float d1 = (logf(S / X) + (R + 0.5f * V * V) * T) / (V * sqrtT), d2 = d1 - V * sqrtT;
  out[opt] = S * n(d1) - X * expf(-R * T) * n(d2);
}"""
    s, x, t = (5 + 10 * np.random.default_rng(3).random((3, 50))).astype(np.float32)
    d1 = (np.log(s / x) + (0.02 + 0.045) * t) / (0.3 * np.sqrt(t))
    cdf = np.vectorize(lambda d: 0.5 * math.erfc(-d / math.sqrt(2)))
    expected = s * cdf(d1) - x * np.exp(-0.02 * t) * cdf(d1 - 0.3 * np.sqrt(t))
    return source, 2, 32, (s, x, t, zeros(50), 0.02, 0.3, 50), {3: expected}


@case("k < n", "k <= n", "out of bounds: write .* array composite")
def sieve():
    source = """
__global__ void sieve(unsigned char* composite, int n) {
  for (int p = 2; p * p < n; ++p) {
    if (!composite[p])
      for (int k = p * p + threadIdx.x * p; k < n; k += p * blockDim.x) composite[k] = 1;
    __syncthreads();
  }
}"""
    expected = [n > 1 and any(n % p == 0 for p in range(2, n)) for n in range(100)]
    return source, 1, 32, (zeros(100, dtype=np.uint8), 100), {0: np.array(expected)}


@case("c[k] + v * r", "c[k + 1] + v * r", "out of bounds: read .* array c")
def horner():
    source = """
__global__ void poly(const double* __restrict__ c, const double* __restrict__ x, double* __restrict__ y, int degree) {
  const double v = x[threadIdx.x];
  double r = 0;
  for (int k = degree; k >= 0; --k) r = c[k] + v * r;
  y[threadIdx.x] = r;
}"""
    c, x = normal(6).astype(np.float64), normal(32).astype(np.float64)
    return source, 1, 32, (c, x, zeros(32, dtype=np.float64), 5), {2: np.polyval(c[::-1], x)}


@case("__syncthreads();\n    if (i > k", "if (i > k", "race: .* shared memory m")
def gaussian_elimination():
    source = """
#define N 6
__global__ void solve(const float* a, const float* b, float* x) {
  __shared__ float m[N][N + 1];
  const int i = threadIdx.y, j = threadIdx.x;
  m[i][j] = j < N ? a[i * N + j] : b[i];
  for (int k = 0; k < N; ++k) {
    __syncthreads();
    const float pivot = m[k][k], factor = m[i][k], above = m[k][j];
    __syncthreads();
    if (i > k || i < k) m[i][j] -= factor / pivot * above;
  }
  __syncthreads();
  if (j == 0) x[i] = m[i][N] / m[i][i];
}"""
    a, b = normal(6, 6) + 6 * np.eye(6, dtype=np.float32), normal(6)
    expected = np.linalg.solve(a.astype(np.float64), b)
    return source, 1, (7, 6), (a, b, zeros(6)), {2: expected}


@case("n) - 1", "n)", "out of bounds: .* array")
def k_means_assignment():
    source = """
__global__ void assign(const float2* points, const float2* centers, int* label, float* sums, int* counts,
                       int n, int k) {
  const int i = min(int(blockIdx.x * blockDim.x + threadIdx.x) + 1, n) - 1;
  float best = 3.4e38f;
  int which = -1;
  for (int c = 0; c < k; ++c) {
    const float dx = points[i].x - centers[c].x, dy = points[i].y - centers[c].y, d = dx * dx + dy * dy;
    if (d < best) { best = d; which = c; }
  }
  if (blockIdx.x * blockDim.x + threadIdx.x < n) {
    label[i] = which;
    atomicAdd(&counts[which], 1);
    atomicAdd(&sums[which], points[i].x);
  }
}"""
    p, c = normal(50, 2), normal(3, 2)
    label = ((p[:, None] - c) ** 2).sum(axis=2).argmin(axis=1)
    counts, sums = np.bincount(label, minlength=3), np.bincount(label, p[:, 0], minlength=3)
    arguments = (p, c, zeros(50, dtype=np.int32), zeros(3), zeros(3, dtype=np.int32), 50, 3)
    return source, 2, 32, arguments, {2: label, 3: sums, 4: counts}


@case("atomicCAS(&keys[slot], EMPTY, key)", "keys[slot]", WRONG)
def hash_table():
    """Open addressing: the slot of a key depends on the order of the threads; whether the key is found does not."""
    source = """
#define EMPTY 0xffffffffu
__global__ void insert(unsigned* keys, const unsigned* in, unsigned* found, int n, unsigned mask) {
  const int i = threadIdx.x;
  if (i >= n) return;
  const unsigned key = in[i];
  for (unsigned slot = key * 2654435769u & mask, probes = 0; probes <= mask; slot = (slot + 1) & mask, ++probes) {
    const unsigned old = atomicCAS(&keys[slot], EMPTY, key);
    if (old == EMPTY || old == key) break;
  }
}
__global__ void lookup(unsigned* keys, const unsigned* in, unsigned* found, int n, unsigned mask) {
  const int i = threadIdx.x;
  if (i >= n) return;
  unsigned slot = in[i] * 2654435769u & mask;
  while (keys[slot] != in[i] && keys[slot] != EMPTY) slot = (slot + 1) & mask;
  found[i] = keys[slot] == in[i];
}"""
    x = integers(0, 500, 30, dtype=np.uint32)
    keys = np.full(64, 0xFFFFFFFF, np.uint32)
    return source, 1, 32, (keys, x, zeros(30, dtype=np.uint32), 30, np.uint32(63)), {2: np.ones(30)}


@case("m + span", "m + span + 1", "race|out of bounds")
def butterflies_of_a_walsh_transform():
    source = """
__global__ void fwht(float* x, int n) {
  extern __shared__ float s[];
  for (int i = threadIdx.x; i < n; i += blockDim.x) s[i] = x[i];
  for (int span = 1; span < n; span *= 2) {
    __syncthreads();
    const int m = (threadIdx.x / span) * 2 * span + threadIdx.x % span;
    const float a = s[m], b = s[m + span];
    s[m] = a + b;
    s[m ^ span] = a - b;
  }
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) x[i] = s[i];
}"""
    x = normal(64)
    h = np.ones((1, 1))
    while len(h) < 64:
        h = np.block([[h, h], [h, -h]])
    return source, 1, 32, (x, 64), {0: h @ x}, 256


@case("__syncthreads();\n    s[i]", "s[i]", "race: .* shared memory s")
def discrete_fourier_transform():
    source = """
__device__ inline float2 cmul(float2 a, float2 b) { return make_float2(a.x * b.x - a.y * b.y, a.x * b.y + a.y * b.x); }
__global__ void fft32(float2* x) {
  __shared__ float2 s[32];
  const int i = threadIdx.x;
  s[i] = x[__brev(i) >> 27];
  for (int half = 1; half < 32; half *= 2) {
    __syncthreads();
    const int low = i & ~half;
    float sn, cs;
    sincospif(-(float)(i % half) / half, &sn, &cs);
    const float2 t = cmul(s[low | half], make_float2(cs, sn)), u = s[low];
    __syncthreads();
    s[i] = i & half ? make_float2(u.x - t.x, u.y - t.y) : make_float2(u.x + t.x, u.y + t.y);
  }
  x[i] = s[i];
}"""
    x = normal(32, 2)
    z = np.fft.fft(x[:, 0].astype(np.float64) + 1j * x[:, 1])
    return source, 1, 32, (x,), {0: np.stack([z.real, z.imag], axis=1)}

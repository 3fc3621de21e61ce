"""Stencils, images, bodies, grids: heat, Jacobi, wave, Sobel, blur, life, n-body, ray marching, Mandelbrot."""

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


@case("x > 0 && x < nx - 1", "x >= 0 && x < nx - 1", WRONG)
def heat():
    source = """
#define IDX(i, j) ((i) * nx + (j))
__global__ void heat2d(const float* __restrict__ u, float* __restrict__ v, int nx, int ny, float a) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x > 0 && x < nx - 1 && y > 0 && y < ny - 1)
    v[IDX(y, x)] = u[IDX(y, x)] + a * (u[IDX(y - 1, x)] + u[IDX(y + 1, x)] + u[IDX(y, x - 1)] + u[IDX(y, x + 1)]
                   - 4 * u[IDX(y, x)]);
}"""
    u = normal(12, 18)
    expected = u.copy()
    inner = u[:-2, 1:-1] + u[2:, 1:-1] + u[1:-1, :-2] + u[1:-1, 2:] - 4 * u[1:-1, 1:-1]
    expected[1:-1, 1:-1] += np.float32(0.1) * inner
    return source, (3, 2), (8, 8), (u, u.copy(), 18, 12, 0.1), {1: expected}


@case("__syncthreads();\n  if (i > 0", "if (i > 0", "race: .* shared memory tile")
def jacobi_with_halo():
    source = """
__global__ void jacobi(const float* f, float* g, int n) {
  __shared__ float tile[34];
  int i = blockIdx.x * blockDim.x + threadIdx.x, t = threadIdx.x + 1;
  tile[t] = i < n ? f[i] : 0.f;
  if (threadIdx.x == 0) tile[0] = i > 0 ? f[i - 1] : 0.f;
  if (threadIdx.x == blockDim.x - 1) tile[t + 1] = i + 1 < n ? f[i + 1] : 0.f;
  __syncthreads();
  if (i > 0 && i < n - 1) g[i] = 0.5f * (tile[t - 1] + tile[t + 1]);
}"""
    f = normal(70)
    expected = np.concatenate([[0], (f[:-2] + f[2:]) / 2, [0]])
    return source, 3, 32, (f, zeros(70), 70), {1: expected}


@case("grid.sync();", "", "race: .* array [ab]|result")
def cooperative_smoothing():
    source = """
#include <cooperative_groups.h>
namespace cg = cooperative_groups;
__global__ void smooth(float* a, float* b, int n, int steps) {
  cg::grid_group grid = cg::this_grid();
  for (int s = 0; s < steps; ++s) {
    for (int i = grid.thread_rank(); i < n; i += grid.size())
      b[i] = (a[i] + a[i == 0 ? n - 1 : i - 1] + a[i == n - 1 ? 0 : i + 1]) / 3.f;
    grid.sync();
    float* t = a; a = b; b = t;
  }
}"""
    a = normal(100)
    expected = a.astype(np.float64)
    for _ in range(4):
        expected = (expected + np.roll(expected, 1) + np.roll(expected, -1)) / 3
    return source, 3, 32, (a, zeros(100), 100, 4), {0: expected}, 0, 1e-5, True


@case("(y + ny - 1) % ny", "(y - 1) % ny", "out of bounds: read .* array cells")
def game_of_life():
    source = """
__global__ void life(const unsigned char* cells, unsigned char* next, int nx, int ny) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  if (x >= nx || y >= ny) return;
  int l = (x + nx - 1) % nx, r = (x + 1) % nx, u = (y + ny - 1) % ny * nx, d = (y + 1) % ny * nx, c = y * nx;
  int alive = cells[u + l] + cells[u + x] + cells[u + r] + cells[c + l] + cells[c + r] + cells[d + l] + cells[d + x]
              + cells[d + r];
  next[c + x] = alive == 3 || (alive == 2 && cells[c + x]);
}"""
    x = integers(0, 2, 10, 20, dtype=np.uint8)
    shifts = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1) if i or j]
    n = sum(np.roll(x, s, (0, 1)).astype(int) for s in shifts)
    return source, (3, 2), (8, 8), (x, zeros(10, 20, dtype=np.uint8), 20, 10), {1: (n == 3) | ((n == 2) & (x == 1))}


@case("max(0, min(w - 1, x + dx))", "x + dx", "out of bounds: read .* array img")
def box_blur():
    source = """
__global__ void blur(const unsigned char* img, unsigned char* out, int w, int h) {
  const int x = blockIdx.x * 16 + threadIdx.x, y = blockIdx.y;
  if (x >= w) return;
  int sum = 0;
  for (int dy = -1; dy <= 1; dy++)
    for (int dx = -1; dx <= 1; dx++) sum += img[max(0, min(h - 1, y + dy)) * w + max(0, min(w - 1, x + dx))];
  out[y * w + x] = sum / 9;
}"""
    x = integers(0, 256, 6, 20, dtype=np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, 1, mode="edge"), (3, 3))
    expected = windows.sum(axis=(2, 3)) // 9
    return source, (2, 6), 16, (x, zeros(6, 20, dtype=np.uint8), 20, 6), {1: expected}


@case("blockDim.x + 2 * R", "blockDim.x + R", "uninitialized read: .* dynamic shared memory")
def separable_convolution():
    source = """
#define R 2
__constant__ float taps[2 * R + 1] = {0.1f, 0.2f, 0.4f, 0.2f, 0.1f};
__global__ void rows(const float* x, float* y, int w) {
  extern __shared__ float s[];
  const int begin = blockIdx.x * blockDim.x - R;
  for (int i = threadIdx.x; i < blockDim.x + 2 * R; i += blockDim.x) {
    const int g = begin + i;
    s[i] = g >= 0 && g < w ? x[blockIdx.y * w + g] : 0.f;
  }
  __syncthreads();
  const int g = blockIdx.x * blockDim.x + threadIdx.x;
  if (g < w) {
    float v = 0.f;
#pragma unroll
    for (int k = 0; k <= 2 * R; ++k) v = fmaf(taps[k], s[threadIdx.x + k], v);
    y[blockIdx.y * w + g] = v;
  }
}"""
    x = normal(3, 50)
    expected = np.stack([np.convolve(row, [0.1, 0.2, 0.4, 0.2, 0.1], "same") for row in x])
    return source, (2, 3), 32, (x, zeros(3, 50), 50), {1: expected}, 36 * 4


@case("y > 0 && x > 0", "x > 0", "out of bounds: read .* array in")
def sobel():
    source = """
__device__ __forceinline__ int at(const unsigned char* in, int x, int y, int w) { return in[y * w + x]; }
__global__ void sobel(const unsigned char* in, int* out, int w, int h) {
  const int x = threadIdx.x, y = blockIdx.x;
  if (y > 0 && x > 0 && x < w - 1 && y < h - 1) {
    int gx = at(in, x + 1, y - 1, w) + 2 * at(in, x + 1, y, w) + at(in, x + 1, y + 1, w)
           - at(in, x - 1, y - 1, w) - 2 * at(in, x - 1, y, w) - at(in, x - 1, y + 1, w);
    int gy = at(in, x - 1, y + 1, w) + 2 * at(in, x, y + 1, w) + at(in, x + 1, y + 1, w)
           - at(in, x - 1, y - 1, w) - 2 * at(in, x, y - 1, w) - at(in, x + 1, y - 1, w);
    out[y * w + x] = abs(gx) + abs(gy);
  }
}"""
    x = integers(0, 256, 8, 30, dtype=np.uint8)
    w = np.lib.stride_tricks.sliding_window_view(x.astype(int), (3, 3))
    k = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    expected = np.zeros((8, 30))
    expected[1:-1, 1:-1] = abs((w * k).sum(axis=(2, 3))) + abs((w * k.T).sum(axis=(2, 3)))
    return source, 8, 32, (x, zeros(8, 30, dtype=np.int32), 30, 8), {1: expected}


@case("rgba[i].z", "rgba[i + 1].z", "out of bounds: read .* array rgba")
def gray_of_uchar4():
    source = """
__global__ void rgba_to_grey(const uchar4* const rgba, unsigned char* const grey, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) grey[i] = (77 * rgba[i].x + 150 * rgba[i].y + 29 * rgba[i].z) >> 8;
}"""
    x = integers(0, 256, 50, 4, dtype=np.uint8)
    return source, 2, 32, (x, zeros(50, dtype=np.uint8), 50), {1: (x[:, :3] @ np.array([77, 150, 29])) >> 8}


@case("k < iterations", "k < iterations - 1", WRONG)
def mandelbrot():
    source = """
struct cuComplex {
  float r, i;
  __device__ cuComplex(float a, float b) : r(a), i(b) {}
  __device__ float magnitude2() const { return r * r + i * i; }
  __device__ cuComplex operator*(const cuComplex& a) const { return cuComplex(r * a.r - i * a.i, i * a.r + r * a.i); }
  __device__ cuComplex operator+(const cuComplex& a) const { return cuComplex(r + a.r, i + a.i); }
};
__global__ void mandel(int* out, int w, int iterations) {
  int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y;
  cuComplex c(x * 0.125f - 2.0f, y * 0.25f - 1.0f), z(0, 0);
  int k = 0;
  for (; k < iterations && z.magnitude2() <= 4.0f; k++) z = z * z + c;
  out[y * w + x] = k;
}"""
    c = (np.arange(32) * 0.125 - 2) + 1j * (np.arange(8)[:, None] * 0.25 - 1)
    z, count = np.zeros_like(c), np.zeros(c.shape)
    for _ in range(20):
        inside = abs(z) <= 2
        z = np.where(inside, z * z + c, z)
        count += inside
    return source, (1, 8), 32, (zeros(8, 32, dtype=np.int32), 32, 20), {0: count}


@case("j < n; ++j) {", "j <= n; ++j) {", "out of bounds: read .* array p")
def all_pairs():
    source = """
typedef struct { float x, y, z, vx, vy, vz; } Body;
__global__ void bodyForce(Body *p, float *ax, float dt, int n) {
  int i = blockDim.x * blockIdx.x + threadIdx.x;
  if (i < n) {
    float Fx = 0.0f;
    for (int j = 0; j < n; ++j) {
      float dx = p[j].x - p[i].x, dy = p[j].y - p[i].y, dz = p[j].z - p[i].z;
      float distSqr = dx * dx + dy * dy + dz * dz + 0.1f;
      float invDist = rsqrtf(distSqr);
      Fx += dx * invDist * invDist * invDist;
    }
    ax[i] = dt * Fx;
  }
}"""
    p = normal(40, 6)
    d = p[None, :, :3].astype(np.float64) - p[:, None, :3]
    expected = 0.5 * (d[..., 0] / ((d**2).sum(axis=2) + 0.1) ** 1.5).sum(axis=1)
    return source, 2, 32, (p, zeros(40), 0.5, 40), {1: expected}


@case("fx + 1 < w ? fx + 1 : fx", "fx + 1", "out of bounds: read .* array img")
def bilinear():
    source = """
__global__ void resize(const float* img, float* out, int w, int h, float scale) {
  const int x = threadIdx.x, y = threadIdx.y, ow = blockDim.x;
  const float sx = x * scale, sy = y * scale;
  const int fx = floorf(sx), fy = floorf(sy);
  const int cx = fx + 1 < w ? fx + 1 : fx, cy = min(fy + 1, h - 1);
  const float tx = sx - fx, ty = sy - fy;
  const float top = img[fy * w + fx] * (1 - tx) + img[fy * w + cx] * tx;
  const float low = img[cy * w + fx] * (1 - tx) + img[cy * w + cx] * tx;
  out[y * ow + x] = top * (1 - ty) + low * ty;
}"""
    x = normal(8, 8)
    at = np.arange(16) * 0.5
    f, t = at.astype(int), at % 1
    c = np.minimum(f + 1, 7)
    rows = x[f] * (1 - t)[:, None] + x[c] * t[:, None]
    return source, 1, (16, 16), (x, zeros(16, 16), 8, 8, 0.5), {1: rows[:, f] * (1 - t) + rows[:, c] * t}


@case("z < nz - 1", "z < nz", "out of bounds: read .* array in")
def column_march_in_three_dimensions():
    """The values above and below stay in registers as the thread walks along z."""
    source = """
__global__ void laplace3d(const float* __restrict__ in, float* __restrict__ out, int nx, int ny, int nz) {
  const int x = threadIdx.x + 1, y = threadIdx.y + 1, plane = nx * ny;
  int at = y * nx + x;
  float below = in[at], current = in[at + plane];
  for (int z = 1; z < nz - 1; ++z) {
    at += plane;
    const float above = in[at + plane];
    out[at] = below + above + in[at - 1] + in[at + 1] + in[at - nx] + in[at + nx] - 6.f * current;
    below = current;
    current = above;
  }
}"""
    u = normal(6, 6, 10)
    inner = u[1:-1, 1:-1, 1:-1]
    expected = np.zeros(u.shape)
    expected[1:-1, 1:-1, 1:-1] = (
        u[:-2, 1:-1, 1:-1]
        + u[2:, 1:-1, 1:-1]
        + u[1:-1, :-2, 1:-1]
        + u[1:-1, 2:, 1:-1]
        + u[1:-1, 1:-1, :-2]
        + u[1:-1, 1:-1, 2:]
        - 6 * inner
    )
    return source, 1, (8, 4), (u, zeros(6, 6, 10), 10, 6, 6), {1: expected}

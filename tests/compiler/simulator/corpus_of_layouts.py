"""Transposes, permutations, gathers, scatters, conversions of layouts and types."""

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


@case("x < width && y < height", "x <= width && y < height", "out of bounds: .* array|race: .* array odata")
def naive_transpose():
    source = """
__global__ void transpose_naive(float *odata, const float *idata, int width, int height) {
  unsigned int x = blockDim.x * blockIdx.x + threadIdx.x;
  unsigned int y = blockDim.y * blockIdx.y + threadIdx.y;
  if (x < width && y < height) odata[y + height * x] = idata[x + width * y];
}"""
    x = normal(13, 32)
    return source, (3, 1), (16, 16), (zeros(32, 13), x, 32, 13), {0: x.T}


@case("__syncthreads();", "", "race: .* shared memory block")
def guarded_tile():
    source = """
#define BLOCK_DIM 16
__global__ void transpose(float *odata, float *idata, int width, int height) {
  __shared__ float block[BLOCK_DIM][BLOCK_DIM + 1];
  unsigned int xIndex = blockIdx.x * BLOCK_DIM + threadIdx.x;
  unsigned int yIndex = blockIdx.y * BLOCK_DIM + threadIdx.y;
  if ((xIndex < width) && (yIndex < height)) block[threadIdx.y][threadIdx.x] = idata[yIndex * width + xIndex];
  __syncthreads();
  xIndex = blockIdx.y * BLOCK_DIM + threadIdx.x;
  yIndex = blockIdx.x * BLOCK_DIM + threadIdx.y;
  if ((xIndex < height) && (yIndex < width)) odata[yIndex * height + xIndex] = block[threadIdx.x][threadIdx.y];
}"""
    x = normal(20, 35)
    return source, (3, 2), (16, 16), (zeros(35, 20), x, 35, 20), {0: x.T}


@case("(x ^ y)", "x", WRONG)
def swizzled_tile():
    source = """
__global__ void transpose_swizzled(const float* in, float* out, int n) {
  __shared__ float tile[32 * 32];
  const int x = threadIdx.x;
  for (int y = threadIdx.y; y < 32; y += 8)
    tile[y * 32 + (x ^ y)] = in[(blockIdx.y * 32 + y) * n + blockIdx.x * 32 + x];
  __syncthreads();
  for (int y = threadIdx.y; y < 32; y += 8)
    out[(blockIdx.x * 32 + y) * n + blockIdx.y * 32 + x] = tile[x * 32 + (y ^ x)];
}"""
    x = normal(64, 64)
    return source, (2, 2), (32, 8), (x, zeros(64, 64), 64), {1: x.T}


@case("if (a < b)", "if (a <= n)", "race: .* array m")
def in_place_square():
    source = """
__global__ void transpose_in_place(float* m, int n) {
  int a = blockIdx.x * blockDim.x + threadIdx.x, b = blockIdx.y * blockDim.y + threadIdx.y;
  if (a >= n || b >= n) return;
  if (a < b) { float t = m[a * n + b]; m[a * n + b] = m[b * n + a]; m[b * n + a] = t; }
}"""
    x = normal(20, 20)
    return source, (2, 2), (16, 16), (x, 20), {0: x.T.copy()}


@case("idx % C", "idx % (C + 1)", "out of bounds: read .* array x")
def nchw_to_nhwc():
    source = """
__global__ void to_channels_last(const float* __restrict__ x, float* __restrict__ y, int N, int C, int HW) {
  for (int idx = blockIdx.x * blockDim.x + threadIdx.x; idx < N * C * HW; idx += blockDim.x * gridDim.x) {
    int c = idx % C, p = idx / C % HW, n = idx / (C * HW);
    y[idx] = x[(n * C + c) * HW + p];
  }
}"""
    x = normal(2, 3, 20)
    return source, 2, 32, (x, zeros(2, 20, 3), 2, 3, 20), {1: x.transpose(0, 2, 1)}


@case("index[row] * dim", "index[row] * (dim + 1)", "out of bounds: read .* array table")
def embedding():
    source = """
__global__ void embedding_lookup(const float* table, const long long* index, float* out, int dim) {
  const int row = blockIdx.x;
  for (int d = threadIdx.x; d < dim; d += blockDim.x) out[row * dim + d] = table[index[row] * dim + d];
}"""
    table, index = normal(9, 40), integers(0, 9, 5, dtype=np.int64)
    index[0] = 8
    return source, 5, 32, (table, index, zeros(5, 40), 40), {2: table[index]}


@case("atomicAdd(g, dy[row * dim + d])", "*g += dy[row * dim + d]", "race: .* array grad")
def embedding_gradient():
    source = """
__global__ void scatter_add(float* grad, const int* index, const float* dy, int dim) {
  const int row = blockIdx.x, d = threadIdx.x;
  float* g = grad + index[row] * dim + d;
  if (d < dim) atomicAdd(g, dy[row * dim + d]);
}"""
    dy, index = normal(12, 20), integers(0, 4, 12)
    expected = zeros(4, 20)
    np.add.at(expected, index, dy)
    return source, 12, 32, (zeros(4, 20), index, dy, 20), {0: expected}


@case("n - 1 - i", "n - i", "(out of bounds|race): .* array (x|y)")
def reverse_by_shared_memory():
    source = """
__global__ void reverse(const int* x, int* y) {
  extern __shared__ int s[];
  int i = threadIdx.x, n = blockDim.x;
  s[i] = x[blockIdx.x * n + i];
  __syncthreads();
  y[(gridDim.x - 1 - blockIdx.x) * n + n - 1 - i] = s[i];
}"""
    x = integers(-99, 99, 96)
    return source, 3, 32, (x, zeros(96, dtype=np.int32)), {1: x[::-1]}, 128


@case("float4* in4 = (const float4*)in", "float4* in4 = (const float4*)(in + 1)", "misaligned")
def copy_by_float4():
    source = """
__global__ void copy(const float* in, float* out, int n) {
  const float4* in4 = (const float4*)in;
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i * 4 + 3 < n) reinterpret_cast<float4*>(out)[i] = in4[i];
  else for (int k = i * 4; k < n; ++k) out[k] = in[k];
}"""
    x = normal(131)
    return source, 2, 32, (x, zeros(131), 131), {1: x}


@case("i < n / 2", "i <= n / 2", "out of bounds: .* array")
def float_to_half2():
    source = """
#include <cuda_fp16.h>
__global__ void to_half(const float2* x, __half2* y, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n / 2) y[i] = __float22half2_rn(x[i]);
}"""
    x = normal(100)
    return source, 2, 32, (x, zeros(100, dtype=np.float16), 100), {1: x.astype(np.float16)}


@case("const unsigned char b", "const signed char b", WRONG)
def unpack_nibbles():
    source = """
__global__ void unpack4(const unsigned char* packed, int* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const unsigned char b = packed[i];
  out[2 * i] = b & 15;
  out[2 * i + 1] = b >> 4;
}"""
    x = integers(0, 256, 50, dtype=np.uint8)
    return source, 2, 32, (x, zeros(100, dtype=np.int32), 50), {1: np.stack([x & 15, x >> 4], axis=1).ravel()}


@case("p[i].y", "p[i + 1].y", "out of bounds: read .* array p")
def structs_to_arrays():
    source = """
typedef struct { float x, y, z; int id; } Particle;
__global__ void split(const Particle* p, float* x, float* y, int n) {
  int i = threadIdx.x;
  if (i < n) { x[i] = p[i].x; y[i] = p[i].y * p[i].id; }
}"""
    p = np.zeros(20, [("x", "f4"), ("y", "f4"), ("z", "f4"), ("id", "i4")])
    p["x"], p["y"], p["id"] = normal(20), normal(20), np.arange(20)
    return source, 1, 32, (p, zeros(20), zeros(20), 20), {1: p["x"], 2: p["y"] * p["id"]}


@case("w < out_w", "w <= out_w", "(out of bounds|race): .* array")
def im2col():
    source = """
__global__ void im2col(const float* x, float* col, int h_in, int w_in, int k, int out_h, int out_w) {
  const int c = blockIdx.x, h = threadIdx.y, w = threadIdx.x;
  if (h < out_h && w < out_w)
    for (int i = 0; i < k; ++i)
      for (int j = 0; j < k; ++j)
        col[((c * k + i) * k + j) * out_h * out_w + h * out_w + w] = x[(c * h_in + h + i) * w_in + w + j];
}"""
    x = normal(2, 6, 8)
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(1, 2))
    return source, 2, (8, 8), (x, zeros(2, 3, 3, 4, 6), 6, 8, 3, 4, 6), {1: windows.transpose(0, 3, 4, 1, 2)}

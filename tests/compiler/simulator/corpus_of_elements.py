"""Elementwise kernels and small ones of every library: broadcasts, clamps, masks, quantization, complex numbers."""

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


@case("i < n; i +=", "i <= n; i +=", "out of bounds: .* array")
def saxpy():
    source = """
__global__ void saxpy(int n, float a, const float *x, float *y) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) y[i] = a * x[i] + y[i];
}"""
    x, y = normal(100), normal(100)
    return source, 2, 32, (100, 0.5, x, y), {3: 0.5 * x + y}


@case("i / cols", "i / rows", "out of bounds: read .* array bias")
def broadcast_of_a_column():
    source = """
__global__ void add_column(const float* x, const float* bias, float* y, int rows, int cols) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < rows * cols) y[i] = x[i] + bias[i / cols];
}"""
    x, b = normal(5, 20), normal(5)
    return source, 4, 32, (x, b, zeros(5, 20), 5, 20), {2: x + b[:, None]}


@case("mask[i] ? x[i]", "mask[i + 1] ? x[i]", "out of bounds: read .* array mask")
def where():
    source = """
__global__ void where(const bool* mask, const float* x, float other, float* y, int n) {
  const int i = blockDim.x * blockIdx.x + threadIdx.x;
  if (i < n) y[i] = mask[i] ? x[i] : other;
}"""
    mask, x = integers(0, 2, 90, dtype=np.bool_), normal(90)
    return source, 3, 32, (mask, x, -1.0, zeros(90), 90), {3: np.where(mask, x, -1)}


@case("__float2int_rn(", "__float2int_rz(", WRONG)
def quantization_to_bytes():
    source = """
__global__ void quantize(const float* x, signed char* q, float scale, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) q[i] = max(-128, min(127, __float2int_rn(x[i] / scale)));
}"""
    x = integers(-600, 600, 80).astype(np.float32) / 4
    expected = np.clip(np.rint(x), -128, 127)
    return source, 3, 32, (x, zeros(80, dtype=np.int8), 1.0, 80), {1: expected}


@case("scale[i / group]", "scale[i / group + 1]", "out of bounds: read .* array scale")
def dequantization_by_groups():
    source = """
__global__ void dequantize(const unsigned char* q, const float* scale, float* y, int n, int group) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (2 * i < n) {
    const float s = scale[i / group];
    y[2 * i] = s * ((q[i] & 0xF) - 8);
    y[2 * i + 1] = s * ((q[i] >> 4) - 8);
  }
}"""
    q, s = integers(0, 256, 48, dtype=np.uint8), normal(3)
    levels = np.stack([q & 15, q >> 4], axis=1).astype(int) - 8
    return source, 2, 32, (q, s, zeros(96), 96, 16), {2: np.repeat(s, 32) * levels.ravel()}


@case("a.x * b.y + a.y * b.x", "a.x * b.y - a.y * b.x", WRONG)
def complex_product():
    source = """
__global__ void multiply(float2* a_, const float2* b_, int n) {
  for (int i = threadIdx.x; i < n; i += blockDim.x) {
    float2 a = a_[i], b = b_[i], c;
    c.x = a.x * b.x - a.y * b.y;
    c.y = a.x * b.y + a.y * b.x;
    a_[i] = c;
  }
}"""
    a, b = normal(50, 2), normal(50, 2)
    z = (a[:, 0] + 1j * a[:, 1]) * (b[:, 0] + 1j * b[:, 1])
    return source, 1, 32, (a, b, 50), {0: np.stack([z.real, z.imag], axis=1)}


@case("k < n; ++k", "k <= n; ++k", "out of bounds: .* array x")
def float4_with_a_tail():
    source = """
__global__ void scale(float* x, float a, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x, n4 = n / 4;
  if (i < n4) {
    float4 v = reinterpret_cast<float4*>(x)[i];
    v.x *= a; v.y *= a; v.z *= a; v.w *= a;
    reinterpret_cast<float4*>(x)[i] = v;
  }
  if (i == n4)
    for (int k = 4 * n4; k < n; ++k) x[k] *= a;
}"""
    x = normal(98)
    return source, 1, 32, (x, 3.0, 98), {0: 3 * x}


@case("isnan(x[i]) || isinf(x[i])", "isinf(x[i])", WRONG)
def non_finite_flag():
    source = """
__global__ void check_finite(const float* x, int* flag, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n && (isnan(x[i]) || isinf(x[i]))) atomicOr(flag, 1);
}"""
    x = normal(70)
    x[66] = np.nan
    return source, 3, 32, (x, zeros(1, dtype=np.int32), 70), {1: np.ones(1)}


@case("blockIdx.y * n + i", "blockIdx.y * (n - 1) + i", "race: .* array y")
def outer_product():
    source = """
__global__ void outer(const float* a, const float* b, float* y, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[blockIdx.y * n + i] = a[blockIdx.y] * b[i];
}"""
    a, b = normal(7), normal(40)
    return source, (2, 7), 32, (a, b, zeros(7, 40), 40), {2: np.outer(a, b)}


@case("(c + 1) * width", "(c + 1) * width + 1", "out of bounds: write .* array y")
def concatenation():
    source = """
__global__ void concat(const float* a, const float* b, float* y, int width, int rows) {
  const int c = blockIdx.x - 1, r = blockIdx.y;
  const float* from = c < 0 ? a : b;
  for (int i = threadIdx.x; i < width; i += blockDim.x) y[r * 2 * width + (c + 1) * width + i] = from[r * width + i];
}"""
    a, b = normal(4, 30), normal(4, 30)
    return source, (2, 4), 32, (a, b, zeros(4, 60), 30, 4), {2: np.concatenate([a, b], axis=1)}


@case("out[i] = v", "out[i / 2] = v", "race: .* array out")
def strided_slice():
    source = """
__global__ void slice(const int* x, int* out, int begin, int step, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  const int v = x[begin + i * step];
  out[i] = v;
}"""
    x = np.arange(100, dtype=np.int32)
    return source, 1, 32, (x, zeros(30, dtype=np.int32), 5, 3, 30), {1: x[5:95:3]}


@case("momentum * v[i] + g", "momentum * v[i + 1] + g", "(race|out of bounds): .* array v")
def momentum_update():
    source = """
template <typename scalar_t>
__global__ void sgd(scalar_t* __restrict__ w, const scalar_t* __restrict__ grad, scalar_t* __restrict__ v,
                    const scalar_t lr, const scalar_t momentum, const int64_t n) {
  const int64_t i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) {
    const scalar_t g = grad[i];
    v[i] = momentum * v[i] + g;
    w[i] -= lr * v[i];
  }
}
template __global__ void sgd<double>(double*, const double*, double*, double, double, int64_t);
"""
    w, g, v = (normal(60).astype(np.float64) for _ in range(3))
    velocity = 0.9 * v + g
    arguments = (w, g, v, np.float64(0.1), np.float64(0.9), np.int64(60))
    return source, 2, 32, arguments, {0: w - 0.1 * velocity, 2: velocity}

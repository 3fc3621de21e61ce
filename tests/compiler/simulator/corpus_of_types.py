"""Types: unions, vectors with operators, half, bfloat16, double, bits."""

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


@case("u.f = x[i]", "u.f = x[i + 1]", "out of bounds: read .* array x")
def union_of_bits():
    source = """
union Bits { float f; unsigned u; struct { unsigned mantissa : 23, exponent : 8, sign : 1; } parts; };
__global__ void exponents(const float* x, int* e, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  Bits u;
  u.f = x[i];
  e[i] = (int)u.parts.exponent - 127;
}"""
    x = normal(60)
    return source, 2, 32, (x, zeros(60, dtype=np.int32), 60), {1: np.frexp(x)[1] - 1}


@case("return a.x * b.x", "return a.x * a.x", WRONG)
def operators_of_float3():
    source = """
inline __host__ __device__ float3 operator-(float3 a, float3 b) { return make_float3(a.x - b.x, a.y - b.y, a.z - b.z); }
inline __host__ __device__ float3 operator*(float s, float3 a) { return make_float3(s * a.x, s * a.y, s * a.z); }
inline __host__ __device__ float dot(float3 a, float3 b) { return a.x * b.x + a.y * b.y + a.z * b.z; }
__global__ void reflect(const float3* v, const float3* n, float3* out, int count) {
  const int i = blockDim.x * blockIdx.x + threadIdx.x;
  if (i < count) out[i] = v[i] - 2.f * dot(v[i], n[i]) * n[i];
}"""
    v, n = normal(40, 3), normal(40, 3)
    return source, 2, 32, (v, n, zeros(40, 3), 40), {2: v - 2 * (v * n).sum(axis=1, keepdims=True) * n}


@case("if constexpr (sizeof(T) == 4)", "if constexpr (sizeof(T) == 8)", WRONG)
def overloads_and_constexpr():
    source = """
template <class T> __device__ T root(T v) {
  if constexpr (sizeof(T) == 4) return sqrtf(v);
  else return -sqrt(v);
}
__global__ void roots(const float* x, const double* d, float* a, double* b) {
  a[threadIdx.x] = root(x[threadIdx.x]);
  b[threadIdx.x] = root(d[threadIdx.x]);
}"""
    x = abs(normal(32))
    arguments = (x, x.astype(np.float64), zeros(32), zeros(32, dtype=np.float64))
    return source, 1, 32, arguments, {2: np.sqrt(x), 3: -np.sqrt(x.astype(np.float64))}


@case("__hadd2(", "__hsub2(", WRONG)
def half2_arithmetic():
    source = """
#include <cuda_fp16.h>
__global__ void add_h2(const __half* a, const __half* b, __half* c, int n) {
  int i = 2 * (blockIdx.x * blockDim.x + threadIdx.x);
  if (i + 1 < n) *(__half2*)(c + i) = __hadd2(*(const __half2*)(a + i), *(const __half2*)(b + i));
  else if (i < n) c[i] = __hadd(a[i], b[i]);
}"""
    a, b = normal(51).astype(np.float16), normal(51).astype(np.float16)
    return source, 1, 32, (a, b, zeros(51, dtype=np.float16), 51), {2: a + b}


@case("__float2bfloat16(2.0f)", "__float2bfloat16(2.5f)", WRONG)
def bfloat16():
    source = """
#include <cuda_bf16.h>
__global__ void scale_bf16(const __nv_bfloat16* x, float* y) {
  y[threadIdx.x] = __bfloat162float(__hmul(x[threadIdx.x], __float2bfloat16(2.0f)));
}"""
    x = (normal(32).view(np.uint32) >> 16).astype(np.uint16)
    return source, 1, 32, (x, zeros(32)), {1: 2 * (x.astype(np.uint32) << 16).view(np.float32)}


@case("__brev(v) >> 1", "__brev(v) >> 2", WRONG)
def bit_intrinsics():
    source = """
__global__ void bits(const unsigned* x, int4* y) {
  unsigned v = x[threadIdx.x], bits = v;
  int n = 0;
  while (bits) { bits &= bits - 1; ++n; }
  y[threadIdx.x] = make_int4(n, __clz(v), __ffs(v), __brev(v) >> 1);
}"""
    x = integers(1, 2**31, 20, dtype=np.uint32)
    text = [f"{v:032b}" for v in x]
    expected = [[t.count("1"), t.index("1"), 32 - t.rindex("1"), int(t[::-1], 2) >> 1] for t in text]
    return source, 1, 20, (x, zeros(20, 4, dtype=np.int32)), {1: np.array(expected)}

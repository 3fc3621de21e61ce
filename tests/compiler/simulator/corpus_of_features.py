"""Features of the language: templates, lambdas, recursion, unions, bit fields, constants, local arrays, pointers."""

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


@case("apply(x, y, n, [=]", "apply(x, y, n + 1, [=]", "out of bounds: .* array")
def lambdas():
    source = """
template <typename F> __device__ void apply(const float* x, float* y, int n, F f) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += blockDim.x * gridDim.x) y[i] = f(x[i], i);
}
__global__ void axpb(const float* x, float* y, int n, float a, float b) {
  apply(x, y, n, [=] __device__(float v, int i) { return a * v + b * i; });
}"""
    x = normal(75)
    return source, 2, 32, (x, zeros(75), 75, 2.0, 0.5), {1: 2 * x + 0.5 * np.arange(75)}


@case("fib(n - 1)", "fib(n - 2)", WRONG)
def recursion():
    source = """
__device__ int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }
__global__ void fibonacci(int* y) { y[threadIdx.x] = fib(threadIdx.x); }
"""
    expected = [0, 1]
    while len(expected) < 12:
        expected.append(expected[-1] + expected[-2])
    return source, 1, 12, (zeros(12, dtype=np.int32),), {0: np.array(expected)}


@case("int N = 8", "int N = 9", "out of bounds: .* array")
def templates_of_values():
    source = """
template <int N, typename T> struct Vec {
  T v[N];
  __device__ T& operator[](int i) { return v[i]; }
  __device__ T sum() const { T s = 0; for (int i = 0; i < N; i++) s += v[i]; return s; }
};
constexpr int N = 8;
__global__ void sums(const float* x, float* y, int rows) {
  if (threadIdx.x >= rows) return;
  Vec<N, float> v;
  for (int i = 0; i < N; ++i) v[i] = x[threadIdx.x * 8 + i];
  y[threadIdx.x] = v.sum();
}"""
    x = normal(10, 8)
    return source, 1, 32, (x, zeros(10), 10), {1: x.sum(axis=1)}


@case("case 2: r = a * b; break;", "case 2: r = a / (b - b); break;", "division by zero")
def switch_of_operations():
    source = """
enum Op { ADD, SUB, MUL, MOD };
__global__ void calculate(const int* a_, const int* b_, const int* op, int* out) {
  int i = threadIdx.x, a = a_[i], b = b_[i], r;
  switch (op[i]) {
    case ADD: r = a + b; break;
    case SUB: r = a - b; break;
    case 2: r = a * b; break;
    default: r = a % b;
  }
  out[i] = r;
}"""
    a, b, op = integers(1, 99, 32), integers(1, 9, 32), np.arange(32, dtype=np.int32) % 4
    expected = np.choose(op, [a + b, a - b, a * b, a % b])
    return source, 1, 32, (a, b, op, zeros(32, dtype=np.int32)), {3: expected}


@case("table[(i + 1) % 5]", "table[i + 1]", "out of bounds: .*index")
def constant_table():
    source = """
__constant__ float table[5] = {1, 2, 4, 8, 16};
__global__ void weights(const int* x, float* y) {
  const int i = x[threadIdx.x];
  y[threadIdx.x] = table[i] + table[(i + 1) % 5];
}"""
    x = np.arange(40, dtype=np.int32) % 5
    t = np.array([1, 2, 4, 8, 16.0])
    return source, 1, 40, (x, zeros(40)), {1: t[x] + t[(x + 1) % 5]}


@case("unsigned h = 2166136261u", "int h = 0x7fffffff", "integer overflow")
def hash_of_strings():
    source = """
__global__ void fnv1a(const char* text, const int* begin, unsigned* out, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  unsigned h = 2166136261u;
  for (int k = begin[i]; k < begin[i + 1]; ++k) h = (h ^ (unsigned char)text[k]) * 16777619;
  out[i] = h;
}"""
    words = [b"warp", b"block", b"grid", b"thread"]
    expected = []
    for word in words:
        h = 2166136261
        for c in word:
            h = (h ^ c) * 16777619 % 2**32
        expected.append(h)
    begin = np.cumsum([0] + [len(w) for w in words]).astype(np.int32)
    text = np.frombuffer(b"".join(words), np.uint8).copy()
    return source, 1, 32, (text, begin, zeros(4, dtype=np.uint32), 4), {2: np.array(expected)}


@case("x / y", "x / (y - y)", "division by zero")
def greatest_common_divisors():
    source = """
__device__ __noinline__ int gcd(int x, int y) { while (y) { int t = x - x / y * y; x = y; y = t; } return x; }
__global__ void gcds(const int2* p, int* g, int n) {
  const int i = threadIdx.x;
  if (i < n) g[i] = gcd(p[i].x, p[i].y);
}"""
    p = integers(1, 999, 25, 2)
    return source, 1, 32, (p, zeros(25, dtype=np.int32), 25), {1: np.gcd(p[:, 0], p[:, 1])}


@case("float* b = a + n", "float* b = a + n + 1", "out of bounds: .* dynamic shared memory")
def carved_shared_memory():
    source = """
__global__ void carve(const float* x, float* y, int n) {
  extern __shared__ unsigned char raw[];
  float* a = reinterpret_cast<float*>(raw);
  float* b = a + n;
  const int i = threadIdx.x;
  a[i] = x[i];
  b[i] = 2 * x[i];
  __syncthreads();
  y[i] = a[n - 1 - i] + b[(i + 1) % n];
}"""
    x = normal(32)
    return source, 1, 32, (x, zeros(32), 32), {1: x[::-1] + 2 * np.roll(x, -1)}, 256


@case("local[k] = ", "local[k + 1] = ", "out of bounds|uninitialized")
def local_arrays():
    source = """
__global__ void sort_rows(const float* x, float* y) {
  float local[8];
  for (int k = 0; k < 8; ++k) local[k] = x[threadIdx.x * 8 + k];
  for (int i = 1; i < 8; ++i)
    for (int j = i; j > 0 && local[j] < local[j - 1]; --j) {
      float t = local[j];
      local[j] = local[j - 1];
      local[j - 1] = t;
    }
  for (int k = 0; k < 8; ++k) y[threadIdx.x * 8 + k] = local[k];
}"""
    x = normal(20, 8)
    return source, 1, 20, (x, zeros(20, 8)), {1: np.sort(x, axis=1)}


@case("block * 24 + thread", "block * 23 + thread", "race: .* array y")
def three_dimensions():
    source = """
__global__ void index3d(int* y) {
  const int thread = (threadIdx.z * 4 + threadIdx.y) * 2 + threadIdx.x;
  const int block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
  y[block * 24 + thread] = block * 100 + thread;
}"""
    expected = (np.arange(12)[:, None] * 100 + np.arange(24)).ravel()
    return source, (2, 2, 3), (2, 4, 3), (zeros(288, dtype=np.int32),), {0: expected}


@case("at >= 0;", "at >= -1;", "out of bounds: read .* array nodes")
def pointers_to_structs():
    source = """
struct Node { int value, next; };
__global__ void walk(const Node* nodes, int* sums) {
  int s = 0;
  for (int at = threadIdx.x; at >= 0;) { const Node* p = &nodes[at]; s += p->value; at = p->next; }
  sums[threadIdx.x] = s;
}"""
    nodes = np.zeros(20, [("value", "i4"), ("next", "i4")])
    nodes["value"], nodes["next"] = integers(0, 99, 20), np.arange(20) - 3
    nodes["next"][:3] = -1
    expected = [nodes["value"][i::-3].sum() for i in range(20)]
    return source, 1, 20, (nodes, zeros(20, dtype=np.int32)), {1: np.array(expected)}


@case("assert(i < n)", "assert(i < n - 1)", "assertion")
def assertions():
    source = """
#include <cassert>
__global__ void checked(const float* x, float* y, int n) {
  int i = threadIdx.x;
  assert(i < n);
  y[i] = sqrtf(fabsf(x[i]));
}"""
    x = normal(32)
    return source, 1, 32, (x, zeros(32), 32), {1: np.sqrt(abs(x))}


@case("next(next(state))", "next(state + 1)", WRONG)
def random_walk():
    source = """
__device__ unsigned next(unsigned s) { s ^= s << 13; s ^= s >> 17; s ^= s << 5; return s; }
__global__ void xorshift(unsigned* y) {
  unsigned state = threadIdx.x + 1;
  y[threadIdx.x] = next(next(state));
}"""
    s = np.arange(1, 41, dtype=np.uint32)
    for _ in range(2):
        s = s ^ (s << np.uint32(13))
        s = s ^ (s >> np.uint32(17))
        s = s ^ (s << np.uint32(5))
    return source, 1, 40, (zeros(40, dtype=np.uint32),), {0: s}


@case("#if WIDTH == 4", "#if WIDTH == 5", WRONG)
def preprocessor():
    source = """
#define CAT(a, b) a##b
#define VEC(n) CAT(float, n)
#define WIDTH 4
#define FOR_EACH(F) F(x) F(y) F(z) F(w)
#define ADD(c) s += v.c;
__global__ void sum4(const VEC(WIDTH)* x, float* y) {
  const VEC(4) v = x[threadIdx.x];
  float s = 0;
#if WIDTH == 4
  FOR_EACH(ADD)
#endif
  y[threadIdx.x] = s;
}"""
    x = normal(32, 4)
    return source, 1, 32, (x, zeros(32)), {1: x.sum(axis=1)}

"""Matrix products: naive, tiled, vectorized, batched, transposed, sparse, of half and of bytes."""

import numpy as np
from compiler.simulator.corpus import WRONG, case, integers, normal, zeros


@case("row < M && col < N", "row <= M && col < N", "out of bounds: .* array")
def naive_product():
    source = """
__global__ void sgemm_naive(int M, int N, int K, float alpha, const float *A, const float *B, float beta, float *C) {
  const uint row = blockIdx.x * blockDim.x + threadIdx.x;
  const uint col = blockIdx.y * blockDim.y + threadIdx.y;
  if (row < M && col < N) {
    float tmp = 0.0;
    for (int i = 0; i < K; ++i) tmp += A[row * K + i] * B[i * N + col];
    C[row * N + col] = alpha * tmp + beta * C[row * N + col];
  }
}"""
    a, b, c = normal(17, 9), normal(9, 20), normal(17, 20)
    expected = 2 * a.astype(np.float64) @ b - c
    return source, (2, 2), (16, 16), (17, 20, 9, 2.0, a, b, -1.0, c), {7: expected}


@case("__syncthreads();\n    }\n    Matrix C", "}\n    Matrix C", "race: .* shared memory [AB]s")
def matrix_mul_of_the_guide():
    """The programming guide's product: structs of matrices, sub-matrices by device functions."""
    source = """
#define BLOCK_SIZE 8
typedef struct { int width; int height; int stride; float* elements; } Matrix;
__device__ float GetElement(const Matrix A, int row, int col) { return A.elements[row * A.stride + col]; }
__device__ Matrix GetSubMatrix(Matrix A, int row, int col) {
    Matrix Asub;
    Asub.width = BLOCK_SIZE; Asub.height = BLOCK_SIZE; Asub.stride = A.stride;
    Asub.elements = &A.elements[A.stride * BLOCK_SIZE * row + BLOCK_SIZE * col];
    return Asub;
}
__global__ void MatMulKernel(float* a, float* b, float* c, int n) {
    Matrix A = {n, n, n, a}, B = {n, n, n, b};
    int blockRow = blockIdx.y, blockCol = blockIdx.x;
    float Cvalue = 0;
    int row = threadIdx.y, col = threadIdx.x;
    for (int m = 0; m < (A.width / BLOCK_SIZE); ++m) {
        Matrix Asub = GetSubMatrix(A, blockRow, m), Bsub = GetSubMatrix(B, m, blockCol);
        __shared__ float As[BLOCK_SIZE][BLOCK_SIZE];
        __shared__ float Bs[BLOCK_SIZE][BLOCK_SIZE];
        As[row][col] = GetElement(Asub, row, col);
        Bs[row][col] = GetElement(Bsub, row, col);
        __syncthreads();
        for (int e = 0; e < BLOCK_SIZE; ++e) Cvalue += As[row][e] * Bs[e][col];
        __syncthreads();
    }
    Matrix C = GetSubMatrix(Matrix{n, n, n, c}, blockRow, blockCol);
    C.elements[row * C.stride + col] = Cvalue;
}"""
    a, b = normal(16, 16), normal(16, 16)
    return source, (2, 2), (8, 8), (a, b, zeros(16, 16), 16), {2: a.astype(np.float64) @ b}


@case("t * T + threadIdx.x < k", "true", "out of bounds: read .* array a")
def guarded_tiles():
    source = """
template <int T> __global__ void matmul(const float* a, const float* b, float* c, int m, int n, int k) {
  __shared__ float as[T][T], bs[T][T];
  int row = blockIdx.y * T + threadIdx.y, col = blockIdx.x * T + threadIdx.x;
  float acc = 0.f;
  for (int t = 0; t < (k + T - 1) / T; t++) {
    as[threadIdx.y][threadIdx.x] = row < m && t * T + threadIdx.x < k ? a[row * k + t * T + threadIdx.x] : 0.f;
    bs[threadIdx.y][threadIdx.x] = col < n && t * T + threadIdx.y < k ? b[(t * T + threadIdx.y) * n + col] : 0.f;
    __syncthreads();
    #pragma unroll
    for (int i = 0; i < T; i++) acc = fmaf(as[threadIdx.y][i], bs[i][threadIdx.x], acc);
    __syncthreads();
  }
  if (row < m && col < n) c[row * n + col] = acc;
}
template __global__ void matmul<8>(const float*, const float*, float*, int, int, int);
"""
    a, b = normal(10, 13), normal(13, 9)
    return source, (2, 2), (8, 8), (a, b, zeros(10, 9), 10, 9, 13), {2: a.astype(np.float64) @ b}


@case("As[buf ^ 1][y]", "As[buf][y]", "race: .* shared memory (A|B)s")
def double_buffered_tiles():
    source = """
__global__ void gemm_db(const float* A, const float* B, float* C, int K) {
  __shared__ float As[2][16][17], Bs[2][16][16];
  const int x = threadIdx.x, y = threadIdx.y;
  int buf = 0;
  As[0][y][x] = A[y * K + x];
  Bs[0][y][x] = B[y * 16 + x];
  float c = 0;
  for (int k = 0; k < K; k += 16) {
    __syncthreads();
    if (k + 16 < K) {
      As[buf ^ 1][y][x] = A[y * K + k + 16 + x];
      Bs[buf ^ 1][y][x] = B[(k + 16 + y) * 16 + x];
    }
    for (int i = 0; i < 16; i++) c += As[buf][y][i] * Bs[buf][i][x];
    buf ^= 1;
  }
  C[y * 16 + x] = c;
}"""
    a, b = normal(16, 64), normal(64, 16)
    return source, 1, (16, 16), (a, b, zeros(16, 16), 64), {2: a.astype(np.float64) @ b}


@case("j < TM", "j <= TM", "out of bounds|uninitialized read")
def one_dimensional_register_tile():
    source = """
#define BM 32
#define BN 16
#define BK 4
#define TM 8
__global__ void sgemm1DBlocktiling(int M, int N, int K, const float *A, const float *B, float *C) {
  __shared__ float As[BM * BK];
  __shared__ float Bs[BK * BN];
  const int threadCol = threadIdx.x % BN, threadRow = threadIdx.x / BN;
  A += blockIdx.y * BM * K; B += blockIdx.x * BN; C += blockIdx.y * BM * N + blockIdx.x * BN;
  float threadResults[TM] = {0.0f};
  for (int bk = 0; bk < K; bk += BK) {
    for (int i = threadIdx.x; i < BM * BK; i += blockDim.x) As[i] = A[i / BK * K + i % BK];
    for (int i = threadIdx.x; i < BN * BK; i += blockDim.x) Bs[i] = B[i / BN * N + i % BN];
    __syncthreads();
    A += BK; B += BK * N;
    for (int d = 0; d < BK; ++d) {
      float tmpB = Bs[d * BN + threadCol];
      for (int j = 0; j < TM; ++j) threadResults[j] += As[(threadRow * TM + j) * BK + d] * tmpB;
    }
    __syncthreads();
  }
  for (int r = 0; r < TM; ++r) C[(threadRow * TM + r) * N + threadCol] = threadResults[r];
}"""
    a, b = normal(32, 12), normal(12, 32)
    return source, (2, 1), 64, (32, 32, 12, a, b, zeros(32, 32)), {5: a.astype(np.float64) @ b}


@case("blockIdx.z * n * n", "blockIdx.z * n * n + n", "out of bounds: .* array|race: .* array C")
def batched_products():
    source = """
__global__ void bmm(const float* A, const float* B, float* C, int n) {
  const int o = blockIdx.z * n * n;
  const int i = blockIdx.y * blockDim.y + threadIdx.y, j = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n || j >= n) return;
  float s = 0;
  for (int k = 0; k < n; ++k) s += A[o + i * n + k] * B[o + k * n + j];
  C[o + i * n + j] = s;
}"""
    a, b = normal(3, 10, 10), normal(3, 10, 10)
    return source, (2, 2, 3), (8, 8), (a, b, zeros(3, 10, 10), 10), {2: a.astype(np.float64) @ b}


@case("fminf", "fmaxf", WRONG)
def fused_epilogue():
    """y = min(max(x w^T + b, 0), 6)."""
    source = """
#define MIN(a, b) fminf(a, b)
__global__ void linear_relu6(const float* x, const float* w, const float* bias, float* y, int in, int out) {
  int o = blockIdx.x * blockDim.x + threadIdx.x;
  if (o >= out) return;
  float acc = __ldg(bias + o);
  const float* xr = x + blockIdx.y * in;
  for (int k = 0; k < in; ++k) acc += xr[k] * w[o * in + k];
  y[blockIdx.y * out + o] = MIN(fmaxf(acc, 0.f), 6.f);
}"""
    x, w, b = normal(4, 30), normal(40, 30), normal(40)
    expected = np.clip(x.astype(np.float64) @ w.T + b, 0, 6)
    return source, (2, 4), 32, (x, w, b, zeros(4, 40), 30, 40), {3: expected}


@case("atomicAdd(&C[r * n + c], s)", "C[r * n + c] += s", "race: .* array C")
def split_k():
    source = """
__global__ void splitk(const float* A, const float* B, float* C, int n, int K, int slice) {
  int r = threadIdx.y, c = threadIdx.x;
  float s = 0.f;
  for (int k = blockIdx.x * slice; k < min(K, (blockIdx.x + 1) * slice); ++k) s += A[r * K + k] * B[k * n + c];
  atomicAdd(&C[r * n + c], s);
}"""
    a, b = normal(8, 50), normal(50, 8)
    return source, 4, (8, 8), (a, b, zeros(8, 8), 8, 50, 13), {2: a.astype(np.float64) @ b}


@case("k += 2", "k += 1", "out of bounds: read .* array|misaligned")
def half2_dot_products():
    source = """
#include <cuda_fp16.h>
__global__ void hgemv(const __half* A, const __half* x, float* y, int n) {
  const int row = blockIdx.x * blockDim.x + threadIdx.x;
  float s = 0.f;
  for (int k = 0; k < n; k += 2) {
    const __half2 a = *reinterpret_cast<const __half2*>(A + row * n + k);
    const __half2 b = *reinterpret_cast<const __half2*>(x + k);
    const float2 p = __half22float2(__hmul2(a, b));
    s += p.x + p.y;
  }
  y[row] = s;
}"""
    a, x = integers(-8, 8, 32, 20, dtype=np.float16), integers(-8, 8, 20, dtype=np.float16)
    return source, 1, 32, (a, x, zeros(32), 20), {2: a.astype(np.float64) @ x}


@case("col_major> b_frag", "row_major> b_frag", WRONG)
def wmma_of_tiles_in_shared_memory():
    source = """
#include <mma.h>
#include <cuda_fp16.h>
using namespace nvcuda;
__global__ void wmma_shared(const half* a, const half* bt, float* c, int K) {
  __shared__ __align__(32) half As[16][16];
  __shared__ __align__(32) half Bs[16][16];
  wmma::fragment<wmma::matrix_a, 16, 16, 16, half, wmma::row_major> a_frag;
  wmma::fragment<wmma::matrix_b, 16, 16, 16, half, wmma::col_major> b_frag;
  wmma::fragment<wmma::accumulator, 16, 16, 16, float> acc;
  wmma::fill_fragment(acc, 0.f);
  for (int k = 0; k < K; k += 16) {
    for (int i = threadIdx.x; i < 256; i += 32) {
      As[i / 16][i % 16] = a[i / 16 * K + k + i % 16];
      Bs[i / 16][i % 16] = bt[i / 16 * K + k + i % 16];
    }
    __syncwarp();
    wmma::load_matrix_sync(a_frag, &As[0][0], 16);
    wmma::load_matrix_sync(b_frag, &Bs[0][0], 16);
    wmma::mma_sync(acc, a_frag, b_frag, acc);
    __syncwarp();
  }
  wmma::store_matrix_sync(c, acc, 16, wmma::mem_row_major);
}"""
    a, bt = integers(-8, 8, 16, 48, dtype=np.float16), integers(-8, 8, 16, 48, dtype=np.float16)
    return source, 1, 32, (a, bt, zeros(16, 16), 48), {2: a.astype(np.float64) @ bt.T}

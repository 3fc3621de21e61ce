"""half and bfloat16 are rounded once, as hardware does."""

import math
from fractions import Fraction

import numpy as np
import pytest

import gpunet.simulator as cp

ALL = np.arange(2**16, dtype=np.uint16)
PAIRS = 2**20

SOURCE = """
#include <cuda_fp16.h>
#include <cuda_bf16.h>
extern "C" __global__ void k(const TYPE* a, const TYPE* b, const TYPE* c, TYPE* y, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    y[i] = __hadd(a[i], b[i]);
    y[n + i] = a[i] - b[i];
    y[2 * n + i] = a[i] * b[i];
    y[3 * n + i] = a[i] / b[i];
    y[4 * n + i] = __hfma(a[i], b[i], c[i]);
    y[5 * n + i] = hsqrt(a[i]);
    y[6 * n + i] = hexp(a[i]);
    y[7 * n + i] = __hfma2({a[i], b[i]}, {b[i], a[i]}, {c[i], c[i]}).y;
  }
}"""


def widened(bits, kind):
    numbers = bits.view(np.float16) if kind == "half" else (bits.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(invalid="ignore"):  # signaling NaNs
        return numbers.astype(np.float64)


def rounded(x, kind):
    """Round float64 to nearest, ties to even, in multiples of the unit in the last place."""
    explicit, lowest = (10, -14) if kind == "half" else (7, -126)
    with np.errstate(all="ignore"):
        exponent = np.maximum(np.frexp(x)[1] - 1, lowest) - explicit
        y = np.ldexp(np.rint(np.ldexp(x, -exponent)), exponent)
    highest = 65504.0 if kind == "half" else 2.0**128 - 2.0**120
    return np.where(np.isfinite(x) & (abs(y) > highest), np.copysign(np.inf, x), y)


def run(a, b, c, kind):
    n = a.size
    dtype = np.float16 if kind == "half" else np.uint16
    y = cp.zeros((8, n), dtype)
    kernel = cp.RawKernel(SOURCE.replace("TYPE", "__half" if kind == "half" else "__nv_bfloat16"), "k")
    kernel((64,), (64,), (*(cp.asarray(v.view(dtype)) for v in (a, b, c)), y, np.int32(n)))
    return widened(y.get().view(np.uint16), kind)


@pytest.mark.parametrize("kind", ["half", "bfloat16"])
def test_arithmetic_of_a_million_pairs_is_correctly_rounded(kind):
    rng = np.random.default_rng(0)
    a, b, c = (rng.integers(0, 2**16, PAIRS).astype(np.uint16) for _ in range(3))
    got = run(a, b, c, kind)
    x, y = widened(a, kind), widened(b, kind)
    with np.errstate(all="ignore"):
        exact = [x + y, x - y, x * y, x / y]
    for result, value in zip(got, exact, strict=False):
        np.testing.assert_array_equal(result, rounded(value, kind))
    np.testing.assert_array_equal(got[7], got[4])


@pytest.mark.parametrize("kind", ["half", "bfloat16"])
def test_a_fused_multiply_add_is_rounded_once(kind):
    rng = np.random.default_rng(1)
    a, b, c = (rng.integers(0, 2**16, 4000).astype(np.uint16) for _ in range(3))
    c[:2000] = rng.integers(0, 2**8, 2000)  # tiny addends to products halfway between two numbers
    got = run(a, b, c, kind)[4]
    explicit, lowest = (10, -14) if kind == "half" else (7, -126)
    numbers = (v.tolist() for v in (*(widened(v, kind) for v in (a, b, c)), got))
    for x, y, z, result in zip(*numbers, strict=True):
        if not np.isfinite([x, y, z, result]).all():
            continue
        exact = Fraction(x) * Fraction(y) + Fraction(z)
        error = abs(Fraction(result) - exact)
        place = Fraction(2) ** (max(math.frexp(float(exact))[1] - 1, lowest) - explicit)
        assert error <= place / 2


@pytest.mark.parametrize("kind", ["half", "bfloat16"])
def test_functions_of_one_number_are_correctly_rounded_for_all_of_them(kind):
    got = run(ALL, ALL, ALL, kind)
    x = widened(ALL, kind)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(got[5], rounded(np.sqrt(x), kind))
        np.testing.assert_array_equal(got[6], rounded(np.exp(x), kind))


CONVERSIONS = {
    "__half2float(__float2half(2049.0f))": 2048,
    "__half2float(__float2half_ru(2049.0f))": 2050,
    "__half2float(__float2half_rz(-2049.0f))": -2048,
    "__half2float(__float2half_rd(-2049.0f))": -2050,
    "__half2float(__float2half_rz(1e9f))": 65504,
    "__half2float(__ushort_as_half(0x3c00))": 1,
    "__half_as_ushort(__half(-2))": 0xC000,
    "__half2int_rn(__half(2.5))": 2,
    "__low2float(__floats2half2_rn(3, 4)) + 10 * __high2float(make_half2(5, 6))": 63,
    "__hgt(__half(2), __half(1)) + 2 * __hbge2(make_half2(1, 2), make_half2(1, 3))": 1,
    "float(__hmax(__half(1), __ushort_as_half(0x7fff)))": 1,
    "float(half(1) + half(2) * half(3))": 7,
    "__bfloat162float(__float2bfloat16(257.0f))": 256,
    "__bfloat162float(__float2bfloat16_ru(257.0f))": 258,
    "float(__shfl_xor_sync(1u, __half(3), 0))": 3,
}


def test_conversions_and_comparisons_match_cuda():
    rows = "".join(f"y[{i}] = {expression};\n" for i, expression in enumerate(CONVERSIONS))
    source = f'#include <cuda_fp16.h>\n#include <cuda_bf16.h>\nextern "C" __global__ void k(float* y) {{ {rows} }}'
    y = cp.zeros(len(CONVERSIONS), np.float32)
    cp.RawKernel(source, "k")((1,), (1,), (y,))
    assert dict(zip(CONVERSIONS, y.get().tolist(), strict=True)) == CONVERSIONS


def test_halves_work_as_arguments_in_shared_memory_and_in_atomics():
    source = """
    #include <cuda_fp16.h>
    #define T float
    extern "C" __global__ void k(const half2* x, half factor, half* sum) {
      __shared__ half2 s[32];
      s[threadIdx.x] = __hmul2(x[threadIdx.x], __half2half2(factor));
      __syncthreads();
      const half2 v = s[31 - threadIdx.x];
      atomicAdd(sum, v.x + v.y);
    }"""
    x, total = cp.ones(64, np.float16), cp.zeros(1, np.float16)
    with cp.check_mode():
        cp.RawKernel(source, "k")((1,), (32,), (x, np.float16(0.5), total))
    assert total.get()[0] == 32

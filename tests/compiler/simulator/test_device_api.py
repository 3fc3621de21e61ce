"""Every function of the device API returns what CUDA documents."""

import re

import numpy as np
import pytest
from compiler.simulator.kernels import buffer

from gpunet.errors import CompileError, KernelError
from gpunet.simulator.engine import load

EXPRESSIONS = {  # expression: expected value
    # bits
    "__popc(0xF0F0u)": 8,
    "__popcll(0xF0F0F0F0F0ull)": 20,
    "__clz(1)": 31,
    "__clz(0)": 32,
    "__clzll(1)": 63,
    "__ffs(8)": 4,
    "__ffs(0)": 0,
    "__brev(1u)": 2**31,
    "__umulhi(0x80000000u, 6u)": 3,
    "__mulhi(-2147483647 - 1, 2)": -1,
    "__umul64hi(0x8000000000000000ull, 6ull)": 3,
    "__funnelshift_l(0x80000000u, 1u, 1)": 3,
    "__funnelshift_r(2u, 1u, 1)": 2**31 + 1,
    "__float_as_int(1.0f)": 0x3F800000,
    "__float_as_uint(-1.0f)": 0xBF800000,
    "__int_as_float(0x40000000)": 2,
    "__uint_as_float(0x40400000u)": 3,
    "__fadd_rz(1.0f, 1e-10f)": 1,
    "__fadd_ru(1.0f, 1e-10f)": 1 + 2.0**-23,
    "__fsub_rd(1.0f, 1e-10f)": 1 - 2.0**-24,
    "__fsub_rz(-1.0f, -1e-10f)": -1 + 2.0**-24,
    "__fmul_ru(3.4e38f, 2.0f) > 3.4028235e38f": 1,
    "__fmul_rz(3.4e38f, 2.0f)": np.finfo(np.float32).max,
    "__fdiv_rd(1.0f, 3.0f) < __fdiv_ru(1.0f, 3.0f)": 1,
    "__fmaf_rd(1.0f + 0x1p-23f, 1.0f + 0x1p-23f, -1.0f)": 2.0**-22,
    "__fmaf_ru(1.0f + 0x1p-23f, 1.0f + 0x1p-23f, 0.0f)": 1 + 3 * 2.0**-23,
    "__int2float_rz(16777217)": 16777216,
    "__int2float_ru(16777217)": 16777218,
    "__double2float_rd(0.1) < 0.1": 1,
    "__byte_perm(0x33221100u, 0x77665544u, 0x7250u)": 0x77225500,
    "__dp4a(0x01ff0203, 0x01010101, 10)": 15,
    "__dp4a(0x01ff0203u, 0x01010101u, 10u)": 271,
    "__dp2a_lo(0x0002ffff, 0x0304, 1)": 3,
    "__dp2a_hi(0x00020001u, 0x03040000u, 1u)": 11,
    "__umul24(0xff000003u, 5u)": 15,
    "__sad(-3, 4, 1u)": 8,
    "__usad(3u, 4u, 1u)": 2,
    "__hadd(-3, 4)": 0,
    "__rhadd(3, 4)": 4,
    "__uhadd(0xffffffffu, 0xffffffffu)": 2**32 - 1,
    "__urhadd(2u, 5u)": 4,
    "__brevll(1ull)": 2**63,
    "__vadd4(0x01ff7f80u, 0x01010101u)": 0x02008081,
    "__vaddss4(0x017f8000u, 0x01018100u)": 0x027F8000,
    "__vsubus2(0x00010005u, 0x00020003u)": 2,
    "__vmaxs4(0x01ff7f80u, 0u)": 0x01007F00,
    "__vmaxu2(0x0001ffffu, 0x00020003u)": 0x0002FFFF,
    "__vabsdiffs4(0x01ff0000u, 0x03010000u)": 0x02020000,
    "__vcmpeq4(0x01020304u, 0x01000300u)": 0xFF00FF00,
    "__vcmpgts2(0x0001ffffu, 0x00000000u)": 0xFFFF0000,
    "__vsetgtu2(0x0001ffffu, 0x00000000u)": 0x00010001,
    "__vsadu4(0x01020304u, 0x04030201u)": 8,
    "__longlong_as_double(0x4010000000000000ll)": 4,
    "__double_as_longlong(4.0)": 0x4010000000000000,
    # conversions: nearest even, towards zero, down, up; saturating
    "__float2int_rn(2.5f)": 2,
    "__float2int_rn(3.5f)": 4,
    "__float2int_rz(-2.7f)": -2,
    "__float2int_rd(-2.1f)": -3,
    "__float2int_ru(2.1f)": 3,
    "__float2int_rn(1e20f)": 2**31 - 1,
    "__float2int_rn(-1e20f)": -(2**31),
    "__float2int_rn(__int_as_float(0x7fc00000))": 0,
    "__float2uint_rn(-3.0f)": 0,
    "__double2int_rn(2.5)": 2,
    "__int2float_rn(7)": 7,
    # math
    "rsqrtf(4.0f)": 0.5,
    "rsqrt(4.0)": 0.5,
    "__expf(0.0f)": 1,
    "__logf(1.0f)": 0,
    "__powf(2.0f, 3.0f)": 8,
    "__fdividef(1.0f, 4.0f)": 0.25,
    "__saturatef(3.0f)": 1,
    "fmaf(2.0f, 3.0f, 4.0f)": 10,
    "fma(2.0, 3.0, 4.0)": 10,
    "__fmul_rn(3.0f, 2.0f)": 6,
    "exp10f(2.0f)": 100,
    "sqrt(9.0f) + sqrt(16.0)": 7,
    "fabsf(-1.0f) + abs(-2) + abs(-3.0f)": 6,
    "tanhf(0.0f) + tanh(0.0)": 0,
    "erff(0.0f) + erf(0.0)": 0,
    "fmaxf(1.0f, 2.0f) + fminf(1.0f, 2.0f)": 3,
    "max(1, 2u) + min(3.0f, 4) + min(5, 6ll)": 10,
    "copysignf(1.0f, -2.0f)": -1,
    "isnan(__int_as_float(0x7fc00000)) + isinf(__int_as_float(0x7f800000)) + isfinite(1.0f)": 3,
    # vectors
    "make_float4(1, 2, 3, 4).w + make_int2(5, 6).y": 10,
    "sizeof(float4) + alignof(float4) + alignof(float2) + sizeof(float3) + alignof(uchar4)": 56,
    "sizeof(double2) + alignof(double2) + sizeof(double4)": 64,
    "dim3(2).x + dim3(2).y": 3,
    "warpSize": 32,
    # loads and stores with cache hints
    "[] { float v; __stcs(&v, 2); __stwt(&v, __ldcs(&v) + 1); __stcg(&v, __ldcv(&v) + 1); return __ldca(&v); }()": 4,
}


def test_functions_of_one_thread():
    lines = "\n".join(f"  out[{i}] = {expression};" for i, expression in enumerate(EXPRESSIONS))
    source = f'#include <cuda_runtime.h>\nextern "C" __global__ void k(double* out) {{\n{lines}\n}}'
    for mode in ("fast", "check"):
        out = np.zeros(len(EXPRESSIONS))
        load(source, "functions.cu", mode=mode).kernels["k"].launch((1,), (1,), [buffer(out)])
        wrong = {e: (got, want) for (e, want), got in zip(EXPRESSIONS.items(), out, strict=True) if got != want}
        assert not wrong


LANES = np.arange(32)
WARP = {  # expression in lane i (v is 10 * i): expected value
    "__shfl_sync(~0u, v, 5)": np.full(32, 50),
    "__shfl_sync(~0u, v, 5, 8)": 10 * (LANES // 8 * 8 + 5),
    "__shfl_up_sync(~0u, v, 3)": 10 * np.where(LANES < 3, LANES, LANES - 3),
    "__shfl_up_sync(~0u, v, 3, 8)": 10 * np.where(LANES % 8 < 3, LANES, LANES - 3),
    "__shfl_down_sync(~0u, v, 3)": 10 * np.where(LANES > 28, LANES, LANES + 3),
    "__shfl_down_sync(~0u, v, 3, 16)": 10 * np.where(LANES % 16 > 12, LANES, LANES + 3),
    "__shfl_xor_sync(~0u, v, 7)": 10 * (LANES ^ 7),
    "__shfl_xor_sync(~0u, v, 4, 8)": 10 * (LANES ^ 4),
    "__shfl_sync(~0u, 1.5 * v, 31)": np.full(32, 465),
    "__shfl_sync(~0u, make_float4(v, v, v, v), 2).w": np.full(32, 20),
    "__ballot_sync(~0u, i % 2)": np.full(32, 0xAAAAAAAA),
    "__any_sync(~0u, i == 3)": np.ones(32),
    "__any_sync(~0u, 0)": np.zeros(32),
    "__all_sync(~0u, i < 32)": np.ones(32),
    "__all_sync(~0u, i < 31)": np.zeros(32),
    "__match_any_sync(~0u, i % 2)": np.where(LANES % 2, 0xAAAAAAAA, 0x55555555),
    "__match_all_sync(~0u, 1, &same) + same": np.full(32, 2**32),
    "__match_all_sync(~0u, i, &same) + same": np.zeros(32),
    "__reduce_add_sync(~0u, i)": np.full(32, 496),
    "__reduce_max_sync(~0u, i)": np.full(32, 31),
    "__reduce_min_sync(~0u, (unsigned)i + 1)": np.ones(32),
    "__reduce_or_sync(~0u, 1u << i)": np.full(32, 0xFFFFFFFF),
    "i < 8 ? __shfl_sync(0xffu, v, 3) : -1": np.where(LANES < 8, 30, -1),
    "i < 8 ? __popc(__ballot_sync(0xffu, 1)) : __popc(__ballot_sync(~0xffu, 1))": np.where(LANES < 8, 8, 24),
    "__popc(__activemask()) > 0": np.ones(32),
    "__syncthreads_count(i < 5)": np.full(32, 5),
    "__syncthreads_or(i == 5)": np.ones(32),
    "__syncthreads_or(0)": np.zeros(32),
    "__syncthreads_and(1)": np.ones(32),
    "__syncthreads_and(i)": np.zeros(32),
    "cg::tiled_partition<8>(cg::this_thread_block()).shfl(v, 1)": 10 * (LANES // 8 * 8 + 1),
    "cg::tiled_partition<8>(cg::this_thread_block()).ballot(i % 8 == 2)": np.full(32, 4),
    "cg::tiled_partition<16>(cg::this_thread_block()).thread_rank()": LANES % 16,
}


def test_functions_of_a_warp_and_a_block():
    lines = "\n".join(f"  out[32 * {i} + i] = {expression};" for i, expression in enumerate(WARP))
    source = f"""
    #include <cooperative_groups.h>
    namespace cg = cooperative_groups;
    extern "C" __global__ void k(double* out) {{
      const int i = threadIdx.x, v = 10 * i;
      int same = 0;
      {lines.replace("&same) + same", "&same) + (unsigned long long)same")}
    }}"""
    for mode in ("fast", "check"):
        out = np.zeros((len(WARP), 32))
        load(source, "warp.cu", mode=mode).kernels["k"].launch((1,), (32,), [buffer(out)])
        wrong = {e: got for (e, want), got in zip(WARP.items(), out, strict=True) if not np.array_equal(got, want)}
        assert not wrong


ATOMICS = {  # the variable is 10 before; each of 40 threads applies the operation
    ("int", "atomicAdd(x, 2)"): 90,
    ("int", "atomicSub(x, 1)"): -30,
    ("int", "atomicMax(x, (int)threadIdx.x)"): 39,
    ("int", "atomicMin(x, (int)threadIdx.x - 5)"): -5,
    ("int", "atomicExch(x, 7)"): 7,
    ("int", "atomicCAS(x, 10, 3)"): 3,
    ("int", "atomicAnd(x, 6)"): 2,
    ("int", "atomicOr(x, 1)"): 11,
    ("int", "atomicXor(x, 1)"): 10,
    ("unsigned", "atomicInc(x, 20)"): 50 % 21,
    ("unsigned", "atomicDec(x, 20)"): (10 - 40) % 21,
    ("unsigned long long", "atomicAdd(x, 1ull << 33)"): 10 + 40 * 2**33,
    ("float", "atomicAdd(x, 0.5f)"): 30,
    ("double", "atomicAdd(x, 0.25)"): 20,
    ("float", "atomicExch(x, 1.5f)"): 1.5,
}
DTYPES = {"int": "i4", "unsigned": "u4", "unsigned long long": "u8", "float": "f4", "double": "f8"}


@pytest.mark.parametrize("mode", ["fast", "check"])
def test_atomics(mode):
    source = "".join(f'extern "C" __global__ void k{i}({t}* x) {{ {call}; }}\n' for i, (t, call) in enumerate(ATOMICS))
    kernels = load(source, "atomics.cu", mode=mode).kernels
    for i, ((t, call), want) in enumerate(ATOMICS.items()):
        x = np.full(1, 10, DTYPES[t])
        kernels[f"k{i}"].launch((1,), (40,), [buffer(x)])
        assert x[0] == want, (t, call)


def test_the_headers_and_constants_of_c_are_there():
    source = """
#include <cmath>
#include <cstdio>
#include <math_constants.h>
#include <stdint.h>
extern "C" __global__ void k(double* x) {
  const double values[] = {INFINITY, FLT_MAX, M_PI, INT_MAX, CUDART_PI_F};
  if (threadIdx.x < 5) x[threadIdx.x] = values[threadIdx.x];
}"""
    x = np.zeros(5)
    load(source, "constants.cu").kernels["k"].launch((1,), (32,), [buffer(x)])
    assert x.tolist() == [np.inf, np.finfo(np.float32).max, np.pi, 2**31 - 1, np.float32(np.pi)]


@pytest.mark.parametrize("header", ["iostream", "vector", "cub/cub.cuh", "curand_kernel.h"])
def test_an_unsupported_header_is_refused_with_advice(header):
    with pytest.raises(CompileError, match=rf"host.cu:1:.*{header}: No such file") as refused:
        load(f'#include <{header}>\nextern "C" __global__ void k(float* x) {{ x[0] = 1; }}', "host.cu")
    message = str(refused.value)
    assert "Put host code behind #ifndef GPUNET_SIMULATOR" in message
    assert len(message.splitlines()) < 8


UNSUPPORTED = {
    "__global__ void k(cudaTextureObject_t t) {}": "cudaTextureObject_t: textures",
    "__device__ void f() { cooperative_groups::this_cluster(); }": "this_cluster: clusters",
    "__device__ void f() { float* p = new float[3]; }": "new: memory from the device's heap",
    "__global__ void k() {} __global__ void f() { k<<<1, 1>>>(); }": "<<<: a launch from code",
    "int main() { float* x; cudaMalloc(&x, 4); }": "cudaMalloc: CUDA's runtime API",
    '__device__ void f() { asm("vote.all.pred p, q;"); }': "PTX vote.all.pred",
    '__device__ void f(int* x) { asm("bar.sync 1, 64;"); }': "PTX bar.sync",
    '__device__ void f(long* x, int y) { asm("mov.b64 %0, {%1, %1};" : "=l"(*x) : "r"(y)); }': "PTX mov.b64",
    "texture<float> t;": "texture: textures",
    '__device__ void f(int* x) { asm("mov.u32 %0, %%nosuch;" : "=r"(*x)); }': "PTX register %nosuch",
}


@pytest.mark.parametrize("line", UNSUPPORTED)
def test_unsupported_constructs_are_refused_with_name_and_line(line):
    with pytest.raises(CompileError, match=f"^host.cu:4: {re.escape(UNSUPPORTED[line])}[^\n]*$"):
        load(f'#include <cooperative_groups.h>\n// new\nconst char* text = "<<<";\n{line}\n', "host.cu")


def test_a_kernel_prints_asserts_and_reads_the_clock(capfd):
    source = """
#include <cassert>
#include <cstdio>
extern "C" __global__ void k(int* x) {
  const long long begin = clock64();
  __nanosleep(20);
  if (threadIdx.x < 2) printf("thread %d of %s\\n", threadIdx.x, "two");
  assert(threadIdx.x < 4 && "few threads");
  x[threadIdx.x] = clock64() >= begin;
}"""
    x = np.zeros(4, np.int32)
    kernel = load(source, "prints.cu", mode="check").kernels["k"]
    kernel.launch((2,), (2,), [buffer(x)])
    assert x.tolist() == [1, 1, 0, 0]
    assert capfd.readouterr().out == "thread 0 of two\nthread 1 of two\n" * 2
    with pytest.raises(KernelError, match=r"assertion failed: threadIdx.x < 4.* at prints.cu:8 by thread \(4,0,0\)"):
        kernel.launch((1,), (5,), [buffer(np.zeros(5, np.int32))])

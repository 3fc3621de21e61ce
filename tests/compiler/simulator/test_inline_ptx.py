"""Each translated instruction of inline PTX, on the lanes of one warp."""

import numpy as np
import pytest
from compiler.simulator.kernels import buffer

from gpunet.simulator.engine import load

X = np.arange(32, dtype=np.uint32)

# asm with result %0, %1 = 4 * lane and %2 = 7, and the expected result of lane i
INSTRUCTIONS = {
    '"mov.u32 %0, %%laneid;"': X,
    '"mov.u32 %0, %%tid.x;"': X,
    '"mov.u32 %0, %%lanemask_lt;"': 2**X - 1,
    '"add.u32 %0, %1, %2;"': 4 * X + 7,
    '"mad.lo.u32 %0, %1, %2, 1;"': 28 * X + 1,
    '"xor.b32 %0, %1, %2;"': 4 * X ^ 7,
    '"shl.b32 %0, %1, 1;"': 8 * X,
    '"lop3.b32 %0, %1, %2, 255, 0x96;"': 4 * X ^ 7 ^ 255,
    '"bfe.u32 %0, %1, 2, 3;"': X % 8,
    '"popc.b32 %0, %1;"': [int(x).bit_count() for x in X],
    '"prmt.b32 %0, %1, %2, 0x0004;"': 4 * X * 0x01010100 + 7,
    '"{ .reg .pred p; .reg .b32 t; mov.b32 t, 5; setp.lt.u32 p, %1, 40;\\n\\t selp.b32 %0, t, %2, p; }"': [5] * 10
    + [7] * 22,
    '"{\\n" "mov.u32 %0, 1; // one\\n" "}\\n"': [1] * 32,
    '"{ .reg .f32 f; mov.f32 f, 0f3F800000; cvt.rn.f16x2.f32 %0, f, f; }"': [0x3C003C00] * 32,
    '"shr.u32 %0, %1, 1;"': 2 * X,
    '"{ .reg .s32 s; sub.s32 s, 0, %1; shr.s32 s, s, 1; max.s32 s, s, -9; neg.s32 %0, s; }"': np.minimum(2 * X, 9),
    '"{ .reg .f32 f; mov.f32 f, 1.0; mov.b32 %0, f; }"': [0x3F800000] * 32,
    '"{ .reg .pred p, q; setp.ge.s32 p, %1, 8; setp.eq.u32 q, %2, 7; and.pred p, p, q; mov.u32 %0, 0; '
    '@p mov.u32 %0, 1; @!p add.u32 %0, %0, 2; }"': 2 - (X >= 2),
    '"membar.gl; bar.sync 0; mov.u32 %0, 0;"': [0] * 32,
}


@pytest.mark.parametrize("mode", ["fast", "check"])
def test_instructions_of_one_thread(mode):
    lines = (
        f'  asm volatile({text} : "=r"(r) : "r"(4 * threadIdx.x), "r"(7)\n:);\n  x[{32 * i} + threadIdx.x] = r;\n'
        for i, text in enumerate(INSTRUCTIONS)
    )
    source = f'extern "C" __global__ void k(unsigned* x) {{\n  unsigned r;\n{"".join(lines)}}}'
    x = np.zeros((len(INSTRUCTIONS), 32), np.uint32)
    load(source, "ptx.cu", mode=mode).kernels["k"].launch((1,), (32,), [buffer(x)])
    for row, (text, expected) in zip(x, INSTRUCTIONS.items(), strict=True):
        assert row.tolist() == list(expected), text


def test_products_of_bytes_and_with_half_precision_accumulators():
    source = r"""
#include <cuda_fp16.h>
extern "C" __global__ void k(const unsigned* a, const unsigned* b, int* c, const unsigned* ha, const unsigned* hb,
                             unsigned* hc) {
  const int group = threadIdx.x / 4, member = threadIdx.x % 4;
  int d[4] = {1, 1, 1, 1};
  asm("mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+r"(d[0]), "+r"(d[1]), "+r"(d[2]), "+r"(d[3])
      : "r"(a[group * 8 + member]), "r"(a[group * 8 + 64 + member]), "r"(a[group * 8 + member + 4]),
        "r"(a[group * 8 + 64 + member + 4]), "r"(b[group * 8 + member]), "r"(b[group * 8 + member + 4]));
  for (int i = 0; i < 4; ++i) c[(group + i / 2 * 8) * 8 + member * 2 + i % 2] = d[i];
  unsigned h0 = 0, h1 = 0;
  asm("mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16 {%0, %1}, {%2, %3}, {%4}, {%0, %1};"
      : "+r"(h0), "+r"(h1)
      : "r"(ha[group * 4 + member]), "r"(ha[(group + 8) * 4 + member]), "r"(hb[group * 4 + member]));
  hc[group * 4 + member] = h0;
  hc[(group + 8) * 4 + member] = h1;
}"""
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-128, 128, (n, 32)).astype(np.int8) for n in (16, 8))
    ha, hb = (rng.integers(-9, 9, (n, 8)).astype(np.float16) for n in (16, 8))
    c, hc = np.zeros((16, 8), np.int32), np.zeros((16, 8), np.float16)
    arrays = (a, b, c, ha, hb, hc)
    load(source, "bytes.cu").kernels["k"].launch((1,), (32,), [buffer(x) for x in arrays])
    assert (c == a.astype(int) @ b.T.astype(int) + 1).all()
    assert (hc == ha @ hb.T).all()


TF32 = {  # float32 bits, rounded to TF32 with ties to even, and with ties away from zero
    0x3F800FFF: (0x3F800000, 0x3F800000),
    0x3F801000: (0x3F800000, 0x3F802000),
    0x3F803000: (0x3F804000, 0x3F804000),
    0xBF801001: (0xBF802000, 0xBF802000),
    0x00001000: (0x00000000, 0x00002000),
    0x7F7FFFFF: (0x7F800000, 0x7F800000),
    0x7F800000: (0x7F800000, 0x7F800000),
    0xFF800000: (0xFF800000, 0xFF800000),
}


def test_rounding_to_tf32_handles_ties_subnormals_and_infinities():
    source = r"""
extern "C" __global__ void k(const float* x, unsigned* even, unsigned* away) {
  asm("cvt.rn.tf32.f32 %0, %1;" : "=r"(even[threadIdx.x]) : "f"(x[threadIdx.x]));
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(away[threadIdx.x]) : "f"(x[threadIdx.x]));
}"""
    x = np.array(list(TF32), np.uint32).view(np.float32)
    even, away = np.zeros((2, len(x)), np.uint32)
    load(source, "tf32.cu").kernels["k"].launch((1,), (len(x),), [buffer(a) for a in (x, even, away)])
    assert list(zip(even.tolist(), away.tolist(), strict=True)) == list(TF32.values())


def test_sums_of_tensor_cores_are_truncated_and_keep_infinities_and_nan():
    source = r"""
extern "C" __global__ void k(const float* start, float* sums) {
  float d[4] = {start[threadIdx.x / 4]};
  const unsigned one = __float_as_uint(1.0f), tiny = __float_as_uint(0x1p-24f), none = 0;
  const unsigned a = threadIdx.x % 4 < 3 ? one : none, b = tiny;
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3]) : "r"(a), "r"(none), "r"(none), "r"(none), "r"(b), "r"(b));
  if (threadIdx.x % 4 == 0) sums[threadIdx.x / 4] = d[0];
}"""
    tiny = np.float32(2.0**-24)
    start = np.array([0, 1, -1, np.inf, -np.inf, np.nan, tiny, -4 * tiny], np.float32)
    sums = np.zeros_like(start)
    load(source, "sums.cu").kernels["k"].launch((1,), (32,), [buffer(start), buffer(sums)])
    # three products of 2^-24: each is truncated next to 1, and next to -1, where 2^-24 is half of the last bit
    expected = np.array([3 * tiny, 1, -1, np.inf, -np.inf, np.nan, 4 * tiny, -tiny], np.float32)
    np.testing.assert_array_equal(sums, expected)

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

"""Vectors and structs passed by value."""

import numpy as np
import pytest

import gpunet.simulator as cp
from gpunet.errors import DTypeError

SOURCE = """
struct Box { float low, high; long long count; char kind; };
extern "C" __global__ void k(int2 p, const float4 v, Box box, float2 z, double* y) {
  y[0] = p.x; y[1] = p.y;
  y[2] = v.x; y[3] = v.w;
  y[4] = box.low; y[5] = box.high; y[6] = box.count; y[7] = box.kind;
  y[8] = z.x; y[9] = z.y;
}"""
BOX = np.array(
    (0.5, 1.5, 2**40, 7), np.dtype([("low", "f4"), ("high", "f4"), ("count", "i8"), ("kind", "i1")], align=True)
)
RIGHT = [np.array([3, -4], np.int32), np.arange(4, dtype=np.float32), BOX[()], np.complex64(5 + 6j)]


@pytest.mark.parametrize("checked", [False, True])
def test_structs_and_vectors_are_passed_by_value(checked):
    y = cp.zeros(10)
    with cp.check_mode(checked):
        cp.RawKernel(SOURCE, "k")((1,), (1,), (*RIGHT, y))
        cp.RawKernel(SOURCE, "k")((1,), (1,), (RIGHT[0], RIGHT[1], BOX, np.array([5, 6], np.float32), y))
    assert y.get().tolist() == [3, -4, 0, 3, 0.5, 1.5, 2**40, 7, 5, 6]


@pytest.mark.parametrize("wrong", [3, np.int32(3), np.int64(3), np.float64(3), np.zeros(3, np.int32)])
def test_a_value_of_another_size_than_the_struct_is_refused(wrong):
    with pytest.raises(
        DTypeError, match=r"kernel k: argument 'p': expected a struct of 8 bytes: a NumPy record, or an ar"
    ):
        cp.RawKernel(SOURCE, "k")((1,), (1,), (wrong, *RIGHT[1:], cp.zeros(10)))

"""Initialized bytes are tracked across launches; arguments may overlap."""

import numpy as np
import pytest
from compiler.simulator.kernels import buffer

from gpunet.errors import KernelError
from gpunet.simulator.engine import load

COPY = """
extern "C" __global__ void copy(const float* x, float* y, int n) {
  if (threadIdx.x < n) y[threadIdx.x] = x[threadIdx.x];
}"""


@pytest.fixture
def copy():
    kernel = load(COPY, "copy.cu", mode="check").kernels["copy"]
    return lambda x, y, n: kernel.launch((1,), (32,), [x, y, np.int32(n)])


def test_reading_an_uninitialized_array_is_a_finding(copy):
    x, y = np.zeros(8, np.float32), np.zeros(8, np.float32)
    with pytest.raises(KernelError, match=r"uninitialized read: .*copy.cu:3 .* array x at byte 0 has not been written"):
        copy(buffer(x, np.zeros(x.nbytes, np.uint8)), buffer(y), 8)


@pytest.mark.parametrize("mode", ["fast", "check"])
def test_a_launch_may_read_what_the_previous_one_wrote(copy, mode):
    x, y, z = (np.full(8, i, np.float32) for i in range(3))
    flags = np.zeros(y.nbytes, np.uint8)
    load(COPY, "copy.cu", mode=mode).kernels["copy"].launch((1,), (32,), [buffer(x), buffer(y, flags), np.int32(8)])
    copy(buffer(y, flags), buffer(z), 8)
    assert (z == 0).all()


def test_only_written_bytes_are_initialized(copy):
    x, y, z = (np.full(8, i, np.float32) for i in range(3))
    flags = np.zeros(y.nbytes, np.uint8)
    copy(buffer(x), buffer(y, flags), 5)
    assert flags.sum() == 5 * 4
    with pytest.raises(KernelError, match="array x at byte 20 has not been written"):
        copy(buffer(y, flags), buffer(z), 8)


def test_an_access_past_a_view_is_out_of_bounds(copy):
    x, y = np.ones(16, np.float32), np.zeros(16, np.float32)
    with pytest.raises(KernelError, match="byte 20 of array x, which has 20 bytes"):
        copy(buffer(x[:5]), buffer(y), 6)


def test_overlapping_views_share_their_history():
    source = """
    extern "C" __global__ void shift(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }"""
    memory = np.zeros(65, np.float32)
    kernel = load(source, "shift.cu", mode="check").kernels["shift"]
    with pytest.raises(KernelError, match="race"):
        kernel.launch((1,), (64,), [buffer(memory[:-1]), buffer(memory[1:])])
    kernel.launch((1,), (64,), [buffer(memory[:-1]), buffer(memory[:-1])])


def test_an_empty_array_and_a_null_pointer_may_be_passed_but_not_accessed(copy):
    x, empty = np.ones(8, np.float32), np.zeros(0, np.float32)
    copy(buffer(empty), None, 0)
    with pytest.raises(KernelError, match="out of bounds"):
        copy(buffer(x), None, 1)

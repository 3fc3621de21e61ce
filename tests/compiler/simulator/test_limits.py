"""Launches beyond CUDA's limits and mismatched arguments are errors before the launch."""

import numpy as np
import pytest
from compiler.simulator.kernels import buffer

from gpunet.errors import ArgumentError, DTypeError
from gpunet.simulator.engine import load

SOURCE = """
extern "C" __global__ void plain(float* x) {}
extern "C" __global__ void __launch_bounds__(16 * 4, 2) bounded(float* x, int n) {
  __shared__ float s[64];
  s[threadIdx.x] = x[n];
  __syncthreads();
  x[n] = s[n];
}
template <class T> __device__ T twice(T v) { __shared__ T s[8]; s[0] = v; __syncthreads(); return s[1] * 2; }
__global__ void declared_only(float* x);
extern "C" {
__global__ void big(const double* const __restrict__ x, long long n, float4* v, unsigned char flags) {
  __shared__ double s[1024];
  s[n] = x[n];
  __syncthreads();
  v->x = twice(s[flags]);
}
}
"""


@pytest.fixture(scope="module")
def kernels():
    return load(SOURCE, "limits.cu").kernels


@pytest.mark.parametrize(
    ("grid", "block", "message"),
    [
        ((1,), (1025,), r"block.x is 1,025, and CUDA's limit is 1,024"),
        ((1,), (64, 32), "a block of 2,048 threads; CUDA allows 1,024"),
        ((1,), (1, 1, 65), r"block.z is 65, and CUDA's limit is 64"),
        ((1, 65_536), (1,), r"grid.y is 65,536, and CUDA's limit is 65,535"),
        ((1, 1, 65_536), (1,), r"grid.z is 65,536"),
        ((2**31,), (1,), r"grid.x is 2,147,483,648"),
        ((0,), (1,), "grid: expected one to three positive numbers"),
        ((1,), (1, 1, 1, 1), "block: expected one to three positive numbers"),
    ],
)
def test_a_grid_or_block_past_cudas_limits_is_refused(kernels, grid, block, message):
    with pytest.raises(ArgumentError, match=f"kernel plain: .*{message}"):
        kernels["plain"].launch(grid, block, [None])


def test_a_block_past_its_launch_bounds_is_refused(kernels):
    with pytest.raises(ArgumentError, match="kernel bounded: a block of 65 threads; its __launch_bounds__ allows 64"):
        kernels["bounded"].launch((1,), (65,), [None, np.int32(0)])


def test_shared_memory_above_48_kib_needs_an_opt_in(kernels):
    kernel = kernels["bounded"]
    with pytest.raises(ArgumentError, match=r"48,833 bytes of dynamic .*; the limit is 48,832 \(static .*: 320 byte"):
        kernel.launch((1,), (1,), [None, np.int32(0)], shared_bytes=48 * 1024 - 320 + 1)
    kernel.max_dynamic_shared_size_bytes = 100 * 1024
    x = np.zeros(1, np.float32)
    kernel.launch((1,), (1,), [buffer(x), np.int32(0)], shared_bytes=100 * 1024)
    kernel.max_dynamic_shared_size_bytes = 300 * 1024
    with pytest.raises(ArgumentError, match="bytes of dynamic shared memory; the limit is"):
        kernel.launch((1,), (1,), [buffer(x), np.int32(0)], shared_bytes=227 * 1024)


def test_a_cooperative_launch_must_fit_on_the_device(kernels):
    with pytest.raises(ArgumentError, match="9 blocks of 1024 threads exceeds the 8,192 threads that can be"):
        kernels["plain"].launch((9,), (1024,), [None], cooperative=True)
    kernels["plain"].launch((8,), (1024,), [None], cooperative=True)


def test_arguments_are_checked_against_the_parameters(kernels):
    x = np.zeros(64, np.float32)
    with pytest.raises(ArgumentError, match="kernel bounded: takes 2 arguments, got 1"):
        kernels["bounded"].launch((1,), (1,), [buffer(x)])
    for bad in (1, 1.0, np.int64(1), np.float32(1), buffer(x)):
        with pytest.raises(DTypeError, match="kernel bounded: argument 'n': expected a NumPy scalar of type int32"):
            kernels["bounded"].launch((1,), (1,), [buffer(x), bad])
    with pytest.raises(DTypeError, match="argument 'x': expected a Buffer"):
        kernels["bounded"].launch((1,), (1,), [x, np.int32(1)])


def test_kernels_are_listed_with_their_parameters(kernels):
    assert set(kernels) == {"plain", "bounded", "big"}
    assert [(p.name, p.dtype, p.pointer, p.const) for p in kernels["big"].parameters] == [
        ("x", np.float64, True, True),
        ("n", np.int64, False, False),
        ("v", np.float32, True, False),
        ("flags", np.uint8, False, False),
    ]
    assert kernels["bounded"].max_threads == 64
    assert kernels["plain"].max_threads == 1024


def test_static_shared_memory_is_counted_per_kernel(kernels):
    assert kernels["bounded"].static_shared_bytes == 256 + 64  # the kernel's variable and that of the device function
    assert kernels["big"].static_shared_bytes == 8192 + 64

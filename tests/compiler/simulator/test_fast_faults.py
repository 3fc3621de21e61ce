"""In fast mode an invalid access raises an exception, and the process and the arrays remain usable."""

import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import gpunet.simulator as cp
from gpunet.errors import KernelError
from gpunet.simulator.engine import Buffer

SOURCE = r"""
extern "C" __global__ void write(float* x, long long i) {
  if (threadIdx.x == 3) x[i] = 1;
}
extern "C" __global__ void copy(const float* x, float* y, long long from, long long to) {
  y[to + (int)threadIdx.x] = x[from + (int)threadIdx.x];
}
extern "C" __global__ void divide(int* x) {
  x[0] = 7 / x[1];
}
__device__ __noinline__ int deep(int n) {
  volatile int a[1000];
  a[n % 1000] = n;
  return n < 0 ? 0 : deep(n + 1) + a[n % 999];  // the overflow
}
extern "C" __global__ void recurse(int* x) { x[0] = deep(x[1]); }
extern "C" __global__ void misaligned(float* x) {
  __syncthreads();
  *reinterpret_cast<float4*>(x + 1) = *reinterpret_cast<float4*>(x + 4);
}
extern "C" __global__ void copy_async(float* x, long long from, int to) {
  __shared__ __align__(16) float s[64];
  __syncthreads();
  simulator::copy_async<16>(s + to, x + from, true);
}
extern "C" __global__ void twice(float* x) {
  __shared__ float s[64];
  s[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  x[threadIdx.x] = 2 * s[threadIdx.x ^ 1];
}
extern "C" __global__ void divide_by_nothing(int* x) {
  const int zero = x[1] - x[1];
  x[0] = 7 / zero;
}
"""
MODULE = cp.RawModule(code='#line 1 "stray.cu"' + SOURCE)
N = 128
WILD = 0x1000_0000_0000  # an address that is never mapped


def wild_index(x):
    """Return the index from a float array to the unmapped address."""
    return np.int64((WILD - x.data.ptr) // 4)


def launch(name, *arguments):
    MODULE.get_function(name)((1,), (64,), arguments)


def still_works(x):
    """Check that a kernel with barriers runs on the array of the fault."""
    x.fill(3)
    launch("twice", x)
    assert x.get().tolist() == [6.0] * 64 + [3.0] * (N - 64)


STRAYS = {
    "one past the end": (N, "past"),
    "past the end": (N + 255, "past"),
    "one before": (-1, "before"),
    "before": (-256, "before"),
}


@pytest.mark.parametrize("name", STRAYS)
def test_an_out_of_bounds_write_names_kernel_and_array_and_leaves_the_array_usable(name):
    index, where = STRAYS[name]
    x = cp.full(N, 5, np.float32)
    with pytest.raises(KernelError, match=f"^kernel write: out of bounds: .*wrote just {where} the memory of array x"):
        launch("write", x, np.int64(index))
    assert (x.get() == 5).all()
    still_works(x)  # the guard is restored: the next launch has no finding


def test_the_argument_at_fault_is_named_among_several():
    x, y = cp.zeros(N, np.float32), cp.zeros(N, np.float32)
    with pytest.raises(KernelError, match=r"kernel copy: .*past the memory of array y"):
        launch("copy", x, y, np.int64(0), np.int64(N - 63))


def test_reads_past_the_end_return_nan_not_another_array():
    x, y = cp.zeros(N, np.float32), cp.zeros(N, np.float32)
    launch("copy", x, y, np.int64(N - 60), np.int64(0))
    assert np.isnan(y.get()[60:64]).all()
    assert not np.isnan(y.get()[:60]).any()


X, WHOLE = cp.zeros(N, np.float32), cp.zeros(2, np.int32)
REFUSED = {
    "a write": ("write", (X, wild_index(X)), r"write to unmapped address 0x1\w+ at stray.cu:2"),
    "a read": ("copy", (X, X, wild_index(X), np.int64(0)), r"read from unmapped address 0x1\w+ at stray.cu:5"),
    "null": ("write", (np.uint64(0), np.int64(0)), r"write to unmapped address 0x\w \(a null pointer\) at stray.cu:2"),
    "division": ("divide", (WHOLE,), "integer division by zero or overflow at stray.cu:8"),
    "division by a constant zero": (
        "divide_by_nothing",
        (WHOLE,),
        r"undefined behaviour, such as a division by zero at stray.cu:3\d",
    ),
    "stack": ("recurse", (WHOLE,), "stack overflow at stray.cu:1[0-4]"),
    "misaligned": ("misaligned", (X,), "access to a misaligned or invalid address at stray.cu:18"),
    "a copy's source": (
        "copy_async",
        (X, wild_index(X), np.int32(0)),
        r"read from unmapped address 0x1\w+ at stray.cu:23",
    ),
    "a copy's destination": (
        "copy_async",
        (X, np.int64(0), np.int32(1 << 30)),
        r"write to unmapped address 0x\w+.* at stray.cu:23",
    ),
    "a misaligned copy source": (
        "copy_async",
        (X, np.int64(1), np.int32(0)),
        "access to a misaligned or invalid address at stray.cu:23",
    ),
    "a misaligned copy destination": (
        "copy_async",
        (X, np.int64(0), np.int32(1)),
        "access to a misaligned or invalid address at stray.cu:23",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_cpu_exception_is_reported_with_line_and_thread(name):
    kernel, arguments, said = REFUSED[name]
    for _ in range(3):
        with pytest.raises(KernelError, match=rf"^kernel {kernel}: {said} by thread \(\d,0,0\) of block \(0,0,0\)\.$"):
            launch(kernel, *arguments)
        still_works(cp.zeros(N, np.float32))


def test_an_unmapped_address_is_reported_with_the_nearest_array():
    x = Buffer(WILD, 512)  # an array at an unmapped address
    with pytest.raises(KernelError, match=r"write to unmapped address 0x1\w+, 88 bytes past the end of arr"):
        MODULE.get_function("write").kernel.launch((1,), (64,), [x, np.int64(150)])


def test_a_fault_in_any_thread_of_the_process_is_an_exception_there():
    errors = []

    def stray():
        try:
            launch("write", np.uint64(0), np.int64(0))
        except KernelError as error:
            errors.append(str(error))

    thread = threading.Thread(target=stray)
    thread.start()
    thread.join()
    assert "null pointer" in errors[0]


def test_an_out_of_bounds_write_of_a_replayed_graph_is_found():
    x, stream = cp.zeros(N, np.float32), cp.cuda.Stream(non_blocking=True)
    launch("write", x, np.int64(0))
    with stream:
        stream.begin_capture()
        launch("write", x, np.int64(N))
        graph = stream.end_capture()
        for _ in range(2):
            with pytest.raises(KernelError, match="past the memory of array x"):
                graph.launch()


def test_a_fault_outside_of_kernels_reaches_the_previous_handlers():
    code = """
import ctypes, numpy, gpunet.simulator as cp
kernel = cp.RawKernel('extern "C" __global__ void one(float* x) { x[0] = 1; }', "one")
kernel((1,), (1,), (cp.zeros(1, numpy.float32),))
print("here", flush=True)
ctypes.string_at(0)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (run.stdout.strip(), run.returncode) == ("here", -signal.SIGSEGV), run.stderr

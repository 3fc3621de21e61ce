"""RawModule and RawKernel, called as in CuPy on arrays of the simulated GPU."""

import numpy as np
import pytest

import gpunet.simulator as cp
from gpunet.errors import ArgumentError, CompileError, DTypeError, KernelError

SOURCE = r"""
extern "C" __global__ void add(const T* x, T* y, T factor, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) y[i] = factor * x[i] + y[i];
}
extern "C" __global__ void fill(long long* out, long long whole, double real, bool yes) {
    out[0] = whole; out[1] = (long long)(2 * real); out[2] = yes; out[3] = gridDim.x;
}
extern "C" __global__ void reverse(int* out) {
    extern __shared__ int tile[];
    tile[threadIdx.x] = out[threadIdx.x];
    __syncthreads();
    out[threadIdx.x] = tile[blockDim.x - 1 - threadIdx.x];
}
"""
MODULE = cp.RawModule(code=SOURCE, options=("-DT=float",))
ADD = MODULE.get_function("add")


def arrays(n=100):
    return cp.arange(n, dtype=np.float32), cp.ones(n, np.float32)


def launch(x, y, n=None, factor=np.float32(2)):  # noqa: B008
    ADD((1,), (128,), (x, y, factor, np.int32(y.size if n is None else n)))


def test_a_kernel_computes_on_device_arrays():
    x, y = arrays()
    cp.counters.reset()
    launch(x, y)
    assert (cp.counters.launches, cp.counters.synchronizations) == (1, 0)
    np.testing.assert_array_equal(y.get(), 2 * np.arange(100) + 1)


def test_options_reach_the_compiler():
    x, y = cp.arange(5.0), cp.zeros(5)
    cp.RawKernel(SOURCE, "add", ("-DT=double",))((1,), (5,), (x, y, np.float64(0.1), np.int32(5)))
    np.testing.assert_array_equal(y.get(), 0.1 * np.arange(5))


def test_a_view_is_passed_as_its_address():
    matrix = cp.asarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    y = cp.zeros(6, np.float32)
    launch(matrix.T, y)
    assert y.tolist() == [0, 2, 4, 6, 8, 10]
    launch(matrix[1], y[3:], n=3)
    assert y.tolist() == [0, 2, 4, 12, 16, 20]


def test_python_numbers_are_int64_and_double_and_an_empty_grid_is_one_block():
    out = cp.zeros(4, np.int64)
    MODULE.get_function("fill")((0,), (1,), (out, 2**40, 1.5, True))
    assert out.tolist() == [2**40, 3, 1, 1]


def test_a_launch_sets_dynamic_shared_memory():
    out = cp.arange(8, dtype=np.int32)
    MODULE.get_function("reverse")((1,), (8,), (out,), shared_mem=32)
    assert out.tolist() == [7, 6, 5, 4, 3, 2, 1, 0]


def test_more_than_48_kib_of_shared_memory_needs_an_opt_in():
    kernel, out = MODULE.get_function("reverse"), cp.arange(2, dtype=np.int32)
    with pytest.raises(ArgumentError, match="max_dynamic_shared_size_bytes"):
        kernel((1,), (2,), (out,), shared_mem=64 * 1024)
    kernel.max_dynamic_shared_size_bytes = 64 * 1024
    kernel((1,), (2,), (out,), shared_mem=64 * 1024)
    assert out.tolist() == [1, 0]


def test_a_captured_launch_is_replayed_over_the_same_memory():
    x, y = arrays()
    launch(x, y)
    with cp.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        launch(x, y)
        cp.multiply(y, 0, out=y)
        launch(x, y)
        graph = stream.end_capture()
    np.testing.assert_array_equal(y.get(), 2 * np.arange(100) + 1)
    x.fill(3)
    graph.launch()
    np.testing.assert_array_equal(y.get(), 6)


def test_a_replay_over_freed_memory_is_an_error():
    x, y = arrays()
    launch(x, y)
    with cp.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        launch(x, y)
        graph = stream.end_capture()
    del x
    with pytest.raises(KernelError, match="freed"):
        graph.launch()


def test_a_module_cannot_be_loaded_in_a_capture():
    x, y = arrays()
    with cp.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        with pytest.raises(cp.cuda.runtime.CUDARuntimeError):
            cp.RawKernel(SOURCE, "add", ("-DT=float", "-DCOLD"))((1,), (1,), (x, y, np.float32(1), np.int32(1)))


@pytest.mark.parametrize(
    ("args", "error"),
    [
        (lambda x, y: (x, y, np.float32(2), 100), DTypeError),  # CuPy would pass eight bytes
        (lambda x, y: (x, y, np.float32(2)), ArgumentError),
        (lambda x, y: (x, y.get(), np.float32(2), np.int32(1)), TypeError),
        (lambda x, y: (x, None, np.float32(2), np.int32(1)), TypeError),
    ],
)
def test_arguments_of_wrong_type_or_number_are_refused(args, error):
    with pytest.raises(error):
        ADD((1,), (128,), args(*arrays()))


def test_an_unknown_kernel_is_named_with_the_known_kernels():
    with pytest.raises(ArgumentError, match=r"'sub'.*add, fill, reverse"):
        MODULE.get_function("sub")((1,), (1,), ())


def test_a_source_that_does_not_compile_shows_its_line():
    code = '#line 1 "mine.cu"\nextern "C" __global__ void f(int* a) {\n    a[0] = nonsense;\n}\n'
    with pytest.raises(CompileError, match=r"mine\.cu:2"):
        cp.RawModule(code).compile()


# check mode


def test_check_mode_finds_reads_of_memory_never_written():
    with cp.check_mode():
        x, y = arrays()
        y = cp.empty(100, np.float32)
        with pytest.raises(KernelError, match=r"kernel\.cu:4.*array y"):
            launch(x, y)
        y = cp.empty(100, np.float32)
        y[:50] = 1
        launch(x, y, n=50)
        with pytest.raises(KernelError, match=r"thread \(50,0,0\)"):
            launch(x, y)
        y = cp.zeros(100, np.float32)
        y[cp.arange(50, 100)] = x[:50]
        launch(x, y)


@pytest.mark.parametrize("write", ["fill", "copyto", "out", "set", "kernel"])
def test_every_kind_of_write_initializes_memory(write):
    with cp.check_mode():
        x, y = arrays()
        z = cp.empty(100, np.float32)
        {
            "fill": lambda: z.fill(1),
            "copyto": lambda: cp.copyto(z, y),
            "out": lambda: cp.add(x, 1, out=z),
            "set": lambda: z.set(y.get()),
            "kernel": lambda: cp.RawKernel(COPY, "copy")((1,), (128,), (x, z, np.int32(100))),
        }[write]()
        launch(z, y)


COPY = r"""
extern "C" __global__ void copy(const float* x, float* y, int n) {
    if (threadIdx.x < n) y[threadIdx.x] = x[threadIdx.x];
}
"""


def test_the_bounds_of_a_view_are_its_elements():
    x, y = arrays()
    with cp.check_mode():
        launch(x, y)
        with pytest.raises(KernelError, match="out of bounds"):
            launch(x, y[:50], n=51)
        with pytest.raises(KernelError, match="out of bounds"):
            launch(x[::-1], y)
    launch(x, y)  # the arrays stay usable


@pytest.mark.parametrize(
    ("grid", "block"), [((1.5,), (1,)), ((1,), (32.0,)), ([1], (1,)), ((1,), 32), ("1", (1,)), ((1,), None)]
)
def test_dimensions_that_cupy_does_not_take_are_type_errors(grid, block):
    kernel = cp.RawKernel('extern "C" __global__ void nothing() {}', "nothing")
    with pytest.raises(TypeError):
        kernel(grid, block, ())


def test_an_array_of_addresses_is_passed_for_pointers_to_pointers():
    source = """
    extern "C" __global__ void add(float** out, const float* const* in, int n) {
      if (threadIdx.x < n) out[blockIdx.x][threadIdx.x] = in[blockIdx.x][threadIdx.x] + 1;
    }"""
    rows, sums = ([cp.full(8, i, cp.float32) for i in (1, 2)] for _ in range(2))
    tables = [cp.array([a.data.ptr for a in arrays], cp.uint64) for arrays in (sums, rows)]
    kernel = cp.RawKernel(source, "add")
    with cp.check_mode() as findings:
        kernel((2,), (8,), (*tables, np.int32(8)))
        assert [a.get().tolist() for a in sums] == [[2] * 8, [3] * 8]
        assert findings == []
        with pytest.raises(KernelError, match=r"out of bounds: read .* byte 32 of array in\[0\], which has 32 bytes"):
            kernel((2,), (9,), (*tables, np.int32(9)))

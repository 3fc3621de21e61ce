"""The checks of a launch, and how a source is read."""

from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
from compiler.kernels.checked import run

from gpunet.cuda import Kernel, kernel, parse_parameters, read_source
from gpunet.cuda.source import Declaration, parse_flops
from gpunet.device import Device
from gpunet.errors import ArgumentError, CompileError, DeviceError, DTypeError, ShapeError

SCALE = """
#include "half.cuh"

extern "C" __global__ void other(float* y) {}

extern "C" __global__ void __launch_bounds__(64) scale(
    const T* __restrict__ x,  // [rows * n]
    const T* factors,         // [n] or null, one per column (of all rows)
    T* y,                     // [(grid_x - 1) * 0 + rows * n]
    int rows, int n, T offset, bool twice) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < rows * n) y[i] = (factors ? x[i] * factors[i % n] : x[i]) * (twice ? 2 : 1) + half(offset);
}
"""
HALF = """
#pragma once
using T = REAL;
__device__ T half(T x) { return x / 2; }
"""


@pytest.fixture
def scale(tmp_path):
    (tmp_path / "scale.cu").write_text(SCALE, encoding="utf-8")
    (tmp_path / "half.cuh").write_text(HALF, encoding="utf-8")
    return Kernel(tmp_path / "scale.cu", "scale")


X = np.arange(6, dtype=np.float32)
GRID, BLOCK = (1,), (64,)


def arguments(**changed):
    given = {"x": X, "factors": None, "y": np.empty_like(X), "rows": 2, "n": 3, "offset": 0.5, "twice": False}
    return [*{**given, **changed}.values()]


def test_the_signature_in_the_source_is_the_declaration(scale):
    names = [(p.name, p.ctype, p.pointer, p.optional, p.size is not None) for p in scale.signature.parameters]
    assert names == [
        ("x", "T", True, False, True),
        ("factors", "T", True, True, True),
        ("y", "T", True, False, True),
        ("rows", "int", False, False, False),
        ("n", "int", False, False, False),
        ("offset", "T", False, False, False),
        ("twice", "bool", False, False, False),
    ]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_t_is_the_dtype_of_the_arrays_and_numbers_are_converted(scale, dtype):
    x, y = X.astype(dtype), np.empty(6, dtype)
    run(scale, GRID, BLOCK, *arguments(x=x, y=y, factors=np.array([1, 2, 3], dtype), twice=True))
    np.testing.assert_array_equal(y, x * np.array([1, 2, 3] * 2) * 2 + 0.25)


@pytest.mark.parametrize(
    ("changed", "error", "words"),
    [
        ({"x": X.astype(np.float64)}, DTypeError, "y must be an array of float64, got float32"),
        ({"x": X.astype(np.float16)}, DTypeError, "arrays of float16 are not supported"),
        ({"y": 3.0}, DTypeError, "y must be an array"),
        ({"x": np.arange(12, dtype=np.float32)[::2]}, ShapeError, "x is not C-contiguous"),
        ({"y": np.empty(5, np.float32)}, ShapeError, "y has 5 elements, the launch needs 6"),
        ({"factors": np.empty(2, np.float32)}, ShapeError, "factors has 2 elements, the launch needs 3"),
        ({"x": None}, ArgumentError, "x is None"),
        ({"rows": 2.5}, ArgumentError, "rows=2.5 does not fit int32"),
        ({"rows": 2**31}, ArgumentError, "rows=2147483648 does not fit int32"),
        ({"offset": X}, DTypeError, "offset must be a number"),
    ],
)
def test_a_wrong_argument_raises_with_its_name(scale, changed, error, words):
    with pytest.raises(error, match=f"scale: .*{words}"):
        scale.check(GRID, BLOCK, *arguments(**changed))


def test_an_array_beyond_32_bit_indices_raises(scale, monkeypatch):
    monkeypatch.setattr(kernel, "MAX_ELEMENTS", 5)
    with pytest.raises(ShapeError, match="x has 6 elements, the maximum is 5"):
        scale.check(GRID, BLOCK, *arguments())


@pytest.mark.parametrize(
    ("grid", "block", "words"),
    [
        ((1, 65_536), BLOCK, "grid"),
        ((-1,), BLOCK, "grid"),
        ((1, 1, 1, 1), BLOCK, "grid"),
        (GRID, (1025,), "block"),
        (GRID, (32, 33), "block"),
        (GRID, (0,), "block"),
    ],
)
def test_a_launch_beyond_the_limits_of_a_gpu_raises(scale, grid, block, words):
    with pytest.raises(ArgumentError, match=f"scale: {words}"):
        scale.check(grid, block, *arguments())


def test_too_much_shared_memory_and_too_few_arguments_raise(scale):
    with pytest.raises(ArgumentError, match="shared memory"):
        scale.check(GRID, BLOCK, *arguments(), shared=48 * 1024 + 1)
    with pytest.raises(ArgumentError, match="6 arguments given, 7 expected: x, factors"):
        scale.check(GRID, BLOCK, *arguments()[:-1])


def test_arrays_in_host_memory_raise(scale):
    with pytest.raises(DeviceError, match="scale: the arrays are in host memory"):
        scale(GRID, BLOCK, *arguments())


class RecordingModule:
    """A stand-in for CuPy's RawModule that only lists its compilations and launches."""

    compiled: ClassVar[list[tuple[str, ...]]] = []
    launched: ClassVar[list[tuple]] = []

    def __init__(self, *, code, options, enable_cooperative_groups):
        self.options = options

    def compile(self):
        self.compiled.append(self.options)

    def get_function(self, name):
        return lambda grid, block, values, shared_mem: self.launched.append((name, grid, block, values, shared_mem))


@pytest.fixture
def device(monkeypatch):
    """A device with NumPy arrays; yields the class that lists its compilations and launches."""
    xp = ModuleType("recording")
    xp.RawModule, xp.cuda = RecordingModule, SimpleNamespace(Device=lambda index: nullcontext())
    monkeypatch.setattr(kernel, "array_module", lambda **arrays: xp)
    recording = Device("recording:0", xp)
    monkeypatch.setattr(kernel, "device_of", lambda a: recording)
    monkeypatch.setattr(RecordingModule, "compiled", [])
    monkeypatch.setattr(RecordingModule, "launched", [])
    kernel._module.cache_clear()
    yield RecordingModule
    kernel._module.cache_clear()


def test_a_kernel_is_compiled_once_for_each_t_and_set_of_options(scale, device):
    for _ in range(2):
        scale(GRID, BLOCK, *arguments())
        scale(GRID, BLOCK, *arguments(), options={"TILE": 4})
        scale(GRID, BLOCK, *arguments(x=X.astype(np.float64), y=np.empty(6)))
    assert device.compiled == [
        ("-std=c++17", "-DREAL=float"),
        ("-std=c++17", "-DREAL=float", "-DTILE=4"),
        ("-std=c++17", "-DREAL=double"),
    ]
    assert len(device.launched) == 6


def test_numbers_are_passed_in_the_types_of_the_signature(scale, device):
    scale(GRID, BLOCK, *arguments(), shared=128)
    ((name, grid, block, values, shared),) = device.launched
    assert (name, grid, block, shared) == ("scale", GRID, BLOCK, 128)
    assert [type(v) for v in values[1:2] + values[3:]] == [np.uint64, np.int32, np.int32, np.float32, np.bool_]
    assert values[1] == 0, "a null pointer"


def test_an_empty_grid_is_not_launched(scale, device):
    scale((0,), BLOCK, *arguments(rows=0))
    assert not device.launched


def test_a_prepared_launch_may_be_repeated(scale, device):
    launch = scale.prepare(GRID, BLOCK, *arguments())
    launch()
    launch()
    assert len(device.launched) == 2


def test_headers_are_inlined_once_and_lines_keep_their_numbers(scale):
    source = read_source(scale.path)
    assert source.count("T half(T x)") == 1
    lines = source.splitlines()
    assert lines[lines.index('#line 3 "scale.cu"') + 1 :][0] == ""
    assert '#line 1 "half.cuh"' in lines


def test_a_missing_kernel_or_file_raises_with_its_name(tmp_path, scale):
    with pytest.raises(CompileError, match=r"no kernel .*missing"):
        parse_parameters(read_source(scale.path), "missing")
    with pytest.raises(CompileError, match=r"none\.cu cannot be read"):
        Kernel(tmp_path / "none.cu", "x").signature.parameters  # noqa: B018
    with pytest.raises(CompileError, match="the type of 'char x' is not one of"):
        parse_parameters('extern "C" __global__ void f(char x) {}', "f")


def test_a_function_with_another_declaration_is_read_the_same_way():
    source = "// FLOPs: 2 * n\nCPU_KERNEL(f)(\n    const float* x,  // [n] or null\n    int n) {}\n"
    declaration = Declaration(r"CPU_KERNEL\(%s\)", "CPU_KERNEL(%s)(...)")
    x, n = parse_parameters(source, "f", declaration)
    assert (x.name, x.ctype, x.pointer, x.optional) == ("x", "float", True, True)
    assert (n.name, n.ctype, n.pointer, n.size) == ("n", "int", False, None)
    assert eval(parse_flops(source, "f", declaration), {"n": 3}) == 6
    with pytest.raises(CompileError, match=r"no CPU_KERNEL\(g\)\(...\) in the source"):
        parse_parameters(source, "g", declaration)


@pytest.mark.parametrize(
    ("comment", "words"), [("[rows x n]", "the size of y is not an expression"), ("[m]", "the size of y uses m")]
)
def test_an_invalid_size_raises(comment, words):
    with pytest.raises(CompileError, match=words):
        parse_parameters(f'extern "C" __global__ void f(\n    T* y,  // {comment}\n    int rows, int n) {{}}', "f")


def test_a_compile_error_shows_file_and_line(tmp_path):
    path = tmp_path / "broken.cu"
    path.write_text('extern "C" __global__ void broken(float* y) {\n    y[0] = z;\n}\n', encoding="utf-8")
    with pytest.raises(CompileError, match=r"broken\.cu:2"):
        run(Kernel(path, "broken"), GRID, BLOCK, X.copy())

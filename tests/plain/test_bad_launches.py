"""What no GPU can be asked to do is an error before the launch, with the kernel's name, on sim as on CUDA.

CUDA is played by the stand-in for CuPy. Nothing here is compiled: a launch is checked first.
"""

import sys

import cupy_stand_in
import numpy as np
import pytest

import gpunet as gn
from gpunet import device as shim
from gpunet import simulator
from gpunet.cuda import Kernel, kernel
from gpunet.errors import ArgumentError, CompileError, DeviceError, DeviceMismatchError, DTypeError, ShapeError
from gpunet.simulator import compiler

SOURCE = """
// bad_launches.cu: launched by no test
extern "C" __global__ void scale(
    const float* x,        // [rows * n]
    const float* factors,  // [n] or null
    float* y,              // [rows * n]
    int rows, int n) {}
"""


@pytest.fixture(params=["sim", "cuda"])
def device(request, monkeypatch):
    """Return a device that must not be asked for a launch."""
    monkeypatch.setitem(sys.modules, "cupy", cupy_stand_in)
    for cached in (shim._cuda_device, shim._auto, kernel._module):
        cached.cache_clear()
    simulator.counters.reset()
    cupy_stand_in.cuda.launches.clear()
    yield gn.get_device(request.param)
    assert simulator.counters.launches == 0
    assert cupy_stand_in.cuda.launches == []
    for cached in (shim._cuda_device, shim._auto, kernel._module):
        cached.cache_clear()


@pytest.fixture
def launch(device, tmp_path):
    """Launch `scale` on six elements, with what is named in place of what is right."""
    (tmp_path / "scale.cu").write_text(SOURCE, encoding="utf-8")
    kernel = Kernel(tmp_path / "scale.cu", "scale")

    def call(*, grid=(1,), block=(32,), shared=0, **changed):
        x, y = (device.asarray(np.zeros(6, np.float32)) for _ in range(2))
        arguments = {"x": x, "factors": None, "y": y, "rows": 2, "n": 3, **changed}
        kernel(grid, block, *arguments.values(), shared=shared)

    return call


ARRAYS = {
    "dtype": ("x", np.zeros(6), DTypeError, "x must be an array of float32, got float64"),
    "dtype of numbers": ("y", np.zeros(6, np.int32), DTypeError, "y must be an array of float32, got int32"),
    "too few elements": ("y", np.zeros(5, np.float32), ShapeError, "y has 5 elements, the launch needs 6"),
    "too few of an optional": ("factors", np.zeros(2, np.float32), ShapeError, "factors has 2 elements.* needs 3"),
}


@pytest.mark.parametrize("wrong", ARRAYS)
def test_an_array_of_another_dtype_or_shape_is_refused(launch, device, wrong):
    name, array, error, said = ARRAYS[wrong]
    with pytest.raises(error, match=f"^scale: {said}"):
        launch(**{name: device.asarray(array)})


@pytest.mark.parametrize("view", [lambda a: a[::2], lambda a: a.reshape(3, 4).T], ids=["a stride", "a transpose"])
def test_a_non_contiguous_view_is_refused_with_advice(launch, device, view):
    with pytest.raises(ShapeError, match=r"^scale: x is not C-contiguous \(strides .*pass a C-contiguous copy"):
        launch(x=view(device.asarray(np.zeros(12, np.float32))))


def test_an_array_in_host_memory_is_refused_with_the_device_of_each(launch, device):
    with pytest.raises(DeviceMismatchError, match=f"x is on cpu, y is on {device.name}.*asarray"):
        launch(x=np.zeros(6, np.float32))


def test_host_arrays_are_refused_with_advice(launch):
    with pytest.raises(DeviceError, match=r"scale: the arrays are in host memory; move them: .*asarray\(array\)"):
        launch(x=np.zeros(6, np.float32), y=np.zeros(6, np.float32))


LIMITS = {
    "a block over 1,024 threads": ({"block": (1025,)}, r"scale: block \(1025,\) must have 1 to 1024 threads"),
    "a flat block over 1,024 threads": ({"block": (64, 32)}, r"scale: block \(64, 32\) must have 1 to 1024 threads"),
    "an empty block": ({"block": (0,)}, "scale: block"),
    "grid.y over 65,535": ({"grid": (1, 65_536)}, r"scale: grid \(1, 65536\) exceeds .*65535"),
    "grid.z over 65,535": ({"grid": (1, 1, 65_536)}, "scale: grid .* exceeds"),
    "too much shared memory": (
        {"shared": 48 * 1024 + 1},
        "scale: 49153 bytes of shared memory; a block has at most 49152",
    ),
    "no array": ({"y": None}, "scale: y is None; pass an array"),
    "a number too large": ({"rows": 2**31}, "scale: rows=2147483648 does not fit int32"),
}


@pytest.mark.parametrize("limit", LIMITS)
def test_what_no_gpu_takes_is_refused(launch, limit):
    changed, said = LIMITS[limit]
    with pytest.raises(ArgumentError, match=said):
        launch(**changed)


@pytest.mark.parametrize("device", ["sim"], indirect=True)
def test_without_a_compiler_a_launch_says_what_to_install(launch, monkeypatch):
    monkeypatch.setattr(compiler.shutil, "which", lambda name: None)
    for cached in ("find_compiler", "runtime_library"):
        monkeypatch.setattr(compiler, cached, getattr(compiler, cached).__wrapped__)
    with pytest.raises(DeviceError, match=r"g\+\+ 12 or later; found none. Install it|runs on Linux x86-64"):
        launch()


@pytest.mark.parametrize("device", ["cuda"], indirect=True)
@pytest.mark.parametrize(
    "log", ['scale.cu(8): error: identifier "z" is undefined', "CuPy failed to load libnvrtc.so.12: OSError"]
)
def test_what_the_compiler_says_is_shown_with_the_file_and_its_options(launch, monkeypatch, log):
    def fail(self):
        raise RuntimeError(log)

    monkeypatch.setattr(cupy_stand_in.RawModule, "compile", fail)
    with pytest.raises(CompileError) as caught:
        launch()
    assert log in str(caught.value)
    assert "scale.cu does not compile with -DREAL=float" in str(caught.value)


def test_a_grid_that_is_no_tuple_is_refused(launch):
    with pytest.raises(ArgumentError, match=r"scale: grid 1 and block \(32,\) must be tuples"):
        launch(grid=1, block=(32,))

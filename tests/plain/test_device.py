"""The array-module shim: where arrays are allocated, how they move, and the errors for an unusable GPU."""

import copy
import os
import pickle
import subprocess
import sys
import threading

import cupy_stand_in
import numpy as np
import pytest

import gpunet as gn
from gpunet import default_device
from gpunet import device as shim
from gpunet.errors import DeviceError, DeviceMismatchError, DTypeError


@pytest.fixture(autouse=True)
def _forget_devices(monkeypatch):
    """Clear the cached devices and defaults before and after each test."""
    monkeypatch.setattr(default_device, "_defaults", [])
    for cached in (shim._cuda_device, shim._auto):
        cached.cache_clear()
    yield
    for cached in (shim._cuda_device, shim._auto):
        cached.cache_clear()


@pytest.fixture
def no_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)


@pytest.fixture
def gpus(monkeypatch):
    """Play two GPUs."""
    monkeypatch.setitem(sys.modules, "cupy", cupy_stand_in)


# where new arrays are made


def test_a_call_outside_a_block_sets_the_process_default(gpus):
    gn.use_device("cuda")
    assert gn.current_device().name == "cuda:0"
    gn.use_device("cpu")
    assert gn.current_device().name == "cpu"


def test_a_block_sets_the_device_inside_only(gpus):
    with gn.use_device("cuda:1") as device:
        assert device is gn.current_device() is gn.get_device("cuda:1")
        assert gn.MLP([2, 1]).device.name == "cuda:1"
    assert gn.current_device().name == "cpu"
    assert gn.MLP([2, 1]).device.name == "cpu"


def test_blocks_nest_and_end_also_by_an_error(gpus):
    with gn.use_device("cuda:0"):
        with pytest.raises(ZeroDivisionError), gn.use_device("cuda:1"):
            raise ZeroDivisionError(gn.current_device().name)
        assert gn.current_device().name == "cuda:0"
        with gn.use_device("cpu"):
            assert gn.current_device().name == "cpu"
        assert gn.current_device().name == "cuda:0"


def test_a_block_overrides_the_default_and_restores_it(gpus):
    gn.use_device("cuda:1")
    with gn.use_device("cpu"):
        assert gn.current_device().name == "cpu"
    assert gn.current_device().name == "cuda:1"


def test_a_thread_sees_the_default_but_not_the_block_of_another(gpus):
    gn.use_device("cuda:1")
    seen = []
    with gn.use_device("cuda:0"):
        thread = threading.Thread(target=lambda: seen.append(gn.current_device().name))
        thread.start()
        thread.join()
    assert seen == ["cuda:1"]


def test_the_environment_variable_is_the_default_of_a_process():
    print_device = "import gpunet as gn; print(gn.current_device().name)"
    run = subprocess.run(
        [sys.executable, "-c", print_device], env={**os.environ, "GPUNET_DEVICE": "cpu"}, capture_output=True, text=True
    )
    assert run.stdout.strip() == "cpu", run.stderr
    run = subprocess.run(
        [sys.executable, "-c", print_device], env={**os.environ, "GPUNET_DEVICE": "tpu"}, capture_output=True, text=True
    )
    assert "DeviceError: unknown device 'tpu'; use 'auto', 'cpu', 'cuda', 'cuda:N' or 'sim'." in run.stderr


@pytest.mark.parametrize("spec", ["gpu", "cuda:", "cuda:-1", "cuda:x", "CPU", "cpu:0", ""])
def test_an_unknown_device_is_refused_with_the_choices(spec):
    with pytest.raises(DeviceError, match=f"unknown device '{spec}'; use 'auto', 'cpu', 'cuda', 'cuda:N' or 'sim'"):
        gn.use_device(spec)
    assert gn.current_device().name == "cpu"


def test_get_device_returns_a_device_unchanged():
    assert gn.get_device(gn.get_device("cpu")) is gn.get_device("cpu")


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda device: pickle.loads(pickle.dumps(device))])
def test_a_copied_device_is_the_same_device(again, gpus):
    for name in ("cpu", "cuda:1"):
        assert again(gn.get_device(name)) is gn.get_device(name)


# a GPU that cannot be used: what is missing


def test_without_cupy_the_error_says_how_to_install_it(no_cupy):
    with pytest.raises(DeviceError, match=r"CuPy is not installed.*pip install 'cupy-cuda12x\[ctk\]"):
        gn.get_device("cuda")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("raise OSError('cannot make /nowhere/.cupy')", "cannot make /nowhere/.cupy"),
        ("raise ImportError('libnvrtc.so.12: cannot open')", "libnvrtc.so.12: cannot open"),
        ("import a_module_that_cupy_needs", "No module named 'a_module_that_cupy_needs'"),
    ],
)
def test_a_broken_cupy_is_not_reported_as_missing(line, said, tmp_path, monkeypatch):
    (tmp_path / "cupy.py").write_text(line)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    with pytest.raises(DeviceError, match=f"CuPy is installed but cannot be imported: {said}"):
        gn.get_device("cuda")


def test_without_a_driver_the_error_names_it(gpus, monkeypatch):
    def fail():
        raise cupy_stand_in.cuda.runtime.CUDARuntimeError(35)

    monkeypatch.setattr(cupy_stand_in.cuda.runtime, "getDeviceCount", fail)
    with pytest.raises(DeviceError, match=r"no usable NVIDIA driver or GPU .cudaErrorInsufficientDriver.*nvidia-smi"):
        gn.get_device("cuda")


def test_a_missing_gpu_is_refused_with_the_number_of_gpus(gpus, monkeypatch):
    with pytest.raises(DeviceError, match="cuda:2: this machine has 2 GPU"):
        gn.get_device("cuda:2")
    monkeypatch.setattr(cupy_stand_in.cuda.runtime, "getDeviceCount", lambda: 0)
    with pytest.raises(DeviceError, match="cuda:0: this machine has 0 GPU"):
        gn.get_device("cuda")


def test_a_kernel_that_does_not_compile_points_to_nvrtc(gpus, monkeypatch):
    def fail(code, name):
        raise RuntimeError("libnvrtc.so.12 not found")

    monkeypatch.setattr(cupy_stand_in, "RawKernel", fail)
    with pytest.raises(DeviceError, match=r"libnvrtc.so.12 not found.*NVRTC .*pip install 'cupy-cuda12x\[ctk\]"):
        gn.get_device("cuda")


def test_a_device_whose_kernel_returns_wrong_values_is_refused(gpus, monkeypatch):
    monkeypatch.setattr(cupy_stand_in, "RawKernel", lambda code, name: lambda grid, block, args: None)
    with pytest.raises(DeviceError, match="a trivial kernel returned wrong values"):
        gn.get_device("cuda")


def test_auto_selects_the_gpu_if_a_kernel_runs(gpus):
    assert gn.get_device("auto").name == "cuda:0"
    assert shim.auto_reason() == "a kernel compiled and ran on the GPU"


def test_auto_falls_back_to_the_cpu_and_says_why(no_cupy, monkeypatch):
    monkeypatch.delenv("GPUNET_DEVICE")
    assert gn.get_device("auto").name == "cpu"
    assert gn.current_device().name == "cpu"
    assert "CuPy is not installed" in shim.auto_reason()


# arrays


def test_asarray_and_to_host_transfer_an_array(gpus):
    host = np.arange(6, dtype=np.float64).reshape(2, 3)
    for name in ("cpu", "cuda:0", "cuda:1"):
        device = gn.get_device(name)
        array = device.asarray(host, np.float32)
        assert shim.device_of(array) is device
        assert array.dtype == np.float32
        np.testing.assert_array_equal(device.to_host(array), host)
        np.testing.assert_array_equal(gn.to_host(array), host)
        for other in ("cpu", "cuda:0", "cuda:1"):
            moved = gn.get_device(other).asarray(array)
            assert shim.device_of(moved).name == other
            np.testing.assert_array_equal(gn.to_host(moved), host)


def test_host_arrays_are_not_copied():
    host = np.ones(3)
    assert gn.to_host(host) is host
    assert gn.get_device("cpu").asarray(host) is host
    assert gn.get_device("cpu").to_host(host) is host


@pytest.mark.parametrize("name", ["cpu", "cuda:0"])
def test_every_copy_to_the_host_is_counted(name, gpus):
    device = gn.get_device(name)
    array = device.asarray([1.0, 2.0])
    before = device.host_reads
    device.to_host(array)
    device.to_host(array[0])
    assert device.host_reads == before + 2


def test_the_module_comes_from_the_arrays(gpus):
    host, there = np.ones(2), gn.get_device("cuda").asarray([1.0])
    assert gn.array_module(host, None, host) is np
    assert gn.array_module(a=there, b=None) is cupy_stand_in
    assert gn.array_module(np.float32(1)) is np


def test_arrays_on_two_devices_are_refused_by_name_with_advice(gpus):
    host, there = np.ones(2), gn.get_device("cuda").asarray([1.0])
    message = r"x is on cpu, weight is on cuda:0.*gn.get_device\('cpu'\).asarray\(array\).*model.to\('cpu'\)"
    with pytest.raises(DeviceMismatchError, match=message):
        gn.array_module(x=host, bias=None, weight=there)
    with pytest.raises(DeviceMismatchError, match="array 0 is on cuda:0, array 1 is on cuda:1"):
        gn.array_module(there, gn.get_device("cuda:1").asarray(there))


def test_non_arrays_are_refused():
    with pytest.raises(DTypeError, match=r"expected an array, got list; make one with numpy.asarray"):
        gn.array_module([1.0, 2.0])


def test_waiting_for_a_device_returns(gpus):
    for name in ("cpu", "cuda:1"):
        gn.get_device(name).synchronize()


def test_the_kernels_are_found_from_the_checkout():
    assert (shim.kernels_path() / "probe.cu").is_file()


def test_the_simulator_is_imported_only_when_used():
    code = "import gpunet, sys; gpunet.get_device('cpu'); sys.exit('gpunet.simulator' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

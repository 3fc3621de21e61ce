"""A kernel fault on CUDA, with a fake CuPy: the next synchronization raises an error that names the kernel."""

import sys

import cupy_stand_in
import numpy as np
import pytest
from problems import classification, net

import gpunet as gn
from gpunet import device as shim
from gpunet.cuda import Kernel, kernel
from gpunet.errors import ArgumentError, KernelError

X, Y = classification()
SOURCE = "".join(
    f'extern "C" __global__ void {name}(\n    float* y,  // [n]\n    int n) {{}}\n'
    for name in ("first", "second", "third")
)


@pytest.fixture
def gpu(monkeypatch):
    """The device "cuda" of a stand-in for CuPy, whose kernels may fault."""
    monkeypatch.setitem(sys.modules, "cupy", cupy_stand_in)
    for name, value in (("faulty", {}), ("refused", {}), ("status", 0)):
        monkeypatch.setattr(cupy_stand_in.cuda, name, value)
    for cached in (shim._cuda_device, shim._auto, kernel._module):
        cached.cache_clear()
    yield gn.get_device("cuda")
    for cached in (shim._cuda_device, shim._auto, kernel._module):
        cached.cache_clear()


@pytest.fixture
def kernels(gpu, tmp_path):
    """Return three kernels as launches on one array."""
    (tmp_path / "three.cu").write_text(SOURCE, encoding="utf-8")
    y = gpu.asarray(np.zeros(4, np.float32))
    return [Kernel(tmp_path / "three.cu", name).prepare((1,), (32,), y, 4) for name in ("first", "second", "third")]


WAITS = {
    "synchronize": lambda gpu: gpu.synchronize(),
    "to_host": lambda gpu: gpu.to_host(cupy_stand_in.zeros(3)),
    "gn.to_host": lambda gpu: gn.to_host(cupy_stand_in.zeros(3)),
    "asarray": lambda gpu: gpu.asarray([1.0]),
    "assign": lambda gpu: gpu.assign(cupy_stand_in.zeros(1), [1.0]),
}


def test_a_kernel_that_the_watchdog_ended_is_reported_as_such(gpu, kernels):
    cupy_stand_in.cuda.faulty["second"] = 702
    kernels[1]()
    with pytest.raises(KernelError, match=r"the display watchdog killed the kernel second .*executor='graph'"):
        gpu.synchronize()


@pytest.mark.parametrize("status", [700, 719])
@pytest.mark.parametrize("wait", WAITS)
def test_a_fault_is_raised_at_the_next_synchronization_with_the_kernels_name_and_advice(gpu, kernels, wait, status):
    cupy_stand_in.cuda.faulty["second"] = status
    kernels[1]()
    for _ in range(2):  # every later call raises the same error
        with pytest.raises(KernelError) as caught:
            WAITS[wait](gpu)
        message = str(caught.value)
        assert message.startswith("cuda:0: a fault in the kernel second (three.cu) (cudaError")
        for advice in (
            "context of this process is lost",
            "restart the process",
            "GPUNET_SIM_CHECK=1",
            "--device sim",
        ):
            assert advice in message
        for advice in ("gpunet check", "compute-sanitizer", "CUDA_LAUNCH_BLOCKING=1"):
            assert advice in message
        assert caught.value.__cause__.status == status


def test_of_several_suspects_the_last_launched_is_named_first(gpu, kernels):
    for i in (0, 1, 2, 0):
        kernels[i]()
    cupy_stand_in.cuda.status = 700
    said = r"kernel first \(three.cu\), or one of those before it: third \(three.cu\), second \(three.cu\) \("
    with pytest.raises(KernelError, match=said):
        gpu.synchronize()


def test_with_launch_blocking_the_faulty_launch_is_known(gpu, kernels, monkeypatch):
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    kernels[0]()
    cupy_stand_in.cuda.refused["second"] = 700
    with pytest.raises(KernelError, match=r"a fault in the kernel second \(three.cu\) \(cudaErrorIllegalAddress"):
        kernels[1]()


@pytest.mark.parametrize("wait", ["synchronize", "to_host"])
def test_a_kernel_before_the_last_synchronization_is_not_suspected(gpu, kernels, wait):
    kernels[0]()
    WAITS[wait](gpu)
    kernels[1]()
    cupy_stand_in.cuda.status = 700
    with pytest.raises(KernelError, match="kernel second") as caught:
        gpu.synchronize()
    assert "first" not in str(caught.value)


def test_a_fault_of_a_foreign_kernel_is_reported(gpu):
    cupy_stand_in.cuda.status = 700
    with pytest.raises(KernelError, match="a fault in the kernel that gpunet did not launch"):
        gpu.synchronize()


def test_a_launch_after_a_fault_names_the_kernel_before(gpu, kernels):
    cupy_stand_in.cuda.faulty["first"] = 700
    kernels[0]()
    with pytest.raises(KernelError, match=r"a fault in the kernel first \(three.cu\) \("):
        kernels[1]()


def test_a_fault_is_not_taken_for_a_source_that_does_not_compile(gpu, kernels, monkeypatch):
    def fail(self):
        raise cupy_stand_in.CUDADriverError(700)

    monkeypatch.setattr(cupy_stand_in.RawModule, "compile", fail)
    kernel._module.cache_clear()
    with pytest.raises(KernelError, match="context of this process is lost"):
        gn.ops.matmul(cupy_stand_in.zeros((2, 2)), cupy_stand_in.zeros((2, 2)), kernel="naive")


@pytest.mark.parametrize(
    ("executor", "name", "file"), [("graph", "sgd", "optimizers.cu"), ("auto", "mlp_train", "mlp_train.cu")]
)
def test_a_training_ends_with_the_kernels_name(gpu, executor, name, file):
    trainer = gn.Trainer(net().to("cuda"), optimizer=gn.SGD(0.1), executor=executor)
    cupy_stand_in.cuda.faulty[name] = 719
    with pytest.raises(KernelError, match=rf"{name} \({file}\)"):
        trainer.fit(X, Y, epochs=2)
    assert trainer.history.stopped == "error"


@pytest.mark.parametrize("status", [1, 701])
def test_a_launch_that_the_gpu_refuses_says_what_was_asked_for(gpu, kernels, status):
    cupy_stand_in.cuda.refused["first"] = status
    said = r"first \(three.cu\): the GPU rejects a launch of grid \(1,\) and block \(32,\) with 0 bytes.*launch_bounds"
    with pytest.raises(ArgumentError, match=said):
        kernels[0]()
    gpu.synchronize()


class OutOfMemoryError(MemoryError):
    """CuPy's error, with the requested and the allocated size."""


def test_other_errors_are_not_changed(gpu, monkeypatch):
    for error in (OutOfMemoryError("Out of memory allocating 8 bytes"), cupy_stand_in.CUDARuntimeError(35)):

        def fail(*_, error=error):
            raise error

        for name in ("asarray", "asnumpy"):
            monkeypatch.setattr(cupy_stand_in, name, fail)
        for call in (lambda: gpu.asarray([1.0]), lambda: gpu.to_host(cupy_stand_in.zeros(1))):
            with pytest.raises(type(error)) as caught:
                call()
            assert caught.value is error

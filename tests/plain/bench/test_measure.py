"""A whole run on the CPU, and on the stand-in for CuPy, whose events use a fake clock."""

import itertools
import subprocess
import sys

import cupy_stand_in
import numpy as np
import pytest

from gpunet import device as shim
from gpunet.bench import ceilings, environment, memory
from gpunet.bench.cases import OPS
from gpunet.bench.measure import Request, run
from gpunet.errors import ArgumentError, CompileError, KernelError

SIZES = {"step": ("12-16-5/8",)}


def ran(op, **options):
    shown = []
    report = run(Request(op, SIZES.get(op, ("24",)), seconds=1e-3, **{"device": "cpu", **options}), shown.extend)
    assert shown == report.rows
    return report


@pytest.mark.parametrize("op", OPS)
def test_every_operation_is_timed_on_the_cpu(quick, op):
    report = ran(op)
    assert {(row.fault, row.op, row.size) for row in report.rows} == {("", op, report.rows[0].size)}
    for row in report.rows:
        assert 0 < row.seconds.low <= row.seconds.median <= row.seconds.high
        assert row.of_ceiling == pytest.approx(report.ceilings.seconds(row.flops, row.nbytes) / row.seconds.median)
        assert row.error < 1e-4
        assert (row.speedup is None) == (row.kernel in ("blas", "array"))


def test_a_kernel_can_be_left_out(quick):
    rows = ran("bias-activation", kernels=("gpunet",)).rows
    assert {(row.kernel, row.speedup) for row in rows} == {("gpunet", None)}


def test_a_wrong_kernel_is_reported_and_not_timed(quick, monkeypatch):
    monkeypatch.setattr("gpunet.ops.bias_activation", lambda z, bias, activation, out: z + bias + 1e-3)
    array, gpunet, *_ = sorted(ran("bias-activation").rows, key=lambda row: (row.variant != "forward", row.kernel))
    assert "are off" in gpunet.fault
    assert (gpunet.seconds, gpunet.speedup, gpunet.of_ceiling) == (None, None, None)
    assert array.seconds


def test_zero_inputs_are_refused(quick, monkeypatch):
    monkeypatch.setattr("gpunet.bench.case.Case._draw", lambda self, rng, operand: np.zeros(operand.shape, self.dtype))
    with pytest.raises(ArgumentError, match="is not random: it holds zeros"):
        ran("matmul")


def test_the_environment_is_recorded(quick):
    found = ran("optimizer").environment
    assert found["device"] == "cpu"
    assert found["numpy"] == np.__version__
    assert found["threads"].keys() == set(environment.THREADS)
    for name in ("gpunet", "date", "python", "platform", "cpu", "cores", "blas", "commit", "dirty"):
        assert name in found


@pytest.mark.parametrize(("status", "dirty"), [("", False), (" M gpunet/tape.py\n", True)])
def test_the_commit_is_recorded_and_whether_files_differ_from_it(monkeypatch, tmp_path, status, dirty):
    (tmp_path / ".git").touch()
    monkeypatch.setattr(environment.gpunet, "__file__", str(tmp_path / "gpunet" / "__init__.py"))
    monkeypatch.setattr(environment.shutil, "which", lambda name: name)
    answers = {"rev-parse": "abc\n", "status": status}
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, answers[command[3]], "")
    )
    found = environment.environment(shim.CPU)
    assert (found["commit"], found["dirty"]) == ("abc", dirty)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request("convolution"), "unknown operation 'convolution'; use one of matmul, linear"),
        (Request("matmul", ("2x2",)), "size '2x2': expected MxNxK"),
        (Request("matmul", dtype="float16"), "unknown dtype 'float16'; use one of float32, float64"),
        (Request("matmul", device="cpu", kernels=("tiled",)), "unknown kernel 'tiled'; matmul has blas on cpu"),
        (Request("matmul", ("8", "10000000"), device="cpu"), r"10000000x.* needs about .* GiB, but this machine has"),
    ],
)
def test_an_impossible_measurement_is_refused_before_any_runs(request_, said, monkeypatch):
    monkeypatch.setattr(ceilings, "measure_ceilings", None)
    with pytest.raises(ArgumentError, match=said):
        run(request_, None)


def test_the_memory_estimate_is_an_upper_bound(monkeypatch):
    (case, *_) = OPS["matmul"].cases((100, 100, 100), np.dtype(np.float32))
    arrays = 3 * 100 * 100
    monkeypatch.setattr(memory, "host_memory", lambda: arrays * (8 + 2 * 4))  # the inputs, two kernels, the reference
    with pytest.raises(ArgumentError, match="choose smaller sizes"):
        memory.check_memory(case, shim.CPU, 2)
    monkeypatch.setattr(memory, "host_memory", lambda: arrays * 64)
    memory.check_memory(case, shim.CPU, 2)


# user kernels


@pytest.mark.parametrize(
    ("source", "spec", "kind", "said"),
    [
        ("", "my.cu", ArgumentError, "give a file and a kernel in it, such as my.cu:my_kernel"),
        ("", "my.cu:not a name", ArgumentError, "such as my.cu:my_kernel"),
        (None, "my.cu:mine", CompileError, "my.cu cannot be read"),
        ("int x;", "my.cu:mine", CompileError, "no kernel .* mine"),
        ('extern "C" __global__ void mine(float* c) {}', "my.cu:mine", ArgumentError, "no launch is declared for mine"),
        (
            'extern "C" __global__ void mine(float* c) {}\n// launch: grid (1), block (1)\n',
            "my.cu:mine",
            ArgumentError,
            "no launch is declared for mine",
        ),
    ],
)
def test_an_incomplete_kernel_file_is_refused(tmp_path, source, spec, kind, said):
    if source is not None:
        (tmp_path / "my.cu").write_text(source)
    with pytest.raises(kind, match=said):
        Request("matmul", device="sim", own=str(tmp_path / spec)).by_size()


def test_a_user_kernel_is_refused_on_unsupported_devices_and_operations(tmp_path):
    path = tmp_path / "my.cu"
    path.write_text('// launch: grid (1), block (1)\nextern "C" __global__ void mine(float* c) {}')
    with pytest.raises(ArgumentError, match="runs on --device cuda or sim, not on the CPU"):
        Request("matmul", device="cpu", own=f"{path}:mine").by_size()
    with pytest.raises(ArgumentError, match="optimizer does not support a kernel of your own"):
        Request("optimizer", device="sim", own=f"{path}:mine").by_size()


# measurements on a GPU


@pytest.fixture
def gpu(quick, monkeypatch):
    """Two GPUs on which kernels do nothing and each reading of the clock adds a millisecond."""
    monkeypatch.setitem(sys.modules, "cupy", cupy_stand_in)
    ticks = itertools.count()
    monkeypatch.setattr(cupy_stand_in.cuda, "clock", lambda: next(ticks) * 1e-3)
    for cached in (shim._cuda_device, shim._auto):
        cached.cache_clear()
    yield
    for cached in (shim._cuda_device, shim._auto):
        cached.cache_clear()


def test_on_a_gpu_a_kernel_is_timed_with_a_warm_cache_and_a_cold_one(gpu):
    report = ran("matmul", device="cuda:1", kernels=("blas",))
    assert [(row.variant, row.cache, row.fault) for row in report.rows] == [
        (variant, cache, "") for variant in ("NN", "NT", "TN") for cache in ("warm", "cold")
    ]
    assert [row.seconds.median for row in report.rows] == pytest.approx([1e-3] * 6)  # one tick between two events
    assert report.environment["gpu"] == "stand-in"
    assert report.environment["cuda_runtime"] == 12090


def test_copies_of_the_operands_exceed_a_cold_cache(gpu, monkeypatch):
    placed = []
    monkeypatch.setattr("gpunet.bench.measure.rotate", lambda calls: placed.append(len(calls)) or calls[0])
    rows = ran("matmul", device="cuda", kernels=("blas",)).rows
    l2 = cupy_stand_in.cuda.runtime.getDeviceProperties(0)["l2CacheSize"]
    assert placed == [1, -(-2 * l2 // rows[0].nbytes)] * 3


def test_a_kernel_that_writes_nothing_fails(gpu):
    rows = ran("matmul", device="cuda").rows
    assert {row.kernel for row in rows if row.fault} == {row.kernel for row in rows} - {"blas"}
    assert all("nan" in row.fault for row in rows if row.fault)


def test_tensor_cores_are_measured_if_present_in_float32(gpu, monkeypatch):
    def kernels(dtype):
        return {row.kernel for row in ran("matmul", device="cuda", dtype=dtype).rows}

    assert kernels("float32") - kernels("float64") == {"mma", "mma3"}
    monkeypatch.setattr(cupy_stand_in.Device, "compute_capability", "75")
    assert kernels("float32") == kernels("float64")


def test_a_crashed_gpu_is_not_measured(gpu, monkeypatch):
    monkeypatch.setitem(cupy_stand_in.cuda.faulty, "matmul_naive", 700)
    monkeypatch.setattr(cupy_stand_in.cuda, "status", 0)
    with pytest.raises(KernelError, match="a fault in the kernel matmul_naive"):
        ran("matmul", device="cuda")


def test_a_case_larger_than_the_gpus_memory_is_refused(gpu, monkeypatch):
    monkeypatch.setattr(memory, "host_memory", lambda: 2**50)
    with pytest.raises(ArgumentError, match=r"needs about .* but cuda:0 has 1.0 GiB free"):
        run(Request("matmul", ("20000",), device="cuda"), None)

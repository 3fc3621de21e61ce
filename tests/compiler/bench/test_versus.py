"""`gpunet bench FILE.cu` with a spec: the kernel is compared with other kernels and functions."""

import json

import numpy as np
import pytest
from click.testing import CliRunner

from gpunet.bench import versus
from gpunet.bench.timing import WallClock
from gpunet.cli import main
from gpunet.errors import KernelError

KERNELS = """
#include <cmath>
__global__ void scale(float* y, const float* x, float f, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = f * x[i] + 0 * M_PI;
}
extern "C" __global__ void slow(float* y, const float* x, float f, int n) {
  for (int i = 0; i < n; ++i) if (i % 64 == threadIdx.x && blockIdx.x == 0) y[i] = f * x[i];
}
__global__ void wrong(float* y, const float* x, float f, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = f * x[i] + (i == 49);
}
__global__ void by_type(float* y, const float* x, float f, int n) {
  int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = f * x[i];
}
__global__ void by_type(double* y, const double* x, double f, int n) {}
"""
SPEC = """
import numpy as np
kernel, block, cases = "scale", 64, [50]
versus = {
    "serial": "slow", "wrong kernel": "wrong", "overloaded": "by_type", "array code": lambda x, f, n: {"y": f * x},
    "prepared": lambda x, f, n: lambda: {"y": x * f},
    "wrong function": lambda x, f, n: {"y": x}, "none": lambda **_: {},
}
def grid(n): return -(-n // 64)
def inputs(rng, n): return {"x": rng.random(n, np.float32), "f": 2.0, "n": n}
def reference(x, f, n): return {"y": f * x}
"""
WRONG = {
    "wrong kernel": "worst: y[49] is ",
    "wrong function": "worst: y[",
    "none": "y must have the shape (50,), got none",
}
RIGHT = ["scale", "serial", "overloaded", "array code", "prepared"]


@pytest.fixture
def files(tmp_path):
    (tmp_path / "my.cu").write_text(KERNELS)
    (tmp_path / "my_spec.py").write_text(SPEC)
    return tmp_path / "my.cu", tmp_path / "my_spec.py"


def bench(files, *options):
    path, spec = map(str, files)
    return CliRunner().invoke(main, ["bench", path, "--spec", spec, *options])


def test_on_the_simulated_gpu_all_are_compared_and_kernels_counted(files):
    result = bench(files, "--device", "sim", "--json")
    assert result.exit_code == 1, result.output
    (case,) = json.loads(result.stdout)["cases"]
    assert case["case"] == "case 50"
    rows = {row["name"]: row for row in case["rows"]}
    assert [name for name, row in rows.items() if not row["fault"]] == RIGHT
    assert all(said in rows[name]["fault"] for name, said in WRONG.items())
    assert rows["scale"]["counts"]["global_bytes_written"] == 200
    assert "counts" not in rows["array code"]


def test_correct_kernels_are_timed_in_turns(files, monkeypatch):
    monkeypatch.setattr(versus, "EventClock", WallClock)
    monkeypatch.setattr(versus, "STANDARD_HEADERS", ())
    monkeypatch.setattr(versus, "name_expression", str)  # only NVRTC names kernels by casts
    rows = {row.name: row for row in versus.time(*files, {}, 0, "sim", 1e-3)}
    assert [name for name, row in rows.items() if row.seconds] == RIGHT
    assert [name for name, row in rows.items() if row.speedup] == RIGHT[1:]
    assert {name for name, row in rows.items() if row.fault} == WRONG.keys()


def test_what_fails_on_the_gpu_is_reported_in_one_line(files, monkeypatch):
    monkeypatch.setattr(versus, "STANDARD_HEADERS", ())
    monkeypatch.setattr(versus, "name_expression", str)
    files[1].write_text(SPEC + 'versus = {"broken": lambda **_: 1 / 0}')
    with pytest.raises(KernelError, match=r"^on sim: ZeroDivisionError: division by zero$"):
        versus.time(*files, {}, 0, "sim", 1e-3)
    result = bench(files, "--device", "sim")
    assert result.exit_code == 1
    assert "WRONG: on sim: ZeroDivisionError: division by zero" in result.stdout


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("while True: pass", "did not end within 2 s"),
        ("raise SystemExit(3)", "on sim: SystemExit: 3"),
        ("import os; os._exit(0)", "the child process ended with exit code 0"),
    ],
)
def test_a_function_that_does_not_end_well_is_a_wrong_row(files, body, said):
    files[1].write_text(SPEC + f"def never(**_):\n    {body}\nversus = {{'never': never}}")
    result = bench(files, "--device", "sim", "--limit", "2")
    assert result.exit_code == 1
    assert "WRONG" not in result.stdout.splitlines()[1]
    assert f"WRONG: {said}" in result.stdout


def test_a_table_marks_correct_and_wrong_rows(files):
    files[1].write_text(SPEC + 'cases, versus = [50, 100], {"wrong kernel": "wrong"}')
    lines = bench(files, "--device", "sim").stdout.splitlines()
    assert lines[0] == "my.cu on sim"
    assert [line.split()[1] for line in lines[1:]] == ["50", "50", "100", "100"]
    assert ["bytes read" in line for line in lines[1:]] == [True, False] * 2
    assert ["WRONG: " in line and "y[49]" in line for line in lines[1:]] == [False, True] * 2


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ('"slow"', "3", "versus: serial must be the name of a kernel or a function."),
        (
            '"slow"',
            '"fast"',
            "no kernel 'fast'; it has scale, slow, wrong, by_type(float*, const float*, ",
        ),
        ("versus = {", "versus = [], {", "versus must be a dict"),
    ],
)
def test_an_invalid_versus_is_refused_in_one_line(files, right, wrong, said):
    files[1].write_text(SPEC.replace(right, wrong))
    result = bench(files, "--device", "sim")
    assert result.exit_code == 2
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_missing_file_and_the_help(files):
    result = bench((files[0].with_name("no.cu"), files[1]))
    assert (result.exit_code, "no.cu' does not exist" in result.stderr) == (2, True)
    assert "Usage: main bench my.cu [OPTIONS]" in CliRunner().invoke(main, ["bench", "my.cu", "--help"]).stdout


def test_a_kernel_needs_a_gpu_or_the_simulator(files):
    result = bench(files, "--device", "cpu")
    assert (result.exit_code, "--device cuda or sim" in result.stderr) == (2, True)


def test_a_function_may_return_arrays_of_pytorch():
    class Tensor:
        def detach(self):
            return self

        def cpu(self):
            return np.ones(3)

    assert versus._on_host(Tensor()).tolist() == [1, 1, 1]

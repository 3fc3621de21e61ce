from __future__ import annotations

import shutil
import subprocess
import sys

import pytest

import gpunet as gn
from gpunet.bench import environment
from gpunet.device import kernels_path
from gpunet.errors import DeviceError
from gpunet.native import compiler as native
from gpunet.simulator import compiler


def rows(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(" ") for line in text.splitlines())}


def test_info_works_without_cupy_or_gpu_and_says_why(invoke, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "nvidia-smi" else which(name))
    result = invoke("info")
    assert result.exit_code == 0
    shown = rows(result.stdout)
    assert shown["gpunet"] == gn.__version__
    assert shown["device"] == "cpu"
    assert shown["CuPy"] == "not installed"
    assert shown["kernels"] == str(kernels_path())
    assert "no nvidia-smi" in shown["driver"]


def test_info_shows_the_compiler_of_native_kernels_or_why_none_is_usable(invoke, monkeypatch):
    monkeypatch.setattr(native, "find_compiler", lambda: native.Compiler(("/usr/bin/g++", "-m64"), "g++ 12.2"))
    assert (
        rows(invoke("info").stdout)["native"] == "usable for C++ kernels on the CPU, with g++ 12.2 (/usr/bin/g++ -m64)"
    )
    monkeypatch.undo()
    monkeypatch.setenv("GPUNET_NATIVE", "0")
    shown = rows(invoke("info").stdout)["native"]
    assert shown == "not usable: disabled by the environment variable GPUNET_NATIVE=0."


def test_info_shows_the_compiler_of_the_simulated_gpu_or_why_none_is_usable(invoke, monkeypatch):
    monkeypatch.setattr(compiler, "find_compiler", lambda: compiler.Compiler("/usr/bin/g++", "12.2"))
    assert rows(invoke("info").stdout)["sim"] == "usable as a simulated GPU, with g++ 12.2 (/usr/bin/g++)"

    def fail():
        raise DeviceError("sim: the simulated GPU compiles kernels with g++ 12 or later; found none.")

    monkeypatch.setattr(compiler, "find_compiler", fail)
    result = invoke("info")
    assert result.exit_code == 0
    assert rows(result.stdout)["sim"].startswith("not usable: the simulated GPU compiles kernels with g++ 12")


@pytest.mark.parametrize(
    ("core", "flags", "suggested"),
    [("Haswell", "fpu avx2 avx512f", True), ("SkylakeX", "avx512f", False), ("Zen", "avx2", False), (None, "", False)],
)
def test_info_shows_the_kernels_of_openblas_and_whether_the_cpu_supports_faster_ones(
    invoke, monkeypatch, tmp_path, core, flags, suggested
):
    (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n", encoding="utf-8")
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    for module in (environment, sys.modules["gpunet.cli.info"]):  # gpunet.cli.info is also the command
        monkeypatch.setattr(module, "blas_core", lambda: core)
    shown = rows(invoke("info").stdout)["BLAS"]
    assert ("OPENBLAS_CORETYPE=SkylakeX" in shown) == suggested
    assert (f"kernels for {core}" in shown) == (core is not None)


def test_the_kernels_of_openblas_are_found_if_numpy_uses_it():
    assert (environment.blas_core() is None) == ("openblas" not in environment.blas())


def test_info_says_why_auto_chose_its_device(invoke):
    assert "chosen by auto" in rows(invoke("info", "--device", "auto").stdout)["device"]


def test_info_shows_driver_and_gpus_of_nvidia_smi(invoke, monkeypatch):
    answer = "570.1, NVIDIA H100, 81559 MiB\n570.1, NVIDIA T4, 15360 MiB\n"
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, answer, ""))
    shown = rows(invoke("info").stdout)
    assert shown["driver"] == "570.1"
    assert shown["GPU"] == "0: NVIDIA H100, 81559 MiB; 1: NVIDIA T4, 15360 MiB"


@pytest.mark.parametrize(("code", "answer"), [(9, "NVIDIA-SMI has failed\n"), (0, "")])
def test_info_survives_a_driver_that_does_not_answer(invoke, monkeypatch, code, answer):
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], code, answer, ""))
    result = invoke("info")
    assert result.exit_code == 0
    assert "not working" in rows(result.stdout)["driver"]


def test_python_dash_m_gpunet_is_the_command():
    done = subprocess.run([sys.executable, "-m", "gpunet", "--version"], capture_output=True, text=True, check=True)
    assert gn.__version__ in done.stdout

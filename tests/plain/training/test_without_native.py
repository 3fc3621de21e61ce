"""A machine without a working C++ compiler: training falls back to NumPy, and the reason is reported."""

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from click.testing import CliRunner
from problems import classification

import gpunet as gn
from gpunet.cli import main
from gpunet.errors import DeviceError
from gpunet.native import compiler

X, Y = classification(80)


def switched_off(monkeypatch, folder):
    monkeypatch.setenv("GPUNET_NATIVE", "0")
    return "disabled by the environment variable GPUNET_NATIVE=0"


def no_compiler(monkeypatch, folder):
    monkeypatch.setattr(compiler, "_candidates", lambda: iter(()))
    return "g++, clang++ and the package ziglang are not installed"


def failing_compiler(monkeypatch, folder):
    path = folder / "c++"
    path.write_text(
        '#!/bin/sh\ncase "$*" in *--version*) echo c++ 1.0; exit;; esac\necho "fatal error: no headers" >&2\nexit 1\n'
    )
    path.chmod(0o755)
    monkeypatch.setattr(compiler, "_candidates", lambda: iter([(str(path),)]))
    return f"{path}: fatal error: no headers"


REASONS = [switched_off] if os.name == "nt" else [switched_off, no_compiler, failing_compiler]
"""On Windows gpunet looks for no compiler."""


@pytest.fixture(params=REASONS)
def reason(request, monkeypatch, tmp_path):
    """Why there are no native kernels."""
    monkeypatch.setenv("GPUNET_CACHE", str(tmp_path))
    return request.param(monkeypatch, tmp_path)


def trainer(executor):
    return gn.Trainer(gn.MLP([5, 8, 3], dropout=0.2, seed=0), executor=executor)


def test_auto_trains_by_numpy_without_a_warning_and_explain_says_so(reason):
    automatic, numpy = trainer("auto"), trainer("numpy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for one in (automatic, numpy):
            one.fit(X, Y, epochs=3, batch_size=20)
            one.step(X, Y)
    np.testing.assert_array_equal(automatic.model.store.params, numpy.model.store.params)
    said = automatic.explain().executor
    assert said.startswith("numpy: each node is a NumPy call; no native kernels: ")
    assert reason in said
    np.testing.assert_array_equal(automatic.model.outputs(X), automatic.model.forward(X))


def test_the_native_executor_raises_the_reason_and_changes_nothing(reason):
    one = trainer("native")
    one.attach()
    before = one.model.store.params.copy()
    for train in (lambda: one.fit(X, Y, epochs=1), lambda: one.step(X, Y)):
        with pytest.raises(DeviceError, match=r"^native: ") as caught:
            train()
        assert reason in str(caught.value)
    np.testing.assert_array_equal(one.model.store.params, before)
    assert one.optimizer.steps == 0


def test_info_reports_the_reason(reason):
    shown = CliRunner().invoke(main, ["info"], catch_exceptions=False).stdout
    (line,) = (line for line in shown.splitlines() if line.startswith("native"))
    assert line.startswith("native   not usable: ")
    assert reason in line


def test_importing_gpunet_compiles_nothing_and_does_not_look_for_a_blas_library(tmp_path):
    code = (
        "import subprocess, sys\n"
        "subprocess.Popen = subprocess.run = None\n"
        "import gpunet\n"
        "gpunet.MLP([5, 3]); gpunet.Trainer(gpunet.MLP([5, 3]))\n"
        "print(sorted({'threadpoolctl', 'ziglang', 'gpunet.simulator.compiler'} & sys.modules.keys()))"
    )
    environment = os.environ | {"GPUNET_CACHE": str(tmp_path / "cache"), "GPUNET_DEVICE": "cpu", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout == "[]\n", done.stderr
    assert not (tmp_path / "cache").exists()

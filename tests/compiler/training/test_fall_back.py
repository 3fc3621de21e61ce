"""The fallback of a step whose native kernels do not compile."""

import numpy as np
import pytest

import gpunet as gn
from gpunet.errors import CompileError, StateError
from gpunet.training.step import host

X = np.random.default_rng(0).standard_normal((40, 5)).astype(np.float32)
Y = np.arange(40) % 3


@pytest.fixture
def broken_compiler(monkeypatch):
    def fail(nodes):
        raise CompileError("kernels/cpu/optimizers.cpp does not compile: error: no such flag")

    monkeypatch.setattr(host.native, "Program", fail)


def test_a_kernel_that_does_not_compile_falls_back_to_numpy_with_the_compilers_message(broken_compiler):
    trainer, other = gn.Trainer(gn.MLP([5, 8, 3])), gn.Trainer(gn.MLP([5, 8, 3]), executor="numpy")
    with pytest.warns(gn.errors.GpunetWarning, match="falling back to NumPy steps: .*no such flag"):
        losses = [float(trainer.step(X, Y)) for _ in range(3)]
    assert losses == [float(other.step(X, Y)) for _ in range(3)]
    assert trainer.explain().executor.startswith("numpy")


def test_an_explicit_native_executor_that_does_not_compile_is_an_error(broken_compiler):
    with pytest.raises(StateError, match=r"executor .native. cannot run the training step: .*no such flag"):
        gn.Trainer(gn.MLP([5, 8, 3]), executor="native").step(X, Y)

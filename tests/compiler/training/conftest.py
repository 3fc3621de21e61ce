"""Fixtures for trainings with native nodes."""

from functools import partial

import pytest
from native_steps import use_threads

from gpunet.native import why_unavailable


@pytest.fixture
def native_cpu(monkeypatch):
    """The CPU with native kernels; skips where they cannot be compiled."""
    if reason := why_unavailable():
        pytest.skip(reason)
    monkeypatch.setenv("GPUNET_DEVICE", "cpu")


@pytest.fixture
def several_threads(monkeypatch):
    """Return a function that sets the number of threads for programs of any size."""
    return partial(use_threads, monkeypatch)

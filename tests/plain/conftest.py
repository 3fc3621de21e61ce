"""The tests in this folder compute on the CPU, also on a machine with a GPU."""

import pytest


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setenv("GPUNET_DEVICE", "cpu")

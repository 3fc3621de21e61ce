"""The tests in this folder compute on the CPU, also on a machine with a GPU, and receive Ctrl-C."""

import signal

import pytest

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell starts background jobs with Ctrl-C ignored


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setenv("GPUNET_DEVICE", "cpu")

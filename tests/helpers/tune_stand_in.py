"""A GPU, the stand-in for CuPy, on which `gpunet tune` finds kernels that compute and take a time that a test sets."""

import sys
from types import SimpleNamespace

import cupy_stand_in
import pytest

from gpunet import device as shim
from gpunet.bench import timing
from gpunet.bench import tune as tuning
from gpunet.bench.tune import Choice


@pytest.fixture
def gpu(monkeypatch):
    """Return what the ways to run a product do: `seconds` a call, else 10; those that are `wrong` compute nothing."""
    gpu = SimpleNamespace(seconds={}, wrong=set(), now=0.0)

    def run_plan(plan, a, b, c, *, tape, xp):
        name = str(Choice(plan.tile, plan.splits))
        gpu.now += gpu.seconds.get(name, 10.0)
        if name not in gpu.wrong:
            xp.matmul(a, b, out=c)

    monkeypatch.setattr(tuning, "run_plan", run_plan)
    monkeypatch.setattr(timing, "ROUNDS", (2, 2))
    monkeypatch.setitem(sys.modules, "cupy", cupy_stand_in)
    monkeypatch.setattr(cupy_stand_in.cuda, "clock", lambda: gpu.now)
    caches = shim._cuda_device, shim._auto
    for cached in caches:
        cached.cache_clear()
    yield gpu
    for cached in caches:
        cached.cache_clear()

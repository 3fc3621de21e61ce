"""A fake GPU for `gpunet tune`: a test sets the times of its kernels, and which of them are wrong."""

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
    """Yield the fake GPU: `seconds` per call by choice (10 by default); choices in `wrong` compute nothing."""
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

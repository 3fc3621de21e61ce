"""Make benchmarks fast, with few short rounds and small ceilings; their times are meaningless."""

import pytest

from gpunet.bench import ceilings, timing


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(timing, "ROUNDS", (2, 3))
    monkeypatch.setattr(timing, "MIN_SECONDS", 1e-5)
    monkeypatch.setattr(ceilings, "COPY_BYTES", {"cpu": 2**16, "cuda": 2**16})
    monkeypatch.setattr(ceilings, "GEMM_SIZE", {"cpu": 64, "cuda": 64})

"""What the benchmarks share: one BLAS thread, rounds in turns, and a table of the figures beside their limits."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

if TYPE_CHECKING:
    import gpunet as gn

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "GPUNET_THREADS",
)
os.environ.update(dict.fromkeys(THREADS, "1"))  # a BLAS reads them once, when NumPy is imported

Row = tuple[str, str, str, str, str, str]
ROWS = pytest.StashKey[list[Row]]()
HEAD: Row = ("", "gpunet", "against", "median (quartiles)", "limit", "")


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread() -> None:
    """Make sure that a matrix product really keeps no more than one core busy."""
    import numpy as np

    a = np.ones((1500, 1500), np.float32)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(3):
        a @ a
    cores = (time.process_time() - cpu) / (time.perf_counter() - wall)
    if cores > 1.3:
        pytest.exit(f"BLAS runs on {cores:.1f} cores: NumPy came in before benchmarks/conftest.py; run them alone.", 1)


class Compare:
    """Times a function against a baseline in turns, and notes the result.

    Each round gives a figure: the ratio of the two times (unit "x") or their difference (unit " ms"). Both see the same
    state of the machine, so the figure drifts less than the times do; its median counts. A figure above its limit is
    shown as that, and fails nothing.
    """

    def __init__(self, benchmark: BenchmarkFixture, rows: list[Row]):
        self.benchmark = benchmark
        self.rows = rows

    def __call__(
        self,
        what: str,
        ours: Callable[[], object],
        baseline: Callable[[], object],
        *,
        rounds: int,
        limit: float | None,
        unit: str = "x",
        steps: int = 1,
    ) -> None:
        """Time `ours` against `baseline`; a round does `steps` steps, and times are per step; None: no limit is set.

        A function that returns a float has timed itself: so many seconds count.
        """
        seconds: dict[Callable[[], object], list[float]] = {ours: [], baseline: []}

        def timed(function: Callable[[], object]) -> None:
            began = time.perf_counter()
            counted = function()
            took = counted if isinstance(counted, float) else time.perf_counter() - began
            seconds[function].append(took / steps)

        ours()  # warm-up
        baseline()
        self.benchmark.pedantic(timed, (ours,), setup=lambda: timed(baseline), rounds=rounds)
        pairs = zip(seconds[ours], seconds[baseline], strict=True)
        figures = [a / b if unit == "x" else (a - b) * 1e3 for a, b in pairs]
        low, figure, high = statistics.quantiles(figures, n=4) if len(figures) > 1 else figures * 3
        verdict = "" if limit is None else "within limit" if figure <= limit else "above limit"
        ms, baseline_ms = (statistics.median(seconds[function]) * 1e3 for function in (ours, baseline))
        self.benchmark.extra_info.update(what=what, ms=ms, baseline_ms=baseline_ms, unit=unit, limit=limit)
        self.benchmark.extra_info.update(figure=figure, low=low, high=high, verdict=verdict)
        spread = f"{figure:.4g}{unit} ({low:.4g} .. {high:.4g})"
        shown = "-" if limit is None else f"{limit:g}{unit}"
        self.rows.append((what, f"{ms:.4g} ms", f"{baseline_ms:.4g} ms", spread, shown, verdict))


@pytest.fixture
def compare(benchmark: BenchmarkFixture, pytestconfig: pytest.Config) -> Compare:
    return Compare(benchmark, pytestconfig.stash.setdefault(ROWS, []))


@pytest.fixture
def gpu() -> Iterator[gn.Device]:
    """Give the GPU; without a usable one the benchmark is skipped with gpunet's words for why."""
    yield from opened("cuda")


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> Iterator[gn.Device]:
    """Give each device in turn, as `gpu` does."""
    yield from opened(request.param)


def opened(spec: str) -> Iterator[gn.Device]:
    import gpunet as gn

    try:
        there = gn.get_device(spec)
    except gn.errors.DeviceError as error:
        pytest.skip(str(error))
    with gn.use_device(there), there.activate():
        yield there


def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    """Say what the figures depend on, as `gpunet bench` does."""
    from gpunet.bench.environment import environment
    from gpunet.device import CPU

    return environment(CPU)


@pytest.hookimpl(trylast=True)  # after pytest-benchmark's own table
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    terminalreporter.section("gpunet and its limits: one thread, rounds in turns")
    for row in (HEAD, *rows):
        terminalreporter.line("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())

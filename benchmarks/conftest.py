"""Shared by all benchmarks: one BLAS thread, interleaved rounds, and a table of results and limits."""

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
os.environ.update(dict.fromkeys(THREADS, "1"))  # a BLAS reads them only once, when NumPy is imported

Row = tuple[str, str, str, str, str, str]
ROWS = pytest.StashKey[list[Row]]()
HEAD: Row = ("", "gpunet", "baseline", "median (quartiles)", "limit", "")


@pytest.fixture(scope="session", autouse=True)
def one_blas_thread() -> None:
    """Check that a matrix product keeps no more than one core busy."""
    import numpy as np

    a = np.ones((1500, 1500), np.float32)
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(3):
        a @ a
    cores = (time.process_time() - cpu) / (time.perf_counter() - wall)
    if cores > 1.3:
        pytest.exit(
            f"BLAS uses {cores:.1f} cores: NumPy was imported before this conftest.py; run only benchmarks/.", 1
        )


class Compare:
    """Times a function and a baseline in interleaved rounds, and adds a row to the table.

    Each round gives the ratio of the two times (unit "x") or their difference (unit " ms"). It varies less than the
    times themselves, because both functions see the same state of the machine. The median of the rounds is compared
    with the limit; the table marks a median above it, but the benchmark does not fail.
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
        """Time `ours` against `baseline`.

        Args:
            what: the name of the row.
            ours: runs one round of gpunet. If it returns a float, this is the time of the round in seconds.
            baseline: runs one round of the baseline; like `ours`.
            rounds: the number of rounds.
            limit: the limit of the median; None for no limit.
            unit: "x" for a ratio, " ms" for a difference.
            steps: the steps of a round; times are divided by it.
        """
        seconds: dict[Callable[[], object], list[float]] = {ours: [], baseline: []}

        def timed(function: Callable[[], object]) -> None:
            began = time.perf_counter()
            measured = function()
            taken = measured if isinstance(measured, float) else time.perf_counter() - began
            seconds[function].append(taken / steps)

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
    """Yield the GPU; skip the benchmark with the reason if there is none."""
    yield from opened("cuda")


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> Iterator[gn.Device]:
    """Yield each device; skip those that are not usable."""
    yield from opened(request.param)


def opened(spec: str) -> Iterator[gn.Device]:
    import gpunet as gn

    try:
        device = gn.get_device(spec)
    except gn.errors.DeviceError as error:
        pytest.skip(str(error))
    with gn.use_device(device), device.activate():
        yield device


def pytest_benchmark_generate_machine_info(config: pytest.Config) -> dict[str, Any]:
    """Return the environment that `gpunet bench` records."""
    from gpunet.bench.environment import environment
    from gpunet.device import CPU

    return environment(CPU)


@pytest.hookimpl(trylast=True)  # after pytest-benchmark's own table
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    widths = [max(map(len, column)) for column in zip(HEAD, *rows, strict=True)]
    terminalreporter.section("gpunet and its limits: one thread, interleaved rounds")
    for row in (HEAD, *rows):
        terminalreporter.line("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())

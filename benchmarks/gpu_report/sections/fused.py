"""Compare the fused kernels with array code: bias and activation, then all others."""

from __future__ import annotations

from collections.abc import Iterator

from benchmarks.gpu_report.cases import cases
from benchmarks.gpu_report.section import Row, Section, Setup, cases_of, measure_cases, show_cases

BIAS_ACTIVATION = ("128", "256x512", "1024", "4096", "16384x4096")
OTHERS = {
    "softmax-cross-entropy": ("128x10", "4096x1000"),
    "optimizer": ("101770", "10000000"),
    "linear": ("128x784x128", "1024"),
}
ROWS_AND_COLUMNS = (128, 128), (4096, 4096)


def measure_bias_activation(setup: Setup) -> Iterator[list[Row]]:
    """Measure bias and activation, forward and backward."""
    return measure_cases(setup, cases_of("bias-activation", ["20"] if setup.simulated else BIAS_ACTIVATION))


def measure_others(setup: Setup) -> Iterator[list[Row]]:
    """Measure the other operations of `gpunet bench`, then the kernels that it does not cover."""
    for op, sizes in OTHERS.items():
        yield from measure_cases(setup, cases_of(op, ["12"] if setup.simulated else sizes))
    for size in ((20, 12),) if setup.simulated else ROWS_AND_COLUMNS:
        yield from measure_cases(setup, cases(*size))


BIAS = Section("Bias and activation", 25, measure_bias_activation, show_cases)
OTHER = Section("The other kernels", 40, measure_others, show_cases)

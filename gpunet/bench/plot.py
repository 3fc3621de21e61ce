"""Plot results: the roofline of a device, and speed over size."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gpunet import figures
from gpunet.bench.results import Report, Row
from gpunet.errors import MissingPackageError

SHOWN = {"mma": "mma (TF32)", "mma3": "mma3 (3xTF32)"}
"""Names of tensor-core kernels in legends, which name their arithmetic; other kernels have their own names there."""


def check_matplotlib() -> None:
    """Raise `MissingPackageError` if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise MissingPackageError("--plot needs matplotlib: pip install 'matplotlib>=3.8'")


def plot(report: Report, stem: Path) -> list[Path]:
    """Write `stem`-roofline.png and, with more than one size, `stem`-sizes.png; return their paths.

    A report without times is not plotted.
    """
    rows = [row for row in report.rows if row.seconds]
    if not rows:
        return []
    drawn = [_roofline(report, rows, stem.with_name(f"{stem.name}-roofline.png"))]
    if len({row.size for row in rows}) > 1:
        drawn.append(_sizes(report, rows, stem.with_name(f"{stem.name}-sizes.png")))
    return drawn


def _roofline(report: Report, rows: list[Row], path: Path) -> Path:
    """Plot FLOP/s over FLOPs per byte, below the measured ceilings; a line per kernel, labelled with the sizes.

    Kernels on tensor cores may exceed the ceiling, which is that of the library's product in the dtype of the rows.
    """
    figure = figures.empty(9, 5)
    axes = figure.subplots()
    ceilings = report.ceilings
    assert ceilings is not None
    prefix, unit = ("T", 1e12) if ceilings.flops_per_second >= 1e12 else ("G", 1e9)
    intensities = [row.flops / row.nbytes for row in rows]
    knee = ceilings.flops_per_second / ceilings.bytes_per_second
    span = np.geomspace(min(*intensities, knee) / 2, max(*intensities, knee) * 2, 200)
    roof = np.minimum(ceilings.flops_per_second, span * ceilings.bytes_per_second)
    flops, copied = ceilings.flops_per_second / unit, ceilings.bytes_per_second / 1e9
    label = f"ceilings:\n{flops:,.3g} {prefix}FLOP/s (library, {rows[0].dtype})\n{copied:,.0f} GB/s (copy)"
    axes.plot(span, roof / unit, color="black", label=label)
    highest: dict[str, tuple[float, float]] = {}
    for label, of_label in _series(rows).items():
        points = sorted(
            (row.flops / row.nbytes, row.flops / row.seconds.median / unit, row.size) for row in of_label if row.seconds
        )
        axes.plot([x for x, _, _ in points], [y for _, y, _ in points], marker="o", label=label)
        for x, y, size in points:
            highest[size] = max(highest.get(size, (x, 0.0)), (x, y))
    if len({x for x, _ in highest.values()}) == len(highest):  # else the labels would cover each other
        for size, point in highest.items():
            axes.annotate(_short(size), point, (0, 7), textcoords="offset points", ha="center", fontsize="small")
    axes.set(xscale="log", yscale="log", xlabel="FLOPs per byte", ylabel=f"{prefix}FLOP/s", title=_title(report, rows))
    axes.margins(y=0.1)  # room for the labels
    for axis in (axes.xaxis, axes.yaxis):
        figures.plain_ticks(axis, 2, 5)
    return _save(figure, axes, path)


def _sizes(report: Report, rows: list[Row], path: Path) -> Path:
    """Plot the speed of each kernel over the sizes, in their order."""
    figure = figures.empty(9, 5)
    axes = figure.subplots()
    prefix, unit = ("T", 1e12) if max(row.speed or 0 for row in rows) >= 1e12 else ("G", 1e9)
    for label, of_label in _series(rows).items():
        speeds = [(row.speed or 0) / unit for row in of_label]
        axes.plot([_short(row.size) for row in of_label], speeds, marker="o", label=label)
    axes.set(ylim=(0, None), xlabel="size", ylabel=f"{prefix}{rows[0].unit}", title=_title(report, rows))
    return _save(figure, axes, path)


def _series(rows: list[Row]) -> dict[str, list[Row]]:
    """Return the rows by kernel, and by variant and state of the cache if there are several."""
    varying = [name for name in ("variant", "cache") if len({getattr(row, name) for row in rows}) > 1]
    series: dict[str, list[Row]] = {}
    for row in rows:
        series.setdefault(
            " ".join([SHOWN.get(row.kernel, row.kernel), *(getattr(row, name) for name in varying)]), []
        ).append(row)
    return series


def _short(size: str) -> str:
    """Return 4096 for 4096x4096x4096, other sizes unchanged."""
    numbers = size.split("x")
    return numbers[0] if len(numbers) > 2 and len({*numbers}) == 1 else size


def _title(report: Report, rows: list[Row]) -> str:
    known = report.environment
    return f"{rows[0].op}, {rows[0].dtype}, {known.get('gpu') or known['cpu']}"


def _save(figure: Any, axes: Any, path: Path) -> Path:
    figures.grid(axes)
    figure.legend(loc="outside right upper")
    figure.savefig(path, format="png")
    return path

"""Plots of results: the roofline of a device, and speed over size."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.bench.results import Report, Row
from gpunet.errors import MissingPackageError


def check_matplotlib() -> None:
    """Raise `MissingPackageError` if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise MissingPackageError("--plot needs matplotlib: pip install 'matplotlib>=3.8'")


def plot(report: Report, stem: Path) -> list[Path]:
    """Plot a report.

    Args:
        report: the results; without times nothing is plotted.
        stem: the beginning of the file names.

    Returns:
        The files: `stem`-roofline.png and, with more than one size, `stem`-sizes.png.
    """
    rows = [row for row in report.rows if row.seconds]
    if not rows:
        return []
    drawn = [_roofline(report, rows, stem.with_name(f"{stem.name}-roofline.png"))]
    if len({row.size for row in rows}) > 1:
        drawn.append(_sizes(rows, stem.with_name(f"{stem.name}-sizes.png")))
    return drawn


def _roofline(report: Report, rows: list[Row], path: Path) -> Path:
    """Plot FLOP/s over FLOPs per byte, below the measured ceilings."""
    figure, axes = _figure()
    ceilings = report.ceilings
    assert ceilings is not None
    intensities = [row.flops / row.nbytes for row in rows]
    knee = ceilings.flops_per_second / ceilings.bytes_per_second
    span = np.geomspace(min(*intensities, knee) / 2, max(*intensities, knee) * 2, 200)
    roof = np.minimum(ceilings.flops_per_second, span * ceilings.bytes_per_second)
    axes.plot(span, roof / 1e9, color="black", label="measured ceilings")
    for label, of_label in _series(rows).items():
        speeds = [row.flops / row.seconds.median / 1e9 for row in of_label if row.seconds]
        axes.plot([row.flops / row.nbytes for row in of_label], speeds, marker="o", linestyle="", label=label)
    axes.set(xscale="log", yscale="log", xlabel="FLOPs per byte", ylabel="GFLOP/s", title=_title(report, rows))
    return _save(figure, axes, path)


def _sizes(rows: list[Row], path: Path) -> Path:
    """Plot the speed of each kernel over the sizes, in their order."""
    figure, axes = _figure()
    for label, of_label in _series(rows).items():
        axes.plot([row.size for row in of_label], [(row.speed or 0) / 1e9 for row in of_label], marker="o", label=label)
    axes.set(ylim=(0, None), ylabel=f"G{rows[0].unit}", title=rows[0].op)
    return _save(figure, axes, path)


def _series(rows: list[Row]) -> dict[str, list[Row]]:
    """Return the rows by kernel, variant and state of the cache."""
    series: dict[str, list[Row]] = {}
    for row in rows:
        series.setdefault(" ".join(filter(None, (row.kernel, row.variant, row.cache))), []).append(row)
    return series


def _title(report: Report, rows: list[Row]) -> str:
    known = report.environment
    return f"{rows[0].op}, {rows[0].dtype}, {known.get('gpu') or known['cpu']}"


def _figure() -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    return figure, figure.subplots()


def _save(figure: Any, axes: Any, path: Path) -> Path:
    axes.legend(fontsize="small")
    figure.savefig(path, format="png")
    return path

"""Plot a report: roofline and speeds of the matrix product kernels, and the training step of all frameworks."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpunet import figures
from gpunet.bench.ceilings import Ceilings
from gpunet.bench.plot import plot
from gpunet.bench.results import Report, Row
from gpunet.formats import read_as


def draw(report: Mapping[str, Any], folder: Path) -> None:
    """Plot the timed sections, if matplotlib is installed."""
    if find_spec("matplotlib") is None:
        return
    machine = {key: row[key] for row in report["sections"]["machine"]["rows"] for key in row}
    rows = [read_as(Row, row) for row in report["sections"]["squares"]["rows"]]
    plain = [row for row in rows if (row.variant, row.cache) == ("NN", "warm")]
    if plain and machine.get("ceilings"):
        plot(Report(machine["environment"], Ceilings(**machine["ceilings"]), plain), folder / "matmul")
    nets = [row for row in report["sections"]["peers"]["rows"] if any("step" in peer for peer in row.get("rows", ()))]
    if nets:
        _peers(nets, folder / "peers.png")


def _peers(nets: list[Any], path: Path) -> None:
    """Plot the microseconds of a step, with one bar chart for each network."""
    figure = figures.empty(5 * len(nets), 4)
    for axes, net in zip(figure.subplots(1, len(nets), squeeze=False)[0], nets, strict=True):
        timed = sorted((peer for peer in net["rows"] if "step" in peer), key=lambda peer: -peer["step"][1])
        names = [peer["name"] for peer in timed]
        colors = ["C0" if name.startswith("gpunet") else "C7" for name in names]
        bars = axes.barh(names, [1e6 * peer["step"][1] for peer in timed], color=colors)
        axes.bar_label(bars, fmt="{:,.0f}", padding=3)
        layers, _, batch = net["net"].partition("/")
        axes.set(title=f"{layers}, batch {batch}", xlabel="µs per step", xscale="log")
        axes.margins(x=0.2)
        figures.plain_ticks(axes.xaxis)
        figures.grid(axes)
    figure.savefig(path, format="png")

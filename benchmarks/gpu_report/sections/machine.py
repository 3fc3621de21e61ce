"""Record the machine, and measure its ceilings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from benchmarks.gpu_report.section import Row, Section, Setup, markdown_table
from gpunet.bench.environment import environment
from gpunet.device import get_device


def measure(setup: Setup) -> Iterator[list[Row]]:
    """Yield the environment, then the ceilings."""
    machine = environment(get_device(setup.device))
    yield [{"environment": machine | ({"commit": setup.commit} if setup.commit else {}), "fault": ""}]
    _, ceilings = setup.open()
    if ceilings:
        yield [{"ceilings": asdict(ceilings), "fault": ""}]


def show(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table of the environment and the ceilings."""
    values = {key: value for row in rows for key, value in (row.get("environment") or row["ceilings"]).items()}
    for name, scale, unit in (("bytes_per_second", 1e9, "GB/s"), ("flops_per_second", 1e9, "GFLOP/s")):
        if name in values:
            values[name] = f"{values[name] / scale:,.0f} {unit}"
    yield from markdown_table(("", ""), values.items())


SECTION = Section("The machine and its ceilings", 20, measure, show)

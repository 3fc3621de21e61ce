"""Time all tiles of `gpunet tune` for products whose default tile may not be the fastest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

from benchmarks.gpu_report.section import Row, Section, Setup, markdown_table
from gpunet.bench.measure import clock_of
from gpunet.bench.table import time_text
from gpunet.bench.timing import Spread, ratios
from gpunet.bench.tune import Result, tune
from gpunet.ops.tiles import FLOAT32
from gpunet.ops.tuned import Product

PRODUCTS = (
    *(Product(size, size, size, layout, FLOAT32) for size in (4096, 2048) for layout in ("NN", "NT", "TN")),
    Product(784, 512, 256, "TN", FLOAT32),
)
SMALL = (Product(16, 16, 16, "TN", FLOAT32),)
SHOWN = 3
"""The number of tiles of a product in the table; report.json has all."""


def measure(setup: Setup) -> Iterator[list[Row]]:
    """Yield the finding of one product at a time."""
    device, _ = setup.open()
    clock = None if setup.simulated else clock_of(device)
    for result in tune(SMALL if setup.simulated else PRODUCTS, device, clock):
        yield [finding(result)]


def finding(result: Result) -> Row:
    """Return the spread of each choice and of "blas", the fastest first, and the speedup of the fastest."""
    spreads = {name: asdict(Spread.of(times)) for name, times in result.times.items()}
    default, best = next(iter(result.choices)), result.best
    speedup = ratios(result.times[best], result.times[default]).median if best and default in result.times else None
    return {
        "product": str(result.product),
        "default": default,
        "tried": len(result.choices),
        "seconds": dict(sorted(spreads.items(), key=lambda item: item[1]["median"])),
        "speedup": speedup,
        "fault": "; ".join(f"{name}: {fault}" for name, fault in result.faults.items()),
    }


def show(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the table: the default tile, cuBLAS and the fastest tiles of each product."""
    yield from markdown_table(("product", "default", "fastest", "speedup", "cuBLAS"), map(_cells, rows))


def _cells(row: Row) -> tuple[object, ...]:
    times = {name: time_text(Spread(**spread)) for name, spread in row["seconds"].items()}
    fastest = [f"{name}: {time}" for name, time in times.items() if name != "blas"][:SHOWN]
    speedup = "-" if row["speedup"] is None else f"{row['speedup']:.3g}"
    default = f"{row['default']}: {times.get(row['default'], '-')}"
    return row["product"], default, ", ".join(fastest) or f"{row['tried']} checked", speedup, times.get("blas", "-")


SECTION = Section("Tiles that `gpunet tune` tries", 80, measure, show)

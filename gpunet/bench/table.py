"""Format results as a text table, one line per kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gpunet.bench.results import Row
from gpunet.bench.timing import Spread

TIMED = {
    "size": 16,
    "variant": 13,
    "kernel": 15,
    "time (quartiles)": 30,
    "speed": 13,
    "ceiling": 7,
    "error": 7,
    "x library (quartiles)": 24,
    "tile/splits": 0,
}
BYTES = dict.fromkeys(("global read", "global write", "shared read", "shared write", "FLOPs"), 12)
COUNTED = {"size": 16, "variant": 9, "kernel": 15, "launches": 8, "barriers": 8} | BYTES | {"tile/splits": 0}
"""Columns and widths of two tables: times, and counts on the simulated GPU (bytes and FLOPs)."""


def lines(rows: Sequence[Row], *, head: bool, counted: bool) -> Iterator[str]:
    """Yield the lines of a table, the column names first if `head`.

    Args:
        counted: whether the rows are counts of the simulated GPU, not times.
    """
    columns = COUNTED if counted else TIMED
    widths = list(columns.values())
    if head:
        yield _line(list(columns), widths)
    for row in rows:
        begin = row.size, f"{row.variant} {row.cache}", row.kernel
        if row.fault:
            yield f"{_line(begin, widths)}  WRONG: {row.fault}"
        else:
            yield _line((*begin, *(_counts(row) if counted else _times(row)), row.tiles), widths)


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=False)).rstrip()


def _times(row: Row) -> Iterator[str]:
    assert row.seconds is not None
    assert row.of_ceiling is not None
    yield time_text(row.seconds)
    yield f"{(row.speed or 0) / 1e9:,.4g} {'GFLOP/s' if row.unit == 'FLOP/s' else 'GB/s'}"
    yield f"{row.of_ceiling:.1%}"
    yield "-" if row.error is None else f"{row.error:.0e}"
    yield f"{row.speedup.median:.3g} ({row.speedup.low:.3g} .. {row.speedup.high:.3g})" if row.speedup else "-"


def _counts(row: Row) -> Iterator[str]:
    c = row.counts
    if c is None:
        yield from ("-",) * 6
    else:
        yield from (f"{c.launches:,}", f"{c.barriers:,}", f"{c.global_bytes_read:,}", f"{c.global_bytes_written:,}")
        yield from (f"{c.shared_bytes_read:,}", f"{c.shared_bytes_written:,}")
    yield f"{row.flops:,}"


def time_text(seconds: Spread) -> str:
    """Return a time with its quartiles, in a suitable unit."""
    scale, unit = next(
        (scale, unit)
        for scale, unit in ((1, "s"), (1e3, "ms"), (1e6, "µs"))
        if seconds.median * scale >= 1 or unit == "µs"
    )
    median, low, high = (f"{value * scale:.4g}" for value in (seconds.median, seconds.low, seconds.high))
    return f"{median} {unit} ({low} .. {high})"

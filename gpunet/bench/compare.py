"""Compare two result files: ratios of times, and which differences exceed the spread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple

from gpunet.bench.results import Report, Row
from gpunet.bench.timing import Spread

SAME = ("cpu", "gpu", "device", "blas", "numpy", "cupy", "tf32", "threads")
"""Environment values that should be equal where times are compared."""


def compare(a: Report, b: Report) -> Iterator[str]:
    """Yield, as text, the time in `a` divided by that in `b` for each row of both reports.

    A row is "faster" or "slower" if the quartiles of the two times do not overlap. The ratio to the library in the same
    run is compared too: it is meaningful even if one of the runs had a busier machine.
    """
    for name in SAME:
        if a.environment.get(name) != b.environment.get(name):
            yield f"Different {name}: {a.environment.get(name)}, {b.environment.get(name)}."
    yield "Times in A as multiples of those in B: above 1, B is faster."
    rows, others = ({row.key: row for row in report.rows} for report in (a, b))
    for key, row in rows.items():
        yield _line(key, verdict(row, others[key]) if key in others else "only in A")
    for key in others:
        if key not in rows:
            yield _line(key, "only in B")


def _line(key: tuple[str, ...], text: str) -> str:
    return f"{'  '.join(filter(None, key)):<60}  {text}"


def verdict(a: Row, b: Row) -> str:
    """Return the comparison of a row: correct or wrong, the ratio of the times, the counts."""
    if a.fault or b.fault:
        return f"{'WRONG' if a.fault else 'right'} -> {'WRONG' if b.fault else 'right'}"
    if a.seconds and b.seconds:
        text = f"{a.seconds.median / b.seconds.median:.3f}x  {mark(a.seconds, b.seconds)}"
        if a.speedup and b.speedup:
            change = f"{a.speedup.median:.3g} -> {b.speedup.median:.3g}"
            text += f"; against the library {change}, {mark(b.speedup, a.speedup)}"
        return text
    if a.counts and b.counts:
        same = astuple(a.counts) == astuple(b.counts)
        return "the same counts" if same else f"counts differ: {a.counts} -> {b.counts}"
    return "nothing to compare"


def mark(a: Spread, b: Spread) -> str:
    """Return, as text, whether `b` is outside the spread of `a`."""
    if b.high < a.low:
        return "faster"
    return "slower" if b.low > a.high else "within the spread"

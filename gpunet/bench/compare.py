"""Two result files side by side: ratios, and which of them are beyond the spread."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import astuple

from gpunet.bench.results import Report, Row
from gpunet.bench.timing import Spread

SAME = ("cpu", "gpu", "device", "blas", "numpy", "cupy", "tf32", "threads")
"""What of the environment should be the same where times are compared."""


def compare(a: Report, b: Report) -> Iterator[str]:
    """Yield the lines of a comparison: of each row of both reports, the time in `a` as a multiple of that in `b`.

    It is marked "faster" or "slower" where the quartiles of the two times do not overlap. The ratio to the library of
    the same run comes beside it, likewise marked: it holds also where the machine was busier in one of the runs.
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
    """Return what became of a row: right or wrong, its time as a ratio, its counts."""
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
    """Say whether `b` is beyond the spread of `a`."""
    if b.high < a.low:
        return "faster"
    return "slower" if b.low > a.high else "within the spread"

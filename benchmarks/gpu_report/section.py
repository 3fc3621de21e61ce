"""What a section of the report is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gpunet.bench.case import Case
from gpunet.bench.cases import OPS
from gpunet.bench.ceilings import Ceilings, measure_ceilings
from gpunet.bench.measure import clock_of, measure_case
from gpunet.bench.results import Row as BenchRow
from gpunet.bench.results import read_row
from gpunet.bench.table import lines
from gpunet.device import Device, get_device

CHECKOUT = Path(__file__).parents[2]

Row: TypeAlias = dict[str, Any]
"""A finding, as JSON. "fault" says what is wrong; "" where all is right."""


class Setup(NamedTuple):
    """What a section is given.

    Attributes:
        device: "cuda" or "sim"; on "sim" sizes are tiny and nothing is timed.
        ceilings: what the section "machine" has measured, if it has.
        commit: of the checkout, where it cannot tell.
    """

    device: str
    ceilings: Mapping[str, float] | None = None
    commit: str | None = None

    @property
    def simulated(self) -> bool:
        """Whether there is no GPU."""
        return self.device == "sim"

    def open(self) -> tuple[Device, Ceilings | None]:
        """Return the device and its ceilings, measured now if they were not before; None on the simulated GPU."""
        device = get_device(self.device)
        if self.simulated:
            return device, None
        known = self.ceilings
        return device, Ceilings(**known) if known else measure_ceilings(device, np.dtype(np.float32), clock_of(device))


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: its heading.
        seconds: its share of nine minutes.
        measure: yields findings, some at a time; runs in a process of its own.
        show: yields the lines of Markdown that say what the findings are.
    """

    title: str
    seconds: float
    measure: Callable[[Setup], Iterable[list[Row]]]
    show: Callable[[Sequence[Row]], Iterator[str]]


def measure_cases(setup: Setup, cases: Iterable[Case], kernels: Sequence[str] = ()) -> Iterator[list[Row]]:
    """Yield the findings of `gpunet.bench` about cases, in these kernels or in all that run there."""
    device, ceilings = setup.open()
    for case in cases:
        there = case.kernels_on(device)
        chosen = {name: there[name] for name in there if name in (kernels or there)}
        yield [asdict(row) for row in measure_case(case, chosen, device, ceilings, seconds=0.1)]


def cases_of(op: str, sizes: Iterable[str]) -> Iterator[Case]:
    """Yield the float32 cases of an operation of `gpunet bench`."""
    for size in sizes:
        yield from OPS[op].cases(OPS[op].parse(size), np.dtype(np.float32))


def show_cases(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the table of `gpunet bench`, one for each operation."""
    by_op: dict[str, list[BenchRow]] = {}
    for row in map(read_row, rows):
        by_op.setdefault(row.op, []).append(row)
    for op, of_op in by_op.items():
        yield from (f"{op}, {of_op[0].dtype}:", "", "```")
        yield from lines(of_op, head=True, counted=any(row.counts for row in of_op))
        yield from ("```", "")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"

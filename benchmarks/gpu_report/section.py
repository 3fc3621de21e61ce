"""What a section of the report is."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gpunet.bench.case import Call, Case, Prepare
from gpunet.bench.cases import OPS
from gpunet.bench.ceilings import Ceilings, measure_ceilings
from gpunet.bench.measure import clock_of, measure_case
from gpunet.bench.results import Row as BenchRow
from gpunet.bench.table import lines
from gpunet.device import Device, get_device
from gpunet.formats import read_as

CHECKOUT = Path(__file__).parents[2]

Row: TypeAlias = dict[str, Any]
"""A finding, as JSON. "fault" says what is wrong; "" where all is right."""


class Setup(NamedTuple):
    """What a section is given.

    Attributes:
        device: "cuda" or "sim"; on "sim" sizes are tiny and nothing is timed.
        ceilings: what the section "machine" has measured, if it has.
        commit: of the checkout, where it cannot tell.
        found: what the section has found already, where it starts again after a crash.
    """

    device: str
    ceilings: Mapping[str, float] | None = None
    commit: str | None = None
    found: Sequence[Row] = ()

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
        measure: yields findings, some at a time; runs in a process of its own, and once more where that has ended with
            a finding whose fault begins with `CRASHED`.
        show: yields the lines of Markdown that say what the findings are.
    """

    title: str
    seconds: float
    measure: Callable[[Setup], Iterable[list[Row]]]
    show: Callable[[Sequence[Row]], Iterator[str]]


CRASHED = "crashed: "
"""How the fault of a finding begins after which the process cannot go on, and a new one shall."""


def measure_cases(setup: Setup, cases: Iterable[Case], kernels: Sequence[str] = ()) -> Iterator[list[Row]]:
    """Yield the findings of `gpunet.bench` about cases, in these kernels or in all that run there.

    After an error no more than its kernel is lost: in a new process all cases go on without it.
    """
    device, ceilings = setup.open()
    crashes = [row for row in setup.found if row["fault"].startswith(CRASHED) and row["kernel"]]
    crashed = {(row["op"], row["kernel"]) for row in crashes}
    done = {_place(row) for row in setup.found if row not in crashes}
    tried = [""]

    def noted(name: str, prepare: Prepare, *args: Any, **operands: Any) -> Call:
        tried.append(name)
        return prepare(*args, **operands)

    for case in cases:
        if _place(vars(case)) in done:
            continue
        there = {name: kernel for name, kernel in case.kernels_on(device).items() if (case.op, name) not in crashed}
        chosen = {name: partial(noted, name, there[name]) for name in there if name in (kernels or there)}
        tried[:] = [""]  # no kernel is to blame for what goes wrong before the first
        try:
            yield [asdict(row) for row in measure_case(case, chosen, device, ceilings, seconds=0.1)]
        except Exception as error:
            about = {name: getattr(case, name) for name in ("op", "variant", "size", "flops", "nbytes", "unit")}
            fault = f"{CRASHED}{type(error).__name__}: {error}"
            yield [asdict(BenchRow(**about, dtype=str(case.dtype), kernel=tried[-1], fault=fault))]
            raise


def _place(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["op"], row["variant"], row["size"]


def cases_of(op: str, sizes: Iterable[str]) -> Iterator[Case]:
    """Yield the float32 cases of an operation of `gpunet bench`."""
    for size in sizes:
        yield from OPS[op].cases(OPS[op].parse(size), np.dtype(np.float32))


def show_cases(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the table of `gpunet bench`, one for each operation."""
    by_op: dict[str, list[BenchRow]] = {}
    for row in (read_as(BenchRow, row) for row in rows):
        by_op.setdefault(row.op, []).append(row)
    for op, of_op in by_op.items():
        yield from (f"{op}, {of_op[0].dtype}:", "", "```")
        yield from lines(of_op, head=True, counted=any(row.counts for row in of_op))
        yield from ("```", "")


def run_python(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program, in which Python finds the checkout; stdout also holds what it writes to stderr."""
    path = os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH"))))
    return subprocess.run(
        command,
        cwd=CHECKOUT,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"

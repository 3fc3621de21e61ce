"""The interface of a section, and functions that sections share."""

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
"""A finding, as JSON. "fault" describes what is wrong, or is empty."""


class Setup(NamedTuple):
    """The input of a section.

    Attributes:
        device: "cuda" or "sim"; on "sim", sizes are tiny and nothing is timed.
        ceilings: the ceilings that the section "machine" has measured, if it has completed.
        commit: the commit of a checkout without .git.
        found: the findings so far, when the section resumes after a crash.
    """

    device: str
    ceilings: Mapping[str, float] | None = None
    commit: str | None = None
    found: Sequence[Row] = ()

    @property
    def simulated(self) -> bool:
        """Whether the device is the simulated GPU."""
        return self.device == "sim"

    def open(self) -> tuple[Device, Ceilings | None]:
        """Return the device and its ceilings, measured now if necessary; the ceilings are None on the simulated GPU."""
        device = get_device(self.device)
        if self.simulated:
            return device, None
        if self.ceilings:
            return device, Ceilings(**self.ceilings)
        return device, measure_ceilings(device, np.dtype(np.float32), clock_of(device))


@dataclass(frozen=True)
class Section:
    """A part of the report.

    Attributes:
        title: the heading.
        seconds: its share of the nine minutes.
        measure: yields lists of findings; runs in a separate process, which is restarted if the last finding's fault
            begins with `CRASHED`.
        show: yields the lines of Markdown for the findings.
    """

    title: str
    seconds: float
    measure: Callable[[Setup], Iterable[list[Row]]]
    show: Callable[[Sequence[Row]], Iterator[str]]


CRASHED = "crashed: "
"""First word of a fault after which the section must resume in a new process."""


def measure_cases(setup: Setup, cases: Iterable[Case], kernels: Sequence[str] = ()) -> Iterator[list[Row]]:
    """Yield the results of `gpunet.bench` for cases, with the given kernels or all that the device supports.

    After an error, the section resumes in a new process and skips only the kernel that raised it.
    """
    device, ceilings = setup.open()
    crashes = [row for row in setup.found if row["fault"].startswith(CRASHED) and row["kernel"]]
    crashed = {(row["op"], row["kernel"]) for row in crashes}
    done = {_key(row) for row in setup.found if row not in crashes}
    started = [""]

    def recorded(name: str, prepare: Prepare, *args: Any, **operands: Any) -> Call:
        started.append(name)
        return prepare(*args, **operands)

    for case in cases:
        if _key(vars(case)) in done:
            continue
        usable = {name: kernel for name, kernel in case.kernels_on(device).items() if (case.op, name) not in crashed}
        chosen = {name: partial(recorded, name, usable[name]) for name in usable if name in (kernels or usable)}
        started[:] = [""]  # an error before the first kernel belongs to none
        try:
            yield [asdict(row) for row in measure_case(case, chosen, device, ceilings, seconds=0.1)]
        except Exception as error:
            columns = {name: getattr(case, name) for name in ("op", "variant", "size", "flops", "nbytes", "unit")}
            fault = f"{CRASHED}{type(error).__name__}: {error}"
            yield [asdict(BenchRow(**columns, dtype=str(case.dtype), kernel=started[-1], fault=fault))]
            raise


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return row["op"], row["variant"], row["size"]


def cases_of(op: str, sizes: Iterable[str]) -> Iterator[Case]:
    """Yield the float32 cases of an operation of `gpunet bench`."""
    for size in sizes:
        yield from OPS[op].cases(OPS[op].parse(size), np.dtype(np.float32))


def show_cases(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table like that of `gpunet bench` for each operation."""
    by_op: dict[str, list[BenchRow]] = {}
    for row in (read_as(BenchRow, row) for row in rows):
        by_op.setdefault(row.op, []).append(row)
    for op, of_op in by_op.items():
        yield from (f"{op}, {of_op[0].dtype}:", "", "```")
        yield from lines(of_op, head=True, counted=any(row.counts for row in of_op))
        yield from ("```", "")


def run_python(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a program with the checkout on PYTHONPATH; its stderr is part of stdout."""
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
    """Yield the lines of a Markdown table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"

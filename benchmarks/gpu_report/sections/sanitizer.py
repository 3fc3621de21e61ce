"""Run compute-sanitizer on small cases, to find out-of-bounds accesses and races on the GPU."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Sequence

from benchmarks.gpu_report.section import Row, Section, Setup, run_python

TOOLS = ("memcheck", "racecheck")


def measure(setup: Setup) -> Iterator[list[Row]]:
    """Yield the output of each tool; on the simulated GPU there is none, as all sections run in its check mode."""
    program = shutil.which("compute-sanitizer")
    if program is None:
        yield [{"tool": "compute-sanitizer", "said": "not on PATH", "fault": ""}]
        return
    for tool in TOOLS if not setup.simulated else ():
        options = (f"--tool={tool}", "--error-exitcode=99")
        done = run_python(program, *options, sys.executable, "-m", "benchmarks.gpu_report.small")
        said = done.stdout[-10_000:]
        yield [{"tool": tool, "said": said, "fault": f"exit code {done.returncode}" if done.returncode else ""}]


def show(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the output of each tool."""
    for row in rows:
        yield from (f"{row['tool']} {row['fault']}".strip() + ":", "", "```", row["said"].strip(), "```", "")


SECTION = Section("compute-sanitizer", 30, measure, show)

"""The tests that need a GPU, a process for each file: a fault that no process survives ends only its own."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.gpu_report.section import CHECKOUT, Row, Section, Setup, markdown_table, run_python

FILES = sorted((CHECKOUT / "tests" / "cuda").glob("test_*.py"), key=lambda file: (file.stem == "test_bench", file))
COUNTS = ("tests", "failures", "errors", "skipped")


def measure(setup: Setup) -> Iterator[list[Row]]:
    """Yield the outcome of each file, which run side by side; on the simulated GPU of one, whose tests are skipped."""
    files = FILES[:1] if setup.simulated else FILES
    with ThreadPoolExecutor(len(files)) as pool:
        for found in pool.map(partial(outcome, may_skip=setup.simulated), files):
            yield [found]


def outcome(file: Path, *, may_skip: bool) -> Row:
    """Return how many tests a file has and how many failed, with pytest's text where not all is right."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.xml"
        options = ("-q", "--tb=short", "-p", "no:cacheprovider", f"--junit-xml={result}")
        done = run_python(sys.executable, "-m", "pytest", str(file), *options)
        suite = ElementTree.parse(result).getroot().find("testsuite") if result.exists() else None
    counts = {name: int(suite.get(name, 0)) if suite is not None else 0 for name in COUNTS}
    right = suite is not None and done.returncode == 0 and (may_skip or counts["skipped"] < counts["tests"])
    return {
        "file": file.name,
        **counts,
        "fault": "" if right else f"exit code {done.returncode}\n{done.stdout[-20_000:]}",
    }


def show(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the counts, and the text about what failed."""
    yield from markdown_table(("file", *COUNTS), ([row["file"], *(row[name] for name in COUNTS)] for row in rows))
    for row in rows:
        if row["fault"]:
            yield from ("", f"{row['file']}:", "", "```", row["fault"].strip(), "```")


SECTION = Section("The tests that need a GPU", 80, measure, show)

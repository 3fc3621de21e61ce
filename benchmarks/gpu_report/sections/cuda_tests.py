"""Run the tests that need a GPU, each file in a separate process, so that a sticky CUDA error ends only one file."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.gpu_report.section import CHECKOUT, Row, Section, Setup, markdown_table, run_python

FILES = sorted((CHECKOUT / "tests" / "cuda").glob("test_*.py"), key=lambda f: (f.stem == "test_bench_on_cuda", f))
COUNTS = ("tests", "failures", "errors", "skipped")


def measure(setup: Setup) -> Iterator[list[Row]]:
    """Run all files concurrently and yield their outcomes; without a GPU only one, whose tests are skipped."""
    files = FILES[:1] if setup.simulated else FILES
    with ThreadPoolExecutor(len(files)) as pool:
        for found in pool.map(partial(outcome, may_skip=setup.simulated), files):
            yield [found]


def outcome(file: Path, *, may_skip: bool) -> Row:
    """Run a test file; return its counts, with the output of pytest as the fault if it did not pass."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.xml"
        options = ("-q", "--tb=short", "-p", "no:cacheprovider", f"--junit-xml={result}")
        done = run_python(sys.executable, "-m", "pytest", str(file), *options)
        suite = ElementTree.parse(result).getroot().find("testsuite") if result.exists() else None
    counts = {name: int(suite.get(name, 0)) if suite is not None else 0 for name in COUNTS}
    ok = suite is not None and done.returncode == 0 and (may_skip or counts["skipped"] < counts["tests"])
    return {
        "file": file.name,
        **counts,
        "fault": "" if ok else f"exit code {done.returncode}\n{done.stdout[-20_000:]}",
    }


def show(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the counts, and the output of files that failed."""
    yield from markdown_table(("file", *COUNTS), ([row["file"], *(row[name] for name in COUNTS)] for row in rows))
    for row in rows:
        if row["fault"]:
            yield from ("", f"{row['file']}:", "", "```", row["fault"].strip(), "```")


SECTION = Section("The tests that need a GPU", 80, measure, show)

"""A mutant: a small wrong change of gpunet's sources, and the tests that should notice it.

The tables are the files in mutants/. A block begins with a file and the tests for its mutants; each mutant follows with
the promise that it breaks, its old text, its new text and, if no test can notice it, the reason:

    == kernels/rnn.cu
    compiler/ops/test_recurrent::test_rnn_matches_the_cpu

    the gradient of the next step counts
    - + (recurrent ? recurrent[i] : T(0))
    +
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

ROOT = Path(__file__).parents[2]
TABLES = Path(__file__).with_name("mutants")
COPIED = "gpunet", "kernels", "tests", "pyproject.toml", "README.md"

MOST_SECONDS = 600.0
"""Maximum time of a mutant's tests; one that does not end counts as caught."""

RUNNING: set[int] = set()
"""The process groups of the tests that run now; Ctrl-C does not reach them."""

IN_FLOAT = "not float64"
"""The tests that run for the mutants of kernels, each of which would be compiled for float64 too."""

Outcome = Literal["caught", "survived", "equivalent", "broken"]

NOT_RUN = r"CompileError|SyntaxError|IndentationError|NameError: name"
"""Errors of a mutant that is no program: no test of its behaviour has run."""


class Mutant(NamedTuple):
    """A mutant.

    Attributes:
        name: the promise that it breaks.
        file: the file, from the repository's root on.
        old: text that the file contains exactly once.
        new: the text that replaces it.
        equivalent: why no test can notice it; empty if a test should.
        tests: node ids of pytest, from tests/ on, without the suffix .py: "plain/test_random::test_name".
    """

    name: str
    file: str
    old: str
    new: str
    equivalent: str
    tests: tuple[str, ...]


def read_table(path: Path) -> list[Mutant]:
    """Return the mutants of a file in mutants/."""
    found: list[Mutant] = []
    file, tests = "", ()
    for block in path.read_text(encoding="utf-8").strip().split("\n\n"):
        first, *lines = block.splitlines()
        if first.startswith("== "):
            file, tests = first.removeprefix("== "), tuple(lines)
        else:
            parts = ("\n".join(line[2:] for line in lines if line[0] == sign) for sign in "-+=")
            found.append(Mutant(first, file, *parts, tests))
    return found


class Broken(Exception):
    """A mutant cannot be applied: there is no such file, or its text is not in the file exactly once."""


def mutated(mutant: Mutant, root: Path = ROOT) -> str:
    """Return the text of the mutant's file with its change.

    Raises:
        Broken: the file does not exist, or does not contain the old text exactly once.
    """
    try:
        text = (root / mutant.file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise Broken(f"there is no file {mutant.file}") from None
    if (count := text.count(mutant.old)) != 1:
        raise Broken(f"{mutant.file} contains {mutant.old!r} {count} times, not once")
    return text.replace(mutant.old, mutant.new)


@contextmanager
def copied() -> Iterator[Path]:
    """Copy the sources and tests to a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="gpunet-mutant-") as folder:
        copy = Path(folder)
        for name in COPIED:
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copy / name)  # with the modification times, so that compiled modules are used
            else:
                shutil.copy2(source, copy / name)
        yield copy


def run_tests(
    copy: Path, tests: Iterable[str], kinds: str = "", most_seconds: float | None = None
) -> subprocess.CompletedProcess[str]:
    """Run tests in a copy of the tree until one fails, and kill the processes that they leave behind.

    Args:
        kinds: pytest's option -k.

    Raises:
        subprocess.TimeoutExpired: they take longer than `most_seconds`.
    """
    nodes = [re.sub(r"^([^:]+)", r"tests/\1.py", test) for test in tests]
    options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-k", kinds]
    command = [sys.executable, "-m", "pytest", *options, *nodes]
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    environment = {**own, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=copy, env=environment, process_group=0, **pipes) as process:
        RUNNING.add(process.pid)
        try:
            out, err = process.communicate(timeout=most_seconds)
        finally:
            RUNNING.remove(process.pid)
            kill_group(process.pid)
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def kill_group(group: int) -> None:
    """Kill the processes of a group that still run."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def judge(mutant: Mutant) -> tuple[Outcome, str]:
    """Apply a mutant to a copy of the tree and run its tests; return the outcome, and what shows it."""
    try:
        text = mutated(mutant)
    except Broken as error:
        return "broken", str(error)
    with copied() as copy:
        (copy / mutant.file).write_text(text, encoding="utf-8")
        outcome, shown = _outcome_of_tests(copy, mutant)
    if not mutant.equivalent or outcome == "broken":
        return outcome, shown
    if outcome == "survived":
        return "equivalent", mutant.equivalent
    return "broken", f"it is said to be equivalent, but its tests notice it: {shown}"


def _outcome_of_tests(copy: Path, mutant: Mutant) -> tuple[Outcome, str]:
    """Run the tests of a mutant in a copy with its change; return the outcome, and what shows it."""
    try:
        kinds = IN_FLOAT if mutant.file.startswith("kernels/") else ""
        done = run_tests(copy, mutant.tests, kinds, MOST_SECONDS)
    except subprocess.TimeoutExpired:
        return "caught", f"not done after {MOST_SECONDS:.0f} s"
    if done.returncode == 0:
        return "survived", " ".join(mutant.tests)
    if done.returncode < 0:
        return "caught", f"the tests ended by signal {-done.returncode}"
    failed = re.findall(r"^(?:FAILED|ERROR) (.*)", done.stdout, re.MULTILINE)
    if done.returncode != 1 or not failed or re.search(rf"^E .*({NOT_RUN})", done.stdout, re.MULTILINE):
        return "broken", "\n".join((done.stdout + done.stderr).splitlines()[-15:])
    return "caught", failed[0]

"""Run a spec, which is Python, in a child process with a time limit."""

from __future__ import annotations

import faulthandler
import io
import os
import pickle
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

from gpunet.bench.child import LimitError, call_with_limit
from gpunet.bench.spec import Case, errors_with_line, read_spec
from gpunet.errors import ArgumentError, KernelError

SHOWN = 1_000_000
"""How many bytes a spec may print."""

GRACE = 5.0
"""Seconds that the child has after the limit to write its stack frames and exit."""


def read_spec_in_child(path: Path, macros: Mapping[str, str], limit: float) -> list[Case]:
    """Read a spec like `read_spec`, but in a child process; its prints go to stderr.

    The cases have `left_in_child` in place of the functions in `versus`. A spec that takes longer than `limit` seconds,
    crashes, exits or prints too much raises `ArgumentError`.
    """
    if not path.is_file():
        raise ArgumentError(f"{path}: no such file, or not a regular one.")
    with TemporaryDirectory() as folder:
        trace = Path(folder, "trace")
        try:
            return call_with_limit(limit + GRACE, _read, path, macros, limit, trace)
        except KernelError as error:
            frames = trace.read_text(encoding="utf-8", errors="replace") if trace.exists() else ""
            line = re.search(rf'File "{re.escape(str(path))}", line (\d+)', frames)
            late = isinstance(error, LimitError) or frames.startswith("Timeout")
            what = f"did not end within {limit:g} s; if it is only slow, raise the limit." if late else str(error)
            raise ArgumentError(f"{path}{f':{line[1]}' if line else ''}: {what}") from None


def _read(path: Path, macros: Mapping[str, str], limit: float, trace: Path) -> list[Case]:
    """Read a spec in the child; if it crashes or takes too long, write its stack frames to the file `trace`."""
    show_prints()
    process, leave = os.getpid(), os._exit
    os._exit = lambda status: sys.exit(status) if os.getpid() == process else leave(status)  # SystemExit has a line
    with open(trace, "w", encoding="utf-8") as file, errors_with_line(path, (BaseException,)):
        faulthandler.enable(file)
        faulthandler.dump_traceback_later(limit, exit=True, file=file)
        cases = [_plain(path, case) for case in read_spec(path, macros)]
        faulthandler.cancel_dump_traceback_later()
        faulthandler.disable()
    return cases


def _plain(path: Path, case: Case) -> Case:
    """Return a case that can be pickled."""
    case = case._replace(
        options={name: str(value) for name, value in case.options.items()},
        versus={name: left_in_child if callable(other) else other for name, other in case.versus.items()},
    )
    try:
        pickle.dumps(case)
    except Exception as error:
        raise ArgumentError(f"{path}: inputs must be arrays and numbers: {error}") from error
    return case


def left_in_child(**_: Any) -> Any:
    """Stand for a spec's function in a process that did not run the spec."""
    raise AssertionError("call the function in a process that reads the spec")


class _Shown(io.FileIO):
    """The file of stderr, up to a number of bytes."""

    left = SHOWN

    def write(self, data: Any) -> int:
        self.left -= memoryview(data).nbytes
        if self.left < 0:
            raise RuntimeError(f"printed more than {SHOWN:,} bytes")
        return super().write(data)


def show_prints() -> None:
    """Redirect what this process prints to stderr, up to `SHOWN` bytes."""
    os.dup2(2, 1)
    shown = _Shown(2, "w", closefd=False)
    sys.stdout = sys.stderr = io.TextIOWrapper(
        cast(io.BufferedWriter, shown), "utf-8", "backslashreplace", write_through=True
    )

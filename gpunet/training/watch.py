"""A time limit for C code that may wait forever without returning to Python."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WATCH = """
import os, select, signal, sys
process, seconds, message = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
if not select.select([0], [], [], seconds)[0]:  # standard input ends when the block, or the watched process, does
    print(message, file=sys.stderr, flush=True)
    os.kill(process, signal.SIGTERM)
"""


@contextmanager
def time_limit(seconds: float, message: str) -> Iterator[None]:
    """Print a message and terminate this process if the block takes longer; a process of its own watches it."""
    command = [sys.executable, "-S", "-c", WATCH, str(os.getpid()), str(seconds), message]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as watch:
        assert watch.stdin is not None
        try:
            yield
        finally:
            watch.stdin.close()

"""Locks that the system releases when their process ends, however it ends; advisory, on one machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gpunet.errors import StateError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl


def try_lock(file: int) -> bool:
    """Lock an open file, or on POSIX a folder, until it is closed; return False where another process has the lock."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make a folder where it is missing, and keep other processes from claiming it inside the block.

    A folder that it made and that is empty at the end is removed.

    Raises:
        StateError: another process has claimed it.
        OSError: it cannot be made.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    on_windows = sys.platform == "win32"  # which cannot open folders
    lock = os.open(folder / ".lock" if on_windows else folder, os.O_CREAT | os.O_RDWR if on_windows else os.O_RDONLY)
    try:
        if not try_lock(lock):
            raise StateError(f"{folder}: another process writes into this folder; wait for its end, or name another.")
        yield
    finally:
        os.close(lock)
        with suppress(OSError):
            if on_windows:
                (folder / ".lock").unlink()
            if made:
                folder.rmdir()

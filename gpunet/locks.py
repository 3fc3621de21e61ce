"""Advisory file locks between processes on one machine; the system releases them when a process ends."""

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
    """Lock an open file, or on POSIX a folder, until it is closed; return False if another process has locked it."""
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
    """Lock a folder inside the block against other processes; create it if it is missing.

    A folder that this call created is removed at the end if it is empty.

    Raises:
        StateError: another process has locked the folder.
        OSError: the folder cannot be created.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    on_windows = sys.platform == "win32"  # Windows cannot open a folder: lock a file in it
    lock = os.open(folder / ".lock" if on_windows else folder, os.O_CREAT | os.O_RDWR if on_windows else os.O_RDONLY)
    try:
        if not try_lock(lock):
            raise StateError(
                f"{folder}: another process writes to this folder; wait for it to end, or use another folder."
            )
        yield
    finally:
        os.close(lock)
        with suppress(OSError):
            if on_windows:
                (folder / ".lock").unlink()
            if made:
                folder.rmdir()

"""The bytes of a table's file: plain, packed by gzip, or from standard input; never more than memory holds."""

from __future__ import annotations

import gzip
import io
import os
import sys
import zlib
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import BinaryIO, cast

from gpunet.errors import DataError
from gpunet.files import check_regular

GZIP = b"\x1f\x8b"
MOST_EXPANSION = 200
"""So many times its size may a packed file take when it is unpacked; tables stay below 50."""

UNPACKED_FREELY = 2**26
"""Bytes that a packed file of any size may take."""

READING = 2
"""So many times its size takes the reading of a text of numbers; of other texts more."""

CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Source:
    """A table's file, or standard input as "-", which is kept in memory.

    Attributes:
        name: what an error calls it.
        path: the file.
    """

    path: Path

    @property
    def name(self) -> str:
        return "standard input" if self.is_standard_input else str(self.path)

    @property
    def is_standard_input(self) -> bool:
        return str(self.path) == "-"

    @property
    def _given(self) -> bytes:
        return _read_once(sys.stdin.buffer)

    @cached_property
    def is_packed(self) -> bool:
        """Whether the bytes are gzip's, whatever the file's name."""
        with self._open_raw() as file:
            return file.read(len(GZIP)) == GZIP

    @property
    def size(self) -> int:
        """Bytes of the file as it is."""
        return len(self._given) if self.is_standard_input else self.path.stat().st_size

    @property
    def limit(self) -> int:
        """The most bytes of text that are read from it."""
        most = max(UNPACKED_FREELY, MOST_EXPANSION * self.size) if self.is_packed else sys.maxsize
        return min(most, memory() // READING)

    def open(self) -> BinaryIO:
        """Return the unpacked bytes, from their beginning.

        Raises:
            DataError: the file cannot be read, or takes more than the memory.
        """
        try:
            if not self.is_standard_input:
                check_regular(self.path)
            if self.size > self.limit:
                raise self.too_large()
            if self.is_packed:
                return cast(BinaryIO, gzip.open(io.BytesIO(self._given) if self.is_standard_input else self.path))
            return self._open_raw()
        except OSError as error:
            raise DataError(f"{self.name}: cannot be read ({error.strerror or error}).") from error

    def too_large(self) -> DataError:
        """Return the error for a file whose text is larger than `limit`."""
        if self.is_packed and self.limit < memory() // READING:
            return DataError(
                f"{self.name}: unpacks to more than {MOST_EXPANSION} times its size, as no usual table does; unpack it "
                "yourself if it is right."
            )
        return DataError(
            f"{self.name}: reading it takes more than the memory ({memory() / 2**30:.1f} GiB); take a part of its "
            "rows, or convert it to .npy files, which np.load(path, mmap_mode='r') gives to Trainer.fit."
        )

    def _open_raw(self) -> BinaryIO:
        return io.BytesIO(self._given) if self.is_standard_input else self.path.open("rb")


@lru_cache(maxsize=1)
def _read_once(file: BinaryIO) -> bytes:
    """Return the bytes of standard input, which come once, though `gpunet evaluate` reads them twice."""
    return file.read()


UNPACKING_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)
"""What reading raises where a packed file is cut off or altered."""


def memory() -> int:
    """Return the bytes of this machine's memory, or of its container's; the largest integer where neither is known."""
    limits = [sys.maxsize]
    with suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in CONTAINER_LIMITS:
        with suppress(ValueError, OSError):
            limits.append(int(Path(path).read_text()))
    return min(limits)

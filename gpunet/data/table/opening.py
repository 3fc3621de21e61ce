"""Open the file of a table: plain, gzip-compressed, or standard input; reject what does not fit into memory."""

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
"""Maximum ratio of decompressed to compressed size; that of real tables is below 50."""

UNPACKED_FREELY = 2**26
"""Decompressed bytes that are accepted whatever the ratio is."""

READING = 2
"""Memory to parse a text of numbers, as a multiple of its size; other texts need more."""

CONTAINER_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


@dataclass(frozen=True)
class Source:
    """The file of a table; the path "-" is standard input."""

    path: Path

    @property
    def name(self) -> str:
        """The name for error messages."""
        return "standard input" if self.is_standard_input else str(self.path)

    @property
    def is_standard_input(self) -> bool:
        return str(self.path) == "-"

    @property
    def _given(self) -> bytes:
        return _read_once(sys.stdin.buffer)

    @cached_property
    def is_packed(self) -> bool:
        """Whether the content is gzip-compressed, whatever the file name is."""
        with self._open_raw() as file:
            return file.read(len(GZIP)) == GZIP

    @property
    def size(self) -> int:
        """Bytes of the file, compressed or not."""
        return len(self._given) if self.is_standard_input else self.path.stat().st_size

    @property
    def limit(self) -> int:
        """Maximum number of decompressed bytes that are read."""
        most = max(UNPACKED_FREELY, MOST_EXPANSION * self.size) if self.is_packed else sys.maxsize
        return min(most, memory() // READING)

    def open(self) -> BinaryIO:
        """Return the decompressed bytes as a binary file."""
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
        """Return the error for a file with more than `limit` bytes."""
        if self.is_packed and self.limit < memory() // READING:
            return DataError(
                f"{self.name}: decompresses to more than {MOST_EXPANSION} times its size, unlike real tables; "
                "decompress it yourself if this is right."
            )
        return DataError(
            f"{self.name}: does not fit into memory ({memory() / 2**30:.1f} GiB); use a part of its rows, or convert "
            "it to .npy files and pass np.load(path, mmap_mode='r') to Trainer.fit."
        )

    def _open_raw(self) -> BinaryIO:
        return io.BytesIO(self._given) if self.is_standard_input else self.path.open("rb")


@lru_cache(maxsize=1)
def _read_once(file: BinaryIO) -> bytes:
    """Return the bytes of standard input, kept because `gpunet evaluate` reads them twice."""
    return file.read()


UNPACKING_ERRORS = (gzip.BadGzipFile, EOFError, zlib.error)
"""What reading a truncated or corrupt gzip file raises."""


def memory() -> int:
    """Return the bytes of memory of the machine or its container; the largest integer if both are unknown."""
    limits = [sys.maxsize]
    with suppress(AttributeError, ValueError, OSError):  # Windows has no sysconf
        limits.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    for path in CONTAINER_LIMITS:
        with suppress(ValueError, OSError):
            limits.append(int(Path(path).read_text()))
    return min(limits)

"""Read memory-mapped arrays on demand and release their pages, so that resident memory stays bounded."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

BLOCK = 2**23
"""Bytes of rows in one block of an iteration over all rows."""

MAX_RESIDENT = 2**26
"""Maximum resident bytes of the mapped files; above it the process releases all their pages."""

PAGE = 2**21
"""Bytes that the system may map to read a single byte: a huge page."""


def is_mapped(*arrays: Any) -> bool:
    """Return whether one of these is a memory-mapped array with rows."""
    return any(isinstance(a, np.memmap) and a.ndim for a in arrays)


class MappedRows:
    """Selected rows of arrays, some of them memory-mapped; iteration yields copies of these rows in blocks.

    Args:
        arrays: arrays with the same number of rows.
        rows: the indices of the selected rows; by default all.
    """

    def __init__(self, arrays: Sequence[np.ndarray], rows: np.ndarray | None = None):
        self._arrays = [np.asarray(a) for a in arrays]
        self._rows = np.arange(len(arrays[0])) if rows is None else rows
        # a copy-on-write map ("c") is never released, as it would lose its changes
        self._maps = [a for a in arrays if isinstance(a, np.memmap) and a.mode != "c"]
        self._bytes_of_row = sum(a[:1].nbytes for a in self._arrays)
        self._resident = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the first array's selected rows."""
        return len(self._rows), *self._arrays[0].shape[1:]

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        size = max(BLOCK // max(self._bytes_of_row, 1), 1)
        for start in range(0, max(len(self._rows), 1), size):  # an empty block if there are no rows
            yield self.take(slice(start, start + size))

    def take(self, chosen: slice | np.ndarray) -> list[np.ndarray]:
        """Return a copy of each array's rows at `chosen`, an index into the selected rows."""
        rows = self._rows[chosen]
        at_once = len(rows) < 2 or self._max_mapped(rows) <= MAX_RESIDENT
        size = len(rows) if at_once else max(MAX_RESIDENT // (self._bytes_of_row + PAGE), 1)
        copies = [np.empty((len(rows), *a.shape[1:]), a.dtype) for a in self._arrays]
        for start in range(0, len(rows), max(size, 1)):
            block = rows[start : start + size]
            self._make_room(self._max_mapped(block))
            for a, copy in zip(self._arrays, copies, strict=True):
                copy[start : start + size] = a[block]
        return copies

    def _max_mapped(self, rows: np.ndarray) -> int:
        """Return the maximum number of bytes that reading these rows maps."""
        scattered = len(rows) * (self._bytes_of_row + PAGE)
        contiguous = int(rows.max() - rows.min() + 1) * self._bytes_of_row + PAGE
        return min(scattered, contiguous)

    def _make_room(self, mapped_bytes: int) -> None:
        """Release all pages read so far if `mapped_bytes` more would exceed `MAX_RESIDENT`."""
        self._resident += mapped_bytes
        if self._resident <= MAX_RESIDENT:
            return
        self._resident = mapped_bytes
        for a in self._maps:
            mapped: Any = vars(a).get("_mmap")  # NumPy has no public name for it
            if hasattr(mapped, "madvise"):  # not on Windows
                mapped.madvise(mmap.MADV_DONTNEED)

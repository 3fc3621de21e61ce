"""Rows of memory-mapped arrays, read when they are asked for: none but the last of them stay in memory."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

BLOCK = 2**23
"""Bytes of the rows that are read at a time where all are."""

MOST_RESIDENT = 2**26
"""Bytes of files that may lie in memory before all are let go; the system's cache keeps what it has room for."""

AROUND = 2**21
"""Bytes that the system may map around one that is read: a huge page."""


def is_mapped(*arrays: Any) -> bool:
    """Return whether one of these is a memory-mapped array of rows."""
    return any(isinstance(a, np.memmap) and a.ndim for a in arrays)


class MappedRows:
    """Rows of arrays of which some are memory-mapped; iterating it gives all of them, in blocks.

    Args:
        arrays: (all rows, ...) each.
        rows: which of their rows, (rows,); all by default.
    """

    def __init__(self, arrays: Sequence[np.ndarray], rows: np.ndarray | None = None):
        self._arrays = [np.asarray(a) for a in arrays]
        self._rows = np.arange(len(arrays[0])) if rows is None else rows
        self._maps = [a for a in arrays if isinstance(a, np.memmap) and a.mode != "c"]  # which holds changes
        self._bytes_of_row = sum(a[:1].nbytes for a in self._arrays)
        self._resident = 0

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of these rows of the first array."""
        return len(self._rows), *self._arrays[0].shape[1:]

    def __iter__(self) -> Iterator[list[np.ndarray]]:
        size = max(BLOCK // max(self._bytes_of_row, 1), 1)
        for start in range(0, max(len(self._rows), 1), size):  # one block where there are no rows
            yield self.take(slice(start, start + size))

    def take(self, chosen: slice | np.ndarray) -> list[np.ndarray]:
        """Return copies of some of the rows of each array."""
        rows = self._rows[chosen]
        whole = len(rows) < 2 or self._reach(rows) <= MOST_RESIDENT
        size = len(rows) if whole else max(MOST_RESIDENT // (self._bytes_of_row + AROUND), 1)
        copies = [np.empty((len(rows), *a.shape[1:]), a.dtype) for a in self._arrays]
        for start in range(0, len(rows), max(size, 1)):
            some = rows[start : start + size]
            self._make_room(self._reach(some))
            for a, copy in zip(self._arrays, copies, strict=True):
                copy[start : start + size] = a[some]
        return copies

    def _reach(self, rows: np.ndarray) -> int:
        """Return how many bytes at most lie in memory once these rows are read."""
        apart = len(rows) * (self._bytes_of_row + AROUND)
        together = int(rows.max() - rows.min() + 1) * self._bytes_of_row + AROUND
        return min(apart, together)

    def _make_room(self, reach: int) -> None:
        """Let go of what was read where there would be too much."""
        self._resident += reach
        if self._resident <= MOST_RESIDENT:
            return
        self._resident = reach
        for a in self._maps:
            mapped: Any = vars(a).get("_mmap")  # NumPy names it in no public way
            if hasattr(mapped, "madvise"):  # not on Windows
                mapped.madvise(mmap.MADV_DONTNEED)

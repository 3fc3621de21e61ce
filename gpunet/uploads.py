"""Upload host arrays to a GPU through pinned memory, and again only where they have changed."""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.device import Device

PIECE = 2**21
"""Bytes that are compared and uploaded at a time."""

MOST_THREADS = 8
"""Threads that compute checksums: together they read memory as fast as it gives."""


class Mirror:
    """A host array's copy on a GPU.

    Args:
        device: the GPU.
        shape: of the array.
        dtype: of the array.

    Attributes:
        array: the copy; the same array for good.
    """

    def __init__(self, device: Device, shape: tuple[int, ...], dtype: np.dtype[Any]):
        with device.activate():
            self.array = device.xp.empty(shape, dtype)
        self._checksums: dict[int, int] = {}

    def update(self, a: np.ndarray, staging: Staging) -> None:
        """Upload the pieces of a C-contiguous array whose CRC-32 is another than that of what was uploaded last."""
        source, target = a.reshape(-1).view(np.uint8), self.array.reshape(-1).view(np.uint8)
        starts = range(0, source.size, PIECE)
        pieces = [source[start : start + PIECE] for start in starts]
        for start, piece, checksum in zip(starts, pieces, _checksums(pieces), strict=True):
            if self._checksums.pop(start, None) != checksum:
                staging.upload(piece, target[start : start + PIECE])
            self._checksums[start] = checksum


class Staging:
    """Two pieces of pinned memory: while one is uploaded, the other is filled. Its block ends when all is uploaded."""

    def __init__(self, device: Device):
        self._cuda = device.xp.cuda
        self._turns: deque[tuple[np.ndarray, Any]] = deque()

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        for _memory, uploaded in self._turns:
            uploaded.synchronize()

    def upload(self, source: np.ndarray, target: Any) -> None:
        """Copy bytes, at most a piece, to an array of the GPU; `source` may be written when this returns."""
        memory = self._free()
        pinned = memory[: source.size]
        pinned[...] = source
        target.set(pinned)
        self._turns.append((memory, self._cuda.get_current_stream().record()))

    def _free(self) -> np.ndarray:
        """Return pinned memory that is not being uploaded."""
        if len(self._turns) < 2:
            return np.frombuffer(self._cuda.alloc_pinned_memory(PIECE), np.uint8, PIECE)
        memory, uploaded = self._turns.popleft()
        uploaded.synchronize()
        return memory


def _checksums(pieces: Sequence[np.ndarray]) -> list[int]:
    threads = min(len(pieces), os.cpu_count() or 1, MOST_THREADS)
    if threads < 2:
        return list(map(_checksum, pieces))
    from concurrent.futures import ThreadPoolExecutor  # which takes some milliseconds

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(_checksum, pieces))


def _checksum(piece: np.ndarray) -> int:
    return zlib.crc32(piece.data)

"""Upload host arrays to a GPU through pinned memory; upload again only the chunks that changed."""

from __future__ import annotations

import os
import zlib
from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.device import Device

CHUNK = 2**21
"""Chunk size in bytes of comparisons and uploads."""

MOST_THREADS = 8
"""Maximum threads for checksums; more do not help, because memory bandwidth is the limit."""


class Mirror:
    """The copy of a host array on a GPU.

    Attributes:
        array: the copy; always the same array.
    """

    def __init__(self, device: Device, shape: tuple[int, ...], dtype: np.dtype[Any]):
        with device.activate():
            self.array = device.xp.empty(shape, dtype)
        self._checksums: dict[int, int] = {}

    def update(self, a: np.ndarray, staging: Staging) -> None:
        """Upload the chunks of a C-contiguous array whose CRC-32 differs from that of the last upload."""
        source, target = a.reshape(-1).view(np.uint8), self.array.reshape(-1).view(np.uint8)
        starts = range(0, source.size, CHUNK)
        chunks = [source[start : start + CHUNK] for start in starts]
        for start, chunk, checksum in zip(starts, chunks, _checksums(chunks), strict=True):
            if self._checksums.pop(start, None) != checksum:
                staging.upload(chunk, target[start : start + CHUNK])
            self._checksums[start] = checksum


class Staging:
    """Two pinned buffers: one is filled while the other is uploaded. The `with` block waits for all uploads."""

    def __init__(self, device: Device):
        self._cuda = device.xp.cuda
        self._turns: deque[tuple[np.ndarray, Any]] = deque()

    def __enter__(self) -> Staging:
        return self

    def __exit__(self, *_: object) -> None:
        for _memory, uploaded in self._turns:
            uploaded.synchronize()

    def upload(self, source: np.ndarray, target: Any) -> None:
        """Copy at most `CHUNK` bytes to an array on the GPU; `source` may be overwritten after the return."""
        memory = self._free()
        pinned = memory[: source.size]
        pinned[...] = source
        target.set(pinned)
        self._turns.append((memory, self._cuda.get_current_stream().record()))

    def _free(self) -> np.ndarray:
        """Return a pinned buffer whose upload is done."""
        if len(self._turns) < 2:
            return np.frombuffer(self._cuda.alloc_pinned_memory(CHUNK), np.uint8, CHUNK)
        memory, uploaded = self._turns.popleft()
        uploaded.synchronize()
        return memory


def _checksums(chunks: Sequence[np.ndarray]) -> list[int]:
    threads = min(len(chunks), os.cpu_count() or 1, MOST_THREADS)
    if threads < 2:
        return list(map(_checksum, chunks))
    from concurrent.futures import ThreadPoolExecutor  # this import takes milliseconds

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(_checksum, chunks))


def _checksum(chunk: np.ndarray) -> int:
    return zlib.crc32(chunk.data)

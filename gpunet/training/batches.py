"""The training data where the training takes place, and the batches of an epoch in its order."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunet.device import Array, Device
from gpunet.errors import GpunetWarning
from gpunet.ops._gather import gather_batch
from gpunet.recording import do
from gpunet.tape import Tape


class Batches:
    """Hands out the rows of features, targets and row weights, batch by batch.

    On a GPU the data is uploaded once, and the order of an epoch at its beginning; a kernel gathers the rows of a batch
    and moves on to the next. Data that does not fit stays in host memory, and each batch is uploaded.

    Args:
        device: where the training takes place.
        kinds: shape of a row and dtype of each array.

    Attributes:
        position: rows of the epoch that were handed out; the caller moves it on after a step.
    """

    def __init__(self, device: Device, kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]):
        self.device = device
        self.kinds = list(kinds)
        self.position = 0
        self.on_device = True
        self._arrays: list[Array] = []
        self._order: Array = None
        self._first: Array = None

    def takes(self, device: Device, arrays: Sequence[np.ndarray]) -> bool:
        """Say whether it is for such arrays on that device; on a GPU it is for one set of data, which plans name."""
        return self.device is device and device.xp is np and self.kinds == [(a.shape[1:], a.dtype) for a in arrays]

    def load(self, arrays: Sequence[np.ndarray]) -> None:
        """Take the data: two or three host arrays (rows, ...)."""
        self._arrays = list(arrays)
        if self.device.xp is np:
            return
        try:
            self._arrays = [self.device.asarray(a) for a in arrays]
            self._order = self.device.asarray(np.arange(len(arrays[0])))
            self._first = self.device.asarray(np.zeros(1, np.int64))
        except MemoryError as error:
            self._arrays, self.on_device = list(arrays), False
            needed = sum(a.nbytes for a in arrays) / 2**20
            warnings.warn(
                f"the training data ({needed:,.1f} MiB) does not fit on {self.device.name} ({error}); it stays in host "
                "memory and every batch is uploaded, which is slower.",
                GpunetWarning,
                stacklevel=2,
            )

    def release(self) -> None:
        """Let go of the data."""
        self._arrays, self._order = [], None

    def begin(self, order: np.ndarray, position: int) -> None:
        """Begin an epoch in the given order, (rows,), after so many rows of it."""
        self.position = position
        if self.device.xp is np or not self.on_device:
            self._order = order
        else:
            self.device.assign(self._order, order)
            self._first.fill(position)

    def next(self, count: int, tape: Tape) -> list[Array]:
        """Return the next `count` rows of each array; in a recorded step those that are next at each replay."""
        if self.device.xp is not np and self.on_device:
            return gather_batch(self._arrays, self._order, self._first, count, tape=tape)
        if self.device.xp is not np:
            return [self.device.asarray(a[self._order[self.position : self.position + count]]) for a in self._arrays]
        batch = [tape.empty((count, *shape), dtype, np) for shape, dtype in self.kinds]
        do(partial(self._take, [a.view(np.ndarray) for a in batch]))
        return batch

    def _take(self, batch: Sequence[np.ndarray]) -> None:
        rows = self._order[self.position : self.position + len(batch[0])]
        for a, out in zip(self._arrays, batch, strict=True):
            a.take(rows, 0, out, "clip")  # the mode "raise" would take into a copy first

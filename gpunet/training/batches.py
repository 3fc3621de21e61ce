"""The training data where the training takes place, and the batches of an epoch in its order."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunet import native
from gpunet.device import Array, Device
from gpunet.errors import GpunetWarning
from gpunet.ops._gather import MOST_ARRAYS, gather_batch
from gpunet.recording import do, records_native
from gpunet.tape import Tape
from gpunet.training.running import RunningMeans

GATHER = native.Kernel("gather.cpp", "gather")
ADVANCE = native.Kernel("gather.cpp", "advance")


class Batches:
    """Hands out the rows of features, targets and row weights, batch by batch.

    On a GPU the data is uploaded once, and the order of an epoch at its beginning; a kernel gathers the rows of a batch
    and moves on to the next. Data that does not fit stays in host memory, and each batch is uploaded.

    Args:
        device: where the training takes place.
        kinds: shape of a row and dtype of each array.

    Attributes:
        place: (1,) int64 on the device: rows of the epoch that were handed out.
        on_device: whether the data lies where the training takes place.
    """

    def __init__(self, device: Device, kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]):
        self.device = device
        self.kinds = list(kinds)
        self.on_device = True
        with device.activate():
            self.place: Array = device.xp.zeros(1, np.int64)
        self._arrays: list[Array] = []
        self._order: Array = None
        self._sources = np.zeros(MOST_ARRAYS + 1, np.int64)  # addresses of the arrays and of the order, for the CPU

    def takes(self, device: Device, arrays: Sequence[np.ndarray]) -> bool:
        """Return whether it takes such arrays on that device; on a GPU it takes one data set, which graphs name."""
        return self.device is device and device.xp is np and self.kinds == [(a.shape[1:], a.dtype) for a in arrays]

    def load(self, arrays: Sequence[np.ndarray]) -> None:
        """Take the data: two or three host arrays (rows, ...)."""
        if self.device.xp is np:
            self._arrays = [np.ascontiguousarray(a) for a in arrays]
            self._sources[: len(arrays)] = [a.ctypes.data for a in self._arrays]
            return
        try:
            self._arrays = [self.device.asarray(a) for a in arrays]
            self._order = self.device.asarray(np.arange(len(arrays[0])))
        except MemoryError as error:
            self._arrays, self.on_device, self.place = list(arrays), False, np.zeros(1, np.int64)
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
        """Begin an epoch in the given order, (rows,), at a position in it."""
        self.place.fill(position)
        if self.device.xp is not np and self.on_device:
            self.device.assign(self._order, order)
            return
        self._order = np.ascontiguousarray(order, np.int64)
        self._sources[MOST_ARRAYS] = self._order.ctypes.data

    def next(self, count: int, tape: Tape) -> list[Array]:
        """Return the next `count` rows of each array and move on; a recorded step does so at each replay."""
        if self.device.xp is not np and self.on_device:
            return gather_batch(self._arrays, self._order, self.place, count, tape=tape)
        if self.device.xp is not np:
            rows = self._next_rows(count)
            return [self.device.asarray(a[rows]) for a in self._arrays]
        batch = [tape.empty((count, *shape), dtype, np) for shape, dtype in self.kinds]
        if records_native():
            missing = [None] * (MOST_ARRAYS - len(batch))
            outs = [a.reshape(-1).view(np.uint8) for a in batch]
            sizes = [a[:1].nbytes for a in batch] + [0] * len(missing)
            GATHER(self._sources, self.place, *outs, *missing, *sizes, count, count=count)
            ADVANCE(self.place, count)
        else:
            do(partial(self._take, [a.view(np.ndarray) for a in batch]))
        return batch

    def _next_rows(self, count: int) -> np.ndarray:
        first = int(self.place[0])
        self.place[0] = first + count
        return self._order[first : first + count]  # type: ignore[no-any-return]

    def _take(self, batch: Sequence[np.ndarray]) -> None:
        rows = self._next_rows(len(batch[0]))
        for a, out in zip(self._arrays, batch, strict=True):
            a.take(rows, 0, out, "clip")  # the mode "raise" would take into a copy first


class NextRows:
    """The source of the steps of an epoch: the next rows of the data, and the sums of the epoch's metrics.

    Args:
        batches: the data.
        count: rows of a batch.
        running: the sums.
    """

    def __init__(self, batches: Batches, count: int, running: RunningMeans):
        self._batches, self._count, self._running = batches, count, running
        self.advances: Sequence[Array] = (batches.place, running.totals)
        self.recordable = batches.on_device

    def load(self, tape: Tape) -> list[Array]:
        """Return the next rows."""
        return self._batches.next(self._count, tape)

    def add(self, value: Array, prediction: Array, target: Array, tape: Tape) -> None:
        """Add a step's loss and right answers."""
        self._running.accumulate(value, prediction, target, tape)

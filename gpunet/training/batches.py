"""Hold the training data on the device; return the batches of an epoch in its order."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpunet import native
from gpunet.cuda import CTYPES
from gpunet.data import Standardizer
from gpunet.device import Array, Device
from gpunet.errors import warn
from gpunet.ops._gather import gather_batch
from gpunet.recording import do, records_native
from gpunet.tape import Tape
from gpunet.training.batch_sizes import parts_of
from gpunet.training.running import RunningMeans
from gpunet.uploads import Mirror, Staging

GATHER = native.Kernel("gather.cpp", "gather")
CONVERT = native.Kernel("gather.cpp", "gather_features")
ADVANCE = native.Kernel("gather.cpp", "advance")
MOST_ARRAYS = 3


class Rows(NamedTuple):
    """What a kernel needs to gather the rows of its batches itself.

    Attributes:
        arrays: the features in their own dtype.
        scaling: float64 means and factors in the shape of a row of features, or two `None`s. A feature x becomes
            T((double(x) - mean) * factor) or T(x), rounded once, where T is the model's dtype.
        order: the order of the epoch, int64 (rows,); None for the stored order.
        place: the position in this order, int64 (1,); None for the first row.
        totals: the sums of the metrics, float64 (2,), or None.
    """

    arrays: Sequence[Array]
    scaling: Sequence[Array | None]
    order: Array | None
    place: Array | None
    totals: Array | None


class Batches:
    """Return the rows of the data batch by batch, with converted features.

    On a GPU the data is uploaded in its own dtype and stays there; another `load` uploads only what has changed. Data
    that does not fit stays in host memory, and each batch is uploaded.

    Args:
        arrays: like those for `load`.
        dtype: of the converted features.

    Attributes:
        kinds: shape of a row and dtype of each array.
        place: the position in the epoch, int64 (1,) on the device.
        on_device: whether the data is on the device of the training.
    """

    def __init__(self, device: Device, arrays: Sequence[np.ndarray], dtype: np.dtype[Any], scaler: Standardizer | None):
        self.device = device
        self.on_device = True
        self._dtype, self._scaler = dtype, scaler
        self._like = _like(device, arrays, dtype, scaler)
        self.kinds = [(a.shape[1:], a.dtype) for a in arrays]
        self._converts = scaler is not None or arrays[0].dtype != dtype
        with device.activate():
            self.place: Array = device.xp.zeros(1, np.int64)
        self._arrays: list[np.ndarray] = []
        self._order: Array = np.empty(0, np.int64)
        self._mirrors: list[Mirror] = []
        self._sources = np.zeros(MOST_ARRAYS + 3, np.int64)  # CPU: addresses of arrays, order and scaling
        self._scaling: list[Array | None] = [None, None]
        if scaler is not None:
            scaling = [np.ascontiguousarray(a, np.float64) for a in (scaler.mean, scaler.factor)]
            self._scaling = [*scaling]
            self._sources[MOST_ARRAYS + 1 :] = [a.ctypes.data for a in scaling]

    def takes(self, *like: Any) -> bool:
        """Return whether `load` accepts data with these constructor arguments, so that recorded steps stay valid.

        On a GPU the number of rows must be the same. Data that did not fit is tried again.
        """
        return self.on_device and self._like == _like(*like)

    def load(self, arrays: Sequence[np.ndarray]) -> None:
        """Load host arrays to the device."""
        if self.device.xp is np:
            self._arrays = [np.ascontiguousarray(a) for a in arrays]
            self._sources[: len(arrays)] = [a.ctypes.data for a in self._arrays]
            return
        try:
            self._upload(arrays)
        except MemoryError as error:
            self._mirrors, self._arrays = [], list(arrays)
            self.on_device, self.place = False, np.zeros(1, np.int64)
            needed = sum(a.nbytes for a in arrays) / 2**20
            warn(
                f"the training data ({needed:,.1f} MiB) does not fit on {self.device.name} ({error}); it stays in host "
                "memory and every batch is uploaded, which is slower."
            )

    def _upload(self, arrays: Sequence[np.ndarray]) -> None:
        if not self._mirrors:
            self._mirrors = [Mirror(self.device, a.shape, a.dtype) for a in arrays]
            self._order = self.device.xp.empty(len(arrays[0]), np.int64)
            self._scaling = [a if a is None else self.device.asarray(a) for a in self._scaling]
        with Staging(self.device) as staging:  # to the same memory, because graphs refer to it
            for mirror, a in zip(self._mirrors, arrays, strict=True):
                mirror.update(np.ascontiguousarray(a), staging)

    def release(self) -> None:
        """Release the data in host memory."""
        self._arrays = []

    def free(self) -> None:
        """Release the data on the GPU; steps may still refer to this object."""
        self._mirrors = []

    def begin(self, order: np.ndarray, position: int) -> None:
        """Begin an epoch with an order (rows,) of the rows, at a position in it."""
        self.place.fill(position)
        if self._mirrors:
            self.device.assign(self._order, order)
            return
        self._order = np.ascontiguousarray(order, np.int64)
        self._sources[MOST_ARRAYS] = self._order.ctypes.data

    def next(self, count: int, tape: Tape) -> list[Array]:
        """Return the next `count` rows of each array and advance; a recorded step repeats this at each replay."""
        if self._mirrors:
            return gather_batch(*self.rows(), count, self._dtype, tape=tape)
        if self.device.xp is not np:
            rows = self._next_rows(count)
            batch = [a[rows] for a in self._arrays]
            return [self.device.asarray(a) for a in (self._converted(batch[0]), *batch[1:])]
        (shape, dtype), *rest = self.kinds
        features = tape.empty((count, *shape), self._dtype, np)
        others = [tape.empty((count, *of_row), kind, np) for of_row, kind in rest]
        if records_native():
            self._note_nodes(features, others, count)
            return [features, *others]
        stored = tape.empty((count, *shape), dtype, np) if self._converts else features
        do(partial(self._take, [a.view(np.ndarray) for a in (stored, *others)]))
        if self._scaler is not None:
            centred = tape.empty((count, *shape), np.dtype(np.float64), np)
            do(partial(self._scaler.write, *(a.view(np.ndarray) for a in (stored, centred, features))))
        elif self._converts:
            do(partial(np.copyto, features.view(np.ndarray), stored.view(np.ndarray), "unsafe"))
        return [features, *others]

    def _note_nodes(self, features: Array, others: Sequence[Array], count: int) -> None:
        missing = [None] * (MOST_ARRAYS - 1 - len(others))
        copied = [None if self._converts else features, *others]
        outs = [a if a is None else a.reshape(-1).view(np.uint8) for a in copied]
        sizes = [0 if a is None else a[:1].nbytes for a in copied] + [0] * len(missing)
        GATHER(self._sources, self.place, *outs, *missing, *sizes, count, count=count)
        if self._converts:
            options = {"SOURCE": CTYPES[self.kinds[0][1]]}
            width = features[:1].size
            CONVERT(self._sources, self.place, features, width, count, count=count, options=options)
        ADVANCE(self.place, count)

    def _converted(self, x: np.ndarray) -> np.ndarray:
        return x.astype(self._dtype, copy=False) if self._scaler is None else self._scaler.apply(x, self._dtype)

    def rows(self) -> tuple[Sequence[Array], Sequence[Array | None], Array, Array]:
        """Return the arrays, the scaling, the order and the place of `Rows`; on a GPU."""
        return [mirror.array for mirror in self._mirrors], self._scaling, self._order, self.place

    def _next_rows(self, count: int) -> np.ndarray:
        first = int(self.place[0])
        self.place[0] = first + count
        return self._order[first : first + count]

    def _take(self, batch: Sequence[np.ndarray]) -> None:
        rows = self._next_rows(len(batch[0]))
        for a, out in zip(self._arrays, batch, strict=True):
            a.take(rows, 0, out, "clip")  # the mode "raise" would buffer `out`


def _like(
    device: Device, arrays: Sequence[np.ndarray], dtype: np.dtype[Any], scaler: Standardizer | None
) -> tuple[Any, ...]:
    """Return what must be equal for all data that a `Batches` object loads."""
    shapes = [a.shape[1:] if device.xp is np else a.shape for a in arrays]
    return device, shapes, [a.dtype for a in arrays], dtype, scaler


class NextRows:
    """The source of an epoch's steps: the next rows of the data, and the sums of the metrics.

    Args:
        count: rows of a batch.
        part: rows of a forward pass.
    """

    def __init__(self, batches: Batches, count: int, part: int, running: RunningMeans):
        self._batches, self._running = batches, running
        self.parts: Sequence[slice] = parts_of(count, part)
        self.kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]] = batches.kinds
        self.advances: Sequence[Array] = (batches.place, running.totals)
        self.recordable = batches.on_device

    def load(self, part: slice, tape: Tape) -> list[Array]:
        """Return the next rows of each array."""
        return self._batches.next(part.stop - part.start, tape)

    def rows(self) -> Rows:
        """Return what a kernel needs to gather rows itself."""
        return Rows(*self._batches.rows(), self._running.totals)

    def add(self, value: Array, prediction: Array, target: Array, tape: Tape) -> None:
        """Add a step's loss and its number of correct predictions to the sums."""
        self._running.accumulate(value, prediction, target, tape)

"""The means of an epoch, summed on the device and read once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TypedDict

import numpy as np

from gpunet import native
from gpunet.cuda import Kernel
from gpunet.device import CPU, Array, Device, array_module, device_of
from gpunet.losses import Task
from gpunet.ops.launch import ROW_THREADS, operand, row_lanes
from gpunet.recording import do, records_native
from gpunet.tape import Tape

Total = Callable[[Sequence[float]], Sequence[float]]
"""Sums numbers over the ranks of a training."""

LOSS, LABELS, DISTRIBUTIONS, BINARY = (
    Kernel("metrics.cu", f"accumulate_{what}") for what in ("loss", "labels", "distributions", "binary")
)

RIGHT = {what: native.Kernel("metrics.cpp", f"right_{what}") for what in ("labels", "distributions", "binary")}
ACCUMULATE = native.Kernel("metrics.cpp", "accumulate")


class RunningState(TypedDict):
    """The sums of an epoch that is not over, in the file of a training."""

    totals: tuple[float, float] | None
    rows: int
    answers: int


class RunningMeans:
    """The mean loss of an epoch and, for classifiers, the share of right answers.

    Args:
        task: what the model does; it says what a right answer is.

    Attributes:
        totals: (2,) float64 on the device: the sum of the loss over rows, and the right answers.
    """

    def __init__(self, task: Task):
        self.task = task
        self._judges = task in ("classification", "binary")
        self._device = CPU
        self.totals: Array = np.zeros(2)  # one array for all epochs, as a recorded step names it
        self._rows = self._answers = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the means."""
        return ("loss", "accuracy") if self._judges else ("loss",)

    def to(self, device: Device) -> None:
        """Keep the sums on `device` from here on."""
        if device is not self._device:
            self._device, self.totals = device, device.asarray(self.totals)

    def reset(self) -> None:
        """Begin an epoch."""
        self._rows = self._answers = 0
        with self._device.activate():
            self.totals.fill(0)

    def accumulate(self, value: Array, prediction: Array, target: Array, tape: Tape) -> None:
        """Add a batch to the sums on the device; a recorded step does this again at each replay.

        Args:
            value: (), the mean loss of the batch.
            prediction: (rows, ..., outputs).
            target: as the loss takes it.
            tape: where memory comes from.
        """
        xp = array_module(value=value, prediction=prediction)
        self.to(device_of(prediction))
        if xp is not np:
            self._add_cuda(value, prediction, target, tape)
        elif records_native(prediction, target) and (target.dtype.kind == "f" or target.dtype == np.int64):
            self._add_native(value, prediction, target, tape)
        else:
            self._add_numpy(value, prediction, target, tape)

    def count(self, prediction: Array, rows: int) -> None:
        """Count on the host so many rows of a batch with such outputs, and the answers that they have."""
        places = math.prod(prediction.shape[1:-1]) if self.task == "classification" else 1
        self._rows += rows * places
        if self._judges:
            self._answers += rows * (places if self.task == "classification" else math.prod(prediction.shape[1:]))

    def _rows_of(self, prediction: Array) -> int:
        """Return how many rows count; where a classifier answers at each position of a row, each position does."""
        return math.prod(prediction.shape[:-1]) if self.task == "classification" else len(prediction)

    def read_with(self, number: Array, total: Total = list) -> tuple[dict[str, float], int]:
        """Return the means so far, as {"loss": ..., "accuracy": ...}, and a whole number, by one read of the device.

        It is the only read of an epoch.

        Args:
            number: (1,) on the device.
            total: sums over those who share the batches.
        """
        both = self._device.xp.empty(3, np.float64)
        both[:2], both[2:] = self.totals, number
        *totals, found = self._device.to_host(both).tolist()
        return self._means(total([*totals, self._rows, self._answers])), int(found)

    def _means(self, sums: Sequence[float]) -> dict[str, float]:
        loss, right, rows, answers = map(float, sums)
        return dict(zip(self.names, (loss / rows, right / max(answers, 1)), strict=False))

    def state(self, total: Total = list) -> RunningState:
        """Return the sums, as JSON; within an epoch all who share the batches call this."""
        if not self._rows:
            return {"totals": None, "rows": 0, "answers": 0}
        loss, right, rows, answers = total([*self._device.to_host(self.totals).tolist(), self._rows, self._answers])
        return {"totals": (loss, right), "rows": int(rows), "answers": int(answers)}

    def restore(self, state: RunningState) -> None:
        """Continue from what `state` returned."""
        self._device.assign(self.totals, list(state["totals"] or (0, 0)))
        self._rows, self._answers = state["rows"], state["answers"]

    def _add_native(self, value: Array, prediction: Array, target: Array, tape: Tape) -> None:
        rows, right = self._rows_of(prediction), None
        outputs = prediction.size // max(rows, 1)
        if self._judges:
            what = "labels" if target.ndim < prediction.ndim else "distributions"
            if self.task == "binary":
                what, right = "binary", tape.empty(prediction.shape, np.dtype(bool), np)
            else:
                right = tape.empty((rows,), np.dtype(bool), np)
            RIGHT[what](prediction, target, right, rows, outputs, count=rows)
        ACCUMULATE(value, right, self.totals, rows, 0 if right is None else right.size)

    def _add_numpy(self, value: Array, prediction: Array, target: Array, tape: Tape) -> None:
        value, rows = value.view(np.ndarray), self._rows_of(prediction)
        right = self._right(prediction, target, tape).view(np.ndarray) if self._judges else None
        do(partial(self._note, value, rows, right))

    def _note(self, value: np.ndarray, rows: int, right: np.ndarray | None) -> None:
        self.totals[0] += float(value) * rows
        if right is not None:
            self.totals[1] += np.count_nonzero(right)

    def _right(self, prediction: Array, target: Array, tape: Tape) -> Array:
        """Return which answers are right: (rows, ...) for classes, (rows, outputs) for yes-or-no questions."""
        if self.task == "classification":
            answer = _argmax(prediction, tape)
            truth = target if target.ndim == answer.ndim else _argmax(target, tape)
        else:
            answer = np.greater(prediction, 0, out=tape.empty(prediction.shape, np.dtype(bool), np))
            truth = np.greater(target, 0.5, out=tape.empty(target.shape, np.dtype(bool), np))
        return np.equal(answer, truth, out=tape.empty(answer.shape, np.dtype(bool), np))

    def _add_cuda(self, value: Array, prediction: Array, target: Array, tape: Tape) -> None:
        xp = array_module(value)
        rows = self._rows_of(prediction)
        if not self._judges:
            LOSS((1,), (1,), value, self.totals, rows)
            return
        kernel, dtype = DISTRIBUTIONS, prediction.dtype
        if self.task == "binary":
            kernel = BINARY
        elif target.ndim < prediction.ndim:
            kernel, dtype = LABELS, np.dtype(np.int64)
        value = operand(value, tape, xp, prediction.dtype)
        prediction, target = operand(prediction, tape, xp), operand(target, tape, xp, dtype)
        outputs = prediction.size // max(rows, 1)
        options = {} if kernel is BINARY else {"LANES": row_lanes(outputs)}
        kernel((1,), (ROW_THREADS,), value, prediction, target, self.totals, rows, outputs, options=options)


def _argmax(a: Array, tape: Tape) -> Array:
    return a.argmax(axis=-1, out=tape.empty(a.shape[:-1], np.dtype(np.int64), np))

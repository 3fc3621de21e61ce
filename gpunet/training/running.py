"""Sum the loss and accuracy of an epoch on the device, and read their means once."""

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
"""A function that sums numbers over the ranks of a training."""

LOSS, LABELS, DISTRIBUTIONS, BINARY = (
    Kernel("metrics.cu", f"accumulate_{what}") for what in ("loss", "labels", "distributions", "binary")
)

CORRECT = {what: native.Kernel("metrics.cpp", f"right_{what}") for what in ("labels", "distributions", "binary")}
ACCUMULATE = native.Kernel("metrics.cpp", "accumulate")


class RunningState(TypedDict):
    """The sums of an unfinished epoch in a checkpoint."""

    totals: tuple[float, float] | None
    rows: int
    answers: int


class RunningMeans:
    """The mean loss of an epoch and, for classifiers, the accuracy.

    An answer is one prediction of a classifier: one per row, position or binary output.

    Attributes:
        totals: float64 (2,) on the device: the sum of the loss over rows, and the number of correct answers.
    """

    def __init__(self, task: Task):
        self.task = task
        self._has_accuracy = task in ("classification", "binary")
        self._device = CPU
        self.totals: Array = np.zeros(2)  # the same array in all epochs, because recorded steps refer to it
        self._rows = self._answers = 0

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the means."""
        return ("loss", "accuracy") if self._has_accuracy else ("loss",)

    def to(self, device: Device) -> None:
        """Move the sums to `device`."""
        if device is not self._device:
            self._device, self.totals = device, device.asarray(self.totals)

    def reset(self) -> None:
        """Reset the sums for a new epoch."""
        self._rows = self._answers = 0
        with self._device.activate():
            self.totals.fill(0)

    def accumulate(self, value: Array, prediction: Array, target: Array, tape: Tape) -> None:
        """Add a batch to the sums on the device; a recorded step repeats this at each replay.

        Args:
            value: the mean loss of the batch, ().
            prediction: outputs (rows, ..., outputs).
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
        """Count rows and their answers on the host; `prediction` gives the shape of the outputs."""
        positions = math.prod(prediction.shape[1:-1]) if self.task == "classification" else 1
        self._rows += rows * positions
        if self._has_accuracy:
            self._answers += rows * (positions if self.task == "classification" else math.prod(prediction.shape[1:]))

    def _rows_of(self, prediction: Array) -> int:
        """Return the number of rows, or of all positions for a classifier with an output per position."""
        return math.prod(prediction.shape[:-1]) if self.task == "classification" else len(prediction)

    def read_with(self, number: Array, total: Total = list) -> tuple[dict[str, float], int]:
        """Return the means so far, as {"loss": ..., "accuracy": ...}, and an integer, with one device read.

        Args:
            number: an integer (1,) on the device to read as well.
            total: sums over the ranks.
        """
        both = self._device.xp.empty(3, np.float64)
        both[:2], both[2:] = self.totals, number
        *totals, found = self._device.to_host(both).tolist()
        return self._means(total([*totals, self._rows, self._answers])), int(found)

    def _means(self, sums: Sequence[float]) -> dict[str, float]:
        loss, correct, rows, answers = map(float, sums)
        return dict(zip(self.names, (loss / rows, correct / max(answers, 1)), strict=False))

    def state(self, total: Total = list) -> RunningState:
        """Return the sums as JSON values; within an epoch all ranks must call this."""
        if not self._rows:
            return {"totals": None, "rows": 0, "answers": 0}
        loss, correct, rows, answers = total([*self._device.to_host(self.totals).tolist(), self._rows, self._answers])
        return {"totals": (loss, correct), "rows": int(rows), "answers": int(answers)}

    def restore(self, state: RunningState) -> None:
        """Restore the sums that `state` returned."""
        self._device.assign(self.totals, list(state["totals"] or (0, 0)))
        self._rows, self._answers = state["rows"], state["answers"]

    def _add_native(self, value: Array, prediction: Array, target: Array, tape: Tape) -> None:
        rows, correct = self._rows_of(prediction), None
        outputs = prediction.size // max(rows, 1)
        if self._has_accuracy:
            what = "labels" if target.ndim < prediction.ndim else "distributions"
            if self.task == "binary":
                what, correct = "binary", tape.empty(prediction.shape, np.dtype(bool), np)
            else:
                correct = tape.empty((rows,), np.dtype(bool), np)
            CORRECT[what](prediction, target, correct, rows, outputs, count=rows)
        ACCUMULATE(value, correct, self.totals, rows, 0 if correct is None else correct.size)

    def _add_numpy(self, value: Array, prediction: Array, target: Array, tape: Tape) -> None:
        value, rows = value.view(np.ndarray), self._rows_of(prediction)
        correct = self._correct(prediction, target, tape).view(np.ndarray) if self._has_accuracy else None
        do(partial(self._add_to_totals, value, rows, correct))

    def _add_to_totals(self, value: np.ndarray, rows: int, correct: np.ndarray | None) -> None:
        self.totals[0] += float(value) * rows
        if correct is not None:
            self.totals[1] += np.count_nonzero(correct)

    def _correct(self, prediction: Array, target: Array, tape: Tape) -> Array:
        """Return which answers are correct: (rows, ...) for classes, (rows, outputs) for binary outputs."""
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
        if not self._has_accuracy:
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

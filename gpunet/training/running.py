"""The means of an epoch, summed on the device and read once."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from gpunet.device import Array, Device, array_module
from gpunet.losses import Task
from gpunet.tape import Tape


class RunningMeans:
    """The mean loss of an epoch and, for classifiers, the share of right answers.

    Args:
        task: what the model does; it says what a right answer is.
    """

    def __init__(self, task: Task):
        self.task = task
        self.reset()

    def reset(self) -> None:
        """Begin an epoch."""
        self._totals: Array | None = None  # on the device: the sum of the loss over rows, the number of right answers
        self._rows = 0
        self._answers = 0

    def add(self, value: Array, prediction: Array, target: Array, tape: Tape) -> None:
        """Add a batch: its mean loss (), its outputs (rows, outputs) and its targets."""
        xp = array_module(value=value, prediction=prediction)
        if self._totals is None:
            self._totals = xp.zeros(2, np.float64)
        sums = tape.empty((2,), self._totals.dtype, xp)
        rows = len(prediction)
        xp.multiply(value, rows, out=sums[0, ...])
        self._rows += rows
        if self.task != "regression":
            right = self._right(prediction, target, xp, tape)
            right.sum(out=sums[1, ...])
            self._answers += right.size
        xp.add(self._totals, sums, out=self._totals)

    def read(self, device: Device) -> dict[str, float]:
        """Return the means so far, as {"loss": ..., "accuracy": ...}; the one read of the device in an epoch."""
        loss, right = device.to_host(self._totals).tolist()
        means = {"loss": loss / self._rows}
        return means if self.task == "regression" else {**means, "accuracy": right / self._answers}

    def state(self, device: Device) -> dict[str, Any]:
        """Return the sums, as JSON."""
        totals = None if self._totals is None else device.to_host(self._totals).tolist()
        return {"totals": totals, "rows": self._rows, "answers": self._answers}

    def restore(self, state: dict[str, Any], device: Device) -> None:
        """Go on from what `state` returned."""
        self._totals = None if state["totals"] is None else device.asarray(state["totals"], np.float64)
        self._rows, self._answers = state["rows"], state["answers"]

    def _right(self, prediction: Array, target: Array, xp: ModuleType, tape: Tape) -> Array:
        """Return which answers are right: (rows,) for classes, (rows, outputs) for yes-or-no questions."""
        if self.task == "classification":
            answer = _argmax(prediction, xp, tape)
            truth = target if target.ndim == 1 else _argmax(target, xp, tape)
        else:
            answer = xp.greater(prediction, 0, out=tape.empty(prediction.shape, np.dtype(bool), xp))
            truth = xp.greater(target, 0.5, out=tape.empty(target.shape, np.dtype(bool), xp))
        return xp.equal(answer, truth, out=tape.empty(answer.shape, np.dtype(bool), xp))


def _argmax(a: Array, xp: ModuleType, tape: Tape) -> Array:
    return a.argmax(axis=1, out=tape.empty(a.shape[:1], np.dtype(np.int64), xp))

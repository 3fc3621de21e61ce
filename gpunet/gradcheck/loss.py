"""Check the gradient of a loss, and its row weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NoReturn

import numpy as np

from gpunet.default_device import current_device
from gpunet.device import Array, to_host
from gpunet.errors import GradientError
from gpunet.gradcheck.differences import described, random_batch, require_gradient
from gpunet.gradcheck.report import GradientReport
from gpunet.losses import Loss
from gpunet.tape import Tape

PREDICTION = "the prediction"

ALL = slice(None)


class LossCheck:
    """The check of a loss, without and with row weights."""

    def __init__(self, loss: Loss, x: Any, target: Any, rng: np.random.Generator):
        self.loss, self.rng, self.device, self.tape = loss, rng, current_device(), Tape()
        task = getattr(loss, "task", None)
        default = (8, 2, 4) if task == "similarity" else (8, 4)
        self.prediction = self.device.asarray(random_batch(default if x is None else x, rng))
        host = np.asarray(_target(task, self.prediction.shape, rng) if target is None else to_host(target))
        self.target = self.device.asarray(host, np.float64 if host.dtype.kind == "f" else np.int64)
        self.weight = self.device.asarray(np.append(0.0, rng.uniform(0.5, 1.5, len(host) - 1)))

    def __call__(self) -> GradientReport:
        """Return the report."""
        report = GradientReport(repr(self.loss), self.device.name, (PREDICTION,))
        with self.device.activate():
            plain = self._checked("the gradient of the prediction")
            if not self.loss.takes_weight:
                return replace(report, unchecked=("row weights: value_and_grad has no parameter `weight`",))
            weighted = self._checked("with row weights, the gradient of the prediction", self.weight)
            if weighted == plain:
                self._fail(f"value_and_grad ignores `weight`: the loss is {plain:.6g} with row weights and without.")
            rows = [self._value(slice(i, i + 1)) for i in range(len(self.prediction))]
        mean, expected = (np.average(rows, weights=self.loss.norms(self.target, w)) for w in (None, self.weight))
        if not np.isclose(plain, mean, rtol=1e-9):
            return replace(report, unchecked=("row weights: the loss is not the mean of its rows' losses",))
        if not np.isclose(weighted, expected, rtol=1e-9):
            self._fail(
                f"with row weights the loss is wrong: expected {expected:.6g}, the weighted mean of the rows' losses, "
                f"found {weighted:.6g}."
            )
        return replace(report, checked=(PREDICTION, "row weights"))

    def _run(self, rows: slice, weight: Array | None = None) -> tuple[Array, Array]:
        self.tape.reset()
        given = {} if weight is None else {"weight": weight}
        value, gradient = self.loss.value_and_grad(self.prediction[rows], self.target[rows], tape=self.tape, **given)
        self.loss.require_array(value)
        return value, gradient

    def _value(self, rows: slice, weight: Array | None = None) -> float:
        return float(self._run(rows, weight)[0])

    def _checked(self, what: str, weight: Array | None = None) -> float:
        """Check the gradient of the loss; return the loss."""
        value, gradient = self._run(ALL, weight)
        if described(gradient) != described(self.prediction):
            self._fail(f"{what} is {described(gradient)}; expected {described(self.prediction)}.")
        loss, gradient = np.array(to_host(value)), np.array(to_host(gradient))  # the next run overwrites them
        if loss.dtype != np.float64 or not np.isfinite(loss):
            self._fail(f"the loss is {loss} in {loss.dtype}; expected a finite number in float64, as the prediction.")
        where, size = f"{self.loss!r}: {what}", abs(float(loss))
        require_gradient(where, lambda: self._value(ALL, weight), self.prediction, gradient, size, self.rng)
        return float(loss)

    def _fail(self, message: str) -> NoReturn:
        raise GradientError(f"{self.loss!r}: {message}")


def _target(task: str | None, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return random targets for predictions of the given shape."""
    if task == "classification":
        return rng.integers(0, shape[-1], shape[:-1])
    if task == "similarity":
        return rng.choice([-1.0, 1.0], shape[:1])
    return rng.uniform(size=shape) if task == "binary" else rng.standard_normal(shape)

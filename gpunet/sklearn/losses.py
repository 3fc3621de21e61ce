"""Losses with scikit-learn's scaling, and its L2 penalty on the weights.

For the rows of a batch with weights w (1 by default), scikit-learn minimises

    loss + alpha / (2 Σ w) · ‖coefs‖²

The binary cross-entropy is summed over the outputs; the squared error is halved, and its gradient is not divided by the
number of outputs.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from gpunet.device import Array, array_module
from gpunet.errors import DataError
from gpunet.layers.store import FlatStore
from gpunet.losses import BCEWithLogitsLoss, CrossEntropyLoss, Loss, MSELoss
from gpunet.models import MLP
from gpunet.ops.launch import THREADS, block_count, partial_sums
from gpunet.ops.sums import SUM
from gpunet.recording import recorded
from gpunet.tape import Tape, empty, empty_like


class PenalisedMLP(MLP):
    """An MLP whose gradient includes that of the penalty, which `PenalisedLoss` saves on the tape."""

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array | None:
        (decay,) = tape.restore(self.store)
        dx = super().backward(dy, tape, input_gradient=input_gradient)
        grads = recorded(self.store.grads)
        array_module(grads).add(grads, decay, out=grads)
        return dx


class PenalisedLoss(Loss):
    """The loss that scikit-learn minimises in a batch, with its L2 penalty on the weights of `model`."""

    task = "regression"  # so that the Trainer does not compute the accuracy

    def __init__(self, out_activation: str, model: PenalisedMLP):
        outputs = len(model[-1].params["bias"])
        losses: dict[str, tuple[Loss, float, float]] = {
            "softmax": (CrossEntropyLoss(), 1, 1),
            "logistic": (BCEWithLogitsLoss(), outputs, outputs),
            "identity": (MSELoss(), 0.5, outputs / 2),
            "exp": (PoissonLoss(), 1, 1),
        }
        self.loss, self.value_factor, self.slope_factor = losses[out_activation]
        self._store: FlatStore = model.store
        self._alpha = array_module(self._store.params).zeros_like(self._store.params)

    def penalise(self, alpha: float) -> None:
        """Set the strength of the penalty, also in recorded steps."""
        for name, view in self._store.views(self._alpha).items():
            if name.endswith(".weight"):
                view.fill(alpha)

    def check_given(self, prediction: Array, target: Array) -> None:
        self.loss.check_given(prediction, target)

    def check_target(self, target: Any, output_shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        return self.loss.check_target(target, output_shape, dtype)

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        value, slope = self.loss.value_and_grad(prediction, target, weight, tape)
        xp = array_module(value)
        if self.value_factor != 1:
            xp.multiply(value, self.value_factor, out=value)
        if self.slope_factor != 1:
            xp.multiply(slope, self.slope_factor, out=slope)
        params = recorded(self._store.params)
        decay, squares = empty_like(tape, params, xp), empty_like(tape, params, xp)
        xp.multiply(params, self._alpha, out=decay)
        if weight is None:
            xp.multiply(decay, 1 / len(prediction), out=decay)
        else:
            xp.multiply(decay, inverse_total(weight, tape, xp), out=decay)
        xp.multiply(decay, params, out=squares)
        penalty = total(squares, tape, xp).reshape(())
        xp.multiply(penalty, 0.5, out=penalty)
        xp.add(value, penalty, out=value)
        if tape is not None:
            tape.save(self._store, decay)
        return value, slope


class PoissonLoss(Loss):
    """Half the Poisson deviance of exp(z), summed over the outputs: l = exp(z) - t·z + t·log t - t, l' = exp(z) - t."""

    task = "regression"

    def check_target(self, target: Any, output_shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        y = super().check_target(target, output_shape, dtype)
        if (y < 0).any():
            raise DataError("y: loss='poisson' needs targets >= 0.")
        return y

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        xp = array_module(prediction=prediction, target=target)
        losses, slope, part = (empty_like(tape, prediction, xp) for _ in range(3))
        xp.maximum(target, np.finfo(target.dtype).tiny, out=part)
        xp.log(part, out=part)
        xp.subtract(part, prediction, out=part)
        xp.multiply(part, target, out=part)
        xp.exp(prediction, out=slope)
        xp.subtract(slope, target, out=slope)
        xp.add(slope, part, out=losses)
        share: Array | float = 1 / len(prediction)
        if weight is not None:
            share = empty(tape, (len(weight), 1), weight.dtype, xp)
            xp.multiply(weight.reshape(-1, 1), inverse_total(weight, tape, xp), out=share)
        xp.multiply(slope, share, out=slope)
        xp.multiply(losses, share, out=losses)
        return total(losses, tape, xp).reshape(()), slope


def total(a: Array, tape: Tape | None, xp: ModuleType) -> Array:
    """Return the sum of all elements of a C-contiguous array, (1,)."""
    result = empty(tape, (1,), a.dtype, xp)
    if xp is np:
        a.reshape(-1).sum(out=result, keepdims=True)
        return result
    blocks = max(1, block_count(a.size, 8 * THREADS))
    SUM((blocks,), (THREADS,), a, *partial_sums(blocks, a.dtype, tape, xp), result, a.size)
    return result


def inverse_total(weight: Array, tape: Tape | None, xp: ModuleType) -> Array:
    """Return 1 / Σ w, (1,); 0 if all weights are zero, so that the batch is ignored."""
    inverse, squared = total(weight, tape, xp), empty(tape, (1,), weight.dtype, xp)
    xp.multiply(inverse, inverse, out=squared)
    xp.maximum(squared, np.finfo(weight.dtype).tiny, out=squared)
    return xp.divide(inverse, squared, out=inverse)

"""Losses that are a mean over elements, each with its gradient in the same pass.

For predictions p, targets t of the same shape (rows, ...) and row weights w:

    loss = Σ_i w_i Σ_j l(p_ij, t_ij) / N,    dp_ij = w_i l'(p_ij, t_ij) / N,    N = Σ_i w_i · (elements of a row)

Where all weights are zero, so are the loss and its gradient.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.ops.activations import sigmoid
from gpunet.ops.checks import float_module
from gpunet.tape import Tape, empty, empty_like


def mean_squared_error(
    prediction: Array, target: Array, *, weight: Array | None = None, tape: Tape | None = None
) -> tuple[Array, Array]:
    """Return (loss, dprediction) with l = (p - t)² and l' = 2·(p - t).

    Args:
        prediction: (rows, ...), float32 or float64.
        target: the shape and dtype of `prediction`.
        weight: row weights (rows,) in the same dtype.
        tape: where memory comes from; None makes fresh arrays.

    Returns:
        loss, an array of shape () on the device; dprediction in the shape of `prediction`.

    Raises:
        ShapeError: the shapes don't fit.
        DTypeError: dtypes that differ or are not float32 or float64.
    """
    xp, loss, slope = _begin("mean_squared_error", prediction, target, weight, tape)
    xp.subtract(prediction, target, out=slope)
    xp.multiply(slope, slope, out=loss)
    xp.multiply(slope, 2, out=slope)
    return _mean(loss, slope, weight, xp, tape)


def huber(
    prediction: Array, target: Array, delta: float, *, weight: Array | None = None, tape: Tape | None = None
) -> tuple[Array, Array]:
    """Return (loss, dprediction) with l = d²/2 where |d| <= delta, else delta·(|d| - delta/2), for d = p - t.

    With c = d clipped to ±delta both are l = c·(d - c/2) and l' = c (Huber 1964). Arguments, results and errors as for
    `mean_squared_error`.
    """
    xp, loss, slope = _begin("huber", prediction, target, weight, tape)
    xp.subtract(prediction, target, out=loss)
    xp.minimum(loss, delta, out=slope)
    xp.maximum(slope, -delta, out=slope)
    half = empty_like(tape, prediction, xp)
    xp.multiply(slope, 0.5, out=half)
    xp.subtract(loss, half, out=loss)
    xp.multiply(loss, slope, out=loss)
    return _mean(loss, slope, weight, xp, tape)


def binary_cross_entropy(
    logits: Array, target: Array, *, weight: Array | None = None, tape: Tape | None = None
) -> tuple[Array, Array]:
    """Return (loss, dlogits) with l = max(z, 0) - z·t + log(1 + exp(-|z|)) and l' = sigmoid(z) - t.

    Targets are probabilities in [0, 1]. Arguments, results and errors as for `mean_squared_error`.
    """
    xp, loss, slope = _begin("binary_cross_entropy", logits, target, weight, tape)
    xp.maximum(logits, 0, out=loss)
    xp.multiply(logits, target, out=slope)
    xp.subtract(loss, slope, out=loss)
    xp.abs(logits, out=slope)
    xp.negative(slope, out=slope)
    xp.exp(slope, out=slope)
    xp.log1p(slope, out=slope)
    xp.add(loss, slope, out=loss)  # last, as it is all that is left of the loss of a logit that is right by far
    sigmoid(logits, slope, xp)
    xp.subtract(slope, target, out=slope)
    return _mean(loss, slope, weight, xp, tape)


def _begin(
    op: str, prediction: Array, target: Array, weight: Array | None, tape: Tape | None
) -> tuple[ModuleType, Array, Array]:
    """Check the arguments; return the module and two buffers, for l and l'."""
    xp = float_module(op, prediction=prediction, target=target, weight=weight)
    if prediction.ndim == 0 or target.shape != prediction.shape:
        raise ShapeError(f"{op}: target has shape {target.shape}, prediction {prediction.shape}; they must be equal.")
    if weight is not None and weight.shape != prediction.shape[:1]:
        raise ShapeError(f"{op}: weight has shape {weight.shape}, expected {prediction.shape[:1]}, one a row.")
    return xp, empty_like(tape, prediction, xp), empty_like(tape, prediction, xp)


def _mean(loss: Array, slope: Array, weight: Array | None, xp: ModuleType, tape: Tape | None) -> tuple[Array, Array]:
    """Take the weighted mean of `loss` and scale `slope` to its gradient, in place."""
    value = empty(tape, (), loss.dtype, xp)
    if weight is None:
        share = 1 / max(loss.size, 1)
        loss.sum(out=value)
        xp.multiply(value, share, out=value)
    else:
        norm = weight.sum() * (loss.size // max(len(loss), 1))
        share = empty(tape, (len(loss), *[1] * (loss.ndim - 1)), loss.dtype, xp)
        xp.divide(weight, xp.maximum(norm, np.finfo(loss.dtype).tiny), out=share.reshape(weight.shape))
        xp.multiply(loss, share, out=loss)
        loss.sum(out=value)
    xp.multiply(slope, share, out=slope)
    return value, slope

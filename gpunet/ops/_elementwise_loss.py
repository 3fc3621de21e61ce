"""Losses that are a mean over elements, each with its gradient in the same pass.

For predictions p, targets t of the same shape (rows, ...) and row weights w:

    loss = Σ_i w_i Σ_j l(p_ij, t_ij) / N,    dp_ij = w_i l'(p_ij, t_ij) / N,    N = Σ_i w_i · (elements per row)

If all weights are zero, so are the loss and its gradient.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from gpunet import native
from gpunet.arguments import real
from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.ops.activations import sigmoid
from gpunet.ops.checks import float_module
from gpunet.ops.launch import THREADS, block_count, operand, partial_sums
from gpunet.ops.sums import native_sum, weight_sum, weighted_mean
from gpunet.recording import records_native
from gpunet.tape import Tape, empty, empty_like

MEAN_SQUARED_ERROR = Kernel("losses.cu", "mean_squared_error")
HUBER = Kernel("losses.cu", "huber")
ABSOLUTE_ERROR = Kernel("losses.cu", "absolute_error")
POISSON_NLL = Kernel("losses.cu", "poisson_nll")
BINARY_CROSS_ENTROPY = Kernel("losses.cu", "binary_cross_entropy")

NAMES = "mean_squared_error", "huber", "absolute_error", "poisson_nll", "binary_cross_entropy"
CPU_LOSSES = tuple(native.Kernel("losses.cpp", name) for name in NAMES)
CPU_MEAN_SQUARED_ERROR, CPU_HUBER, CPU_ABSOLUTE_ERROR, CPU_POISSON_NLL, CPU_BINARY_CROSS_ENTROPY = CPU_LOSSES


def mean_squared_error(
    prediction: Array, target: Array, *, weight: Array | None = None, tape: Tape | None = None
) -> tuple[Array, Array]:
    """Return (loss, dprediction) with l = (p - t)² and l' = 2·(p - t), for prediction and target (rows, ...).

    Example:
        >>> loss, gradient = gn.ops.mean_squared_error(np.array([3.0, 1.0]), np.array([1.0, 1.0]))
        >>> float(loss), gradient
        (2.0, array([2., 0.]))
    """
    xp = _check("mean_squared_error", prediction, target, weight)
    if xp is not np:
        return _cuda(MEAN_SQUARED_ERROR, prediction, target, weight, tape, xp)
    if records_native(prediction, target, weight):
        return _native(CPU_MEAN_SQUARED_ERROR, prediction, target, weight, tape)
    loss, slope = empty_like(tape, prediction, np), empty_like(tape, prediction, np)
    np.subtract(prediction, target, out=slope)
    np.multiply(slope, slope, out=loss)
    np.multiply(slope, 2, out=slope)
    return weighted_mean(loss, slope, weight, tape)


def huber(
    prediction: Array, target: Array, delta: float, *, weight: Array | None = None, tape: Tape | None = None
) -> tuple[Array, Array]:
    """Return (loss, dprediction) with l = d²/2 where |d| <= delta, else delta·(|d| - delta/2), for d = p - t.

    With c = d clipped to ±delta, l = c·(d - c/2) and l' = c (Huber 1964); delta > 0.

    Example:
        >>> loss, gradient = gn.ops.huber(np.array([4.0]), np.array([1.0]), delta=1.0)
        >>> float(loss), gradient
        (2.5, array([1.]))
    """
    delta = real("huber: delta", delta, 0)
    xp = _check("huber", prediction, target, weight)
    if xp is not np:
        return _cuda(HUBER, prediction, target, weight, tape, xp, delta)
    if records_native(prediction, target, weight):
        return _native(CPU_HUBER, prediction, target, weight, tape, delta)
    loss, slope = empty_like(tape, prediction, np), empty_like(tape, prediction, np)
    np.subtract(prediction, target, out=loss)
    np.minimum(loss, delta, out=slope)
    np.maximum(slope, -delta, out=slope)
    half = empty_like(tape, prediction, np)
    np.multiply(slope, 0.5, out=half)
    np.subtract(loss, half, out=loss)
    np.multiply(loss, slope, out=loss)
    return weighted_mean(loss, slope, weight, tape)


def absolute_error(
    prediction: Array,
    target: Array,
    *,
    above: float = 1.0,
    below: float = 1.0,
    weight: Array | None = None,
    tape: Tape | None = None,
) -> tuple[Array, Array]:
    """Return (loss, dprediction) with l = above·d where d > 0, else -below·d, for d = p - t.

    l' is above where d > 0, 0 where d = 0, and -below where d < 0. With above = 1 - q and below = q, l is the pinball
    loss, which is minimal at the quantile q of t (Koenker & Bassett 1978).

    Example:
        >>> loss, gradient = gn.ops.absolute_error(np.array([3.0, 0.0]), np.array([1.0, 1.0]))
        >>> float(loss), gradient
        (1.5, array([ 0.5, -0.5]))
    """
    xp = _check("absolute_error", prediction, target, weight)
    if xp is not np:
        return _cuda(ABSOLUTE_ERROR, prediction, target, weight, tape, xp, above, below)
    if records_native(prediction, target, weight):
        return _native(CPU_ABSOLUTE_ERROR, prediction, target, weight, tape, above, below)
    loss, slope = empty_like(tape, prediction, np), empty_like(tape, prediction, np)
    np.subtract(prediction, target, out=loss)
    np.sign(loss, out=slope)
    positive = empty_like(tape, prediction, np)
    np.maximum(slope, 0, out=positive)
    np.multiply(positive, above, out=positive)
    np.minimum(slope, 0, out=slope)
    np.multiply(slope, below, out=slope)
    np.add(slope, positive, out=slope)
    np.multiply(loss, slope, out=loss)
    return weighted_mean(loss, slope, weight, tape)


def poisson_nll(
    prediction: Array,
    target: Array,
    *,
    log_input: bool = True,
    eps: float = 1e-8,
    weight: Array | None = None,
    tape: Tape | None = None,
) -> tuple[Array, Array]:
    """Return (loss, dprediction) with l = exp(p) - t·p and l' = exp(p) - t, where p is the logarithm of a rate.

    With `log_input=False` p is the rate itself: l = p - t·log(p + eps) and l' = 1 - t / (p + eps). Both omit log(t!).

    Example:
        >>> loss, gradient = gn.ops.poisson_nll(np.array([0.0]), np.array([3.0]))  # a rate of 1, three events
        >>> float(loss), gradient
        (1.0, array([-2.]))
    """
    xp = _check("poisson_nll", prediction, target, weight)
    if xp is not np:
        return _cuda(POISSON_NLL, prediction, target, weight, tape, xp, log_input, eps)
    if records_native(prediction, target, weight):
        return _native(CPU_POISSON_NLL, prediction, target, weight, tape, log_input, eps)
    loss, slope = empty_like(tape, prediction, np), empty_like(tape, prediction, np)
    if log_input:
        np.exp(prediction, out=slope)
        np.multiply(target, prediction, out=loss)
        np.subtract(slope, loss, out=loss)
        np.subtract(slope, target, out=slope)
    else:
        np.add(prediction, eps, out=slope)
        np.log(slope, out=loss)
        np.multiply(loss, target, out=loss)
        np.subtract(prediction, loss, out=loss)
        np.divide(target, slope, out=slope)
        np.subtract(1, slope, out=slope)
    return weighted_mean(loss, slope, weight, tape)


def binary_cross_entropy(
    logits: Array, target: Array, *, weight: Array | None = None, tape: Tape | None = None
) -> tuple[Array, Array]:
    """Return (loss, dlogits) with l = max(z, 0) - z·t + log(1 + exp(-|z|)) and l' = sigmoid(z) - t, for t in [0, 1].

    Example:
        >>> loss, gradient = gn.ops.binary_cross_entropy(np.zeros(1), np.ones(1))  # probability 1/2 of a true label
        >>> round(float(loss), 2), gradient
        (0.69, array([-0.5]))
    """
    xp = _check("binary_cross_entropy", logits, target, weight)
    if xp is not np:
        return _cuda(BINARY_CROSS_ENTROPY, logits, target, weight, tape, xp)
    if records_native(logits, target, weight):
        return _native(CPU_BINARY_CROSS_ENTROPY, logits, target, weight, tape)
    loss, slope = empty_like(tape, logits, np), empty_like(tape, logits, np)
    np.maximum(logits, 0, out=loss)
    np.multiply(logits, target, out=slope)
    np.subtract(loss, slope, out=loss)
    np.abs(logits, out=slope)
    np.multiply(slope, -1, out=slope)
    np.exp(slope, out=slope)
    np.log1p(slope, out=slope)
    np.add(loss, slope, out=loss)  # added last: the other terms cancel for a confident correct logit
    sigmoid(logits, slope, np)
    np.subtract(slope, target, out=slope)
    return weighted_mean(loss, slope, weight, tape)


def _check(op: str, prediction: Array, target: Array, weight: Array | None) -> ModuleType:
    """Check the arguments; return the array module."""
    xp = float_module(op, prediction=prediction, target=target, weight=weight)
    if prediction.ndim == 0 or target.shape != prediction.shape:
        raise ShapeError(f"{op}: target has shape {target.shape}, prediction {prediction.shape}; they must be equal.")
    if weight is not None and weight.shape != prediction.shape[:1]:
        raise ShapeError(f"{op}: weight has shape {weight.shape}, expected {prediction.shape[:1]}, one per row.")
    return xp


def _native(
    kernel: native.Kernel,
    prediction: Array,
    target: Array,
    weight: Array | None,
    tape: Tape | None,
    *constants: float,
) -> tuple[Array, Array]:
    """Record a loss and its gradient as native nodes: one loss per row, and their sum in a fixed order."""
    rows, n = len(prediction), math.prod(prediction.shape[1:])
    total = None if weight is None else native_sum(weight, tape)
    slope, losses = empty_like(tape, prediction, np), empty(tape, (rows,), prediction.dtype, np)
    options = {other.name.upper(): int(other is kernel) for other in CPU_LOSSES}  # compiles only this loss
    kernel(prediction, target, weight, total, slope, losses, rows, n, *constants, count=rows, options=options)
    return native_sum(losses, tape), slope


def _cuda(
    kernel: Kernel,
    prediction: Array,
    target: Array,
    weight: Array | None,
    tape: Tape | None,
    xp: ModuleType,
    *constants: float,
) -> tuple[Array, Array]:
    """Return the loss and its gradient, computed by one kernel; with row weights, a second kernel sums them first."""
    rows, n = len(prediction), math.prod(prediction.shape[1:])
    prediction, target, weight = operand(prediction, tape, xp), operand(target, tape, xp), operand(weight, tape, xp)
    slope = empty_like(tape, prediction, xp)
    blocks = max(1, block_count(rows * n, 8 * THREADS))  # at least one: it writes the loss also if there are no rows
    parts = partial_sums(blocks, prediction.dtype, tape, xp)
    mean, weights = empty(tape, (), prediction.dtype, xp), (weight, weight_sum(weight, tape, xp))
    kernel((blocks,), (THREADS,), prediction, target, *weights, slope, *parts, mean, rows, n, *constants)
    return mean, slope

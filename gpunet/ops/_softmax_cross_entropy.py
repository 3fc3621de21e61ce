"""Softmax cross-entropy of logits and its gradient, in one pass.

For logits z (rows, classes), target distributions t (rows, classes), class weights c and row weights w:

    loss = Σ_i w_i Σ_j c_j t_ij (lse_i - z_ij) / N,    lse_i = log Σ_k exp z_ik
    dz_ij = w_i (softmax(z)_ij Σ_k c_k t_ik - c_j t_ij) / N

An integer label y is the distribution that is 1 at y. Label smoothing ε mixes t with the uniform distribution,
t' = (1 - ε) t + ε / classes. As in PyTorch, N is Σ_i w_i c_{y_i} for integer labels and Σ_i w_i for distributions.
Where N is zero, so are the loss and its gradient (NaN in PyTorch).
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from gpunet import native
from gpunet.arguments import real
from gpunet.cuda import Kernel
from gpunet.data.indices import check_range
from gpunet.device import Array, array_module
from gpunet.errors import ShapeError
from gpunet.ops._bias_activation import ones
from gpunet.ops.checks import float_module
from gpunet.ops.label_cross_entropy import label_cross_entropy
from gpunet.ops.launch import ROW_THREADS, THREADS, block_count, operand, partial_sums, row_lanes
from gpunet.ops.sums import native_sum
from gpunet.recording import records_native
from gpunet.tape import Tape, empty, empty_like

NORM = Kernel("softmax_cross_entropy.cu", "cross_entropy_norm")
LABELS = Kernel("softmax_cross_entropy.cu", "softmax_cross_entropy_labels")
DISTRIBUTIONS = Kernel("softmax_cross_entropy.cu", "softmax_cross_entropy_distributions")

CPU_NORM = native.Kernel("softmax_cross_entropy.cpp", "cross_entropy_norm")
CPU_LABELS = native.Kernel("softmax_cross_entropy.cpp", "softmax_cross_entropy_labels")
CPU_DISTRIBUTIONS = native.Kernel("softmax_cross_entropy.cpp", "softmax_cross_entropy_distributions")

FEW_CLASSES = 16
"""Up to this number of classes, the CPU kernel computes rows in groups; above it, row by row."""

LOWEST = -3e38
"""Finite in float32 and float64, and so low that its exponential is 0."""


def softmax_cross_entropy(
    logits: Array,
    target: Array,
    *,
    weight: Array | None = None,
    class_weight: Array | None = None,
    label_smoothing: float = 0.0,
    tape: Tape | None = None,
) -> tuple[Array, Array]:
    """Return (loss, dlogits).

    Args:
        logits: (rows, classes), or (rows, positions..., classes), where each position counts as a row. -inf excludes a
            class.
        target: integer labels (rows, positions...) in [0, classes); or distributions (rows, positions..., classes) in
            the dtype of `logits`. On a GPU, a label out of range counts as no class.
        class_weight: (classes,).
        label_smoothing: ε of the formula, in [0, 1].

    Raises:
        DataError: labels in host memory that are out of range.

    Example:
        >>> loss, gradient = gn.ops.softmax_cross_entropy(np.zeros((2, 2)), np.array([0, 1]))
        >>> round(float(loss), 2), gradient
        (0.69, array([[-0.25,  0.25],
               [ 0.25, -0.25]]))
    """
    label_smoothing = real("softmax_cross_entropy: label_smoothing", label_smoothing, 0, 1, closed="both")
    array_module(logits=logits, target=target)
    _check_shapes(logits, target, weight, class_weight)
    floats = target if target.ndim == logits.ndim else None
    xp = float_module("softmax_cross_entropy", logits=logits, target=floats, weight=weight, class_weight=class_weight)
    if type(target) is np.ndarray and floats is None:  # a recorded step checks its labels elsewhere
        check_range(target, logits.shape[-1], "target: labels")
    shape = logits.shape
    if len(shape) > 2:
        logits, target, weight = _positions_as_rows(logits, target, weight, tape, xp)
    if records_native(logits, target, weight, class_weight) and (floats is not None or target.dtype == np.int64):
        loss, dlogits = _native(logits, target, weight, class_weight, label_smoothing, tape)
    elif xp is np and floats is None and class_weight is None and not label_smoothing:
        shares = None if weight is None else _row_shares(logits, weight, None, tape)
        loss, dlogits = label_cross_entropy(logits, target, shares, tape)
    elif xp is np:
        loss, dlogits = _numpy(logits, target, weight, class_weight, label_smoothing, tape)
    else:
        loss, dlogits = _cuda(logits, target, weight, class_weight, label_smoothing, tape, xp)
    return loss, dlogits.reshape(shape)


def _positions_as_rows(
    logits: Array, target: Array, weight: Array | None, tape: Tape | None, xp: ModuleType
) -> tuple[Array, Array, Array | None]:
    """Return (rows, positions..., classes), with its targets and weights, as (rows·positions, classes)."""
    shape = logits.shape[:-1]
    if weight is not None:
        of_row = weight.reshape(len(weight), *[1] * (len(shape) - 1))
        weight = empty(tape, shape, weight.dtype, xp)
        xp.copyto(weight, of_row)
    logits, target = operand(logits, tape, xp), operand(target, tape, xp)
    rows = math.prod(shape)
    weight = None if weight is None else weight.reshape(rows)
    return logits.reshape(rows, logits.shape[-1]), target.reshape(rows, *target.shape[len(shape) :]), weight


def _native(
    logits: Array,
    target: Array,
    weight: Array | None,
    class_weight: Array | None,
    smoothing: float,
    tape: Tape | None,
) -> tuple[Array, Array]:
    """Record the loss as native nodes: one loss per row with its gradient, and their sum in a fixed order."""
    hard = target.ndim == 1
    rows, classes = logits.shape
    norm = None  # N is the number of rows
    options = {  # compiles only this case
        "FEW_CLASSES": int(classes <= FEW_CLASSES),
        "SMOOTHED": int(smoothing != 0),
        "CLASS_WEIGHTS": int(class_weight is not None),
        "LABELS": int(hard),
        "DISTRIBUTIONS": int(not hard),
    }
    if weight is not None or (hard and class_weight is not None):
        norm = empty(tape, (1,), logits.dtype, np)
        CPU_NORM(weight, class_weight, target if hard else None, norm, rows, classes, options=options)
    dlogits, losses = empty_like(tape, logits, np), empty(tape, (rows,), logits.dtype, np)
    kernel = CPU_LABELS if hard else CPU_DISTRIBUTIONS
    weights = weight, class_weight, norm
    kernel(logits, target, *weights, dlogits, losses, rows, classes, smoothing, count=rows, options=options)
    return native_sum(losses, tape), dlogits


def _numpy(
    logits: Array,
    target: Array,
    weight: Array | None,
    class_weight: Array | None,
    smoothing: float,
    tape: Tape | None,
) -> tuple[Array, Array]:
    hard = target.ndim == 1
    rows, classes = logits.shape
    column = ones(classes, logits.dtype)[:, None]
    t = empty_like(tape, logits, np)
    if hard:
        np.equal(target[:, None], np.arange(classes), out=t)
    else:
        np.copyto(t, target)
    share = 1 / rows if rows else 0.0  # w_i / N, a number or a column
    if weight is not None or class_weight is not None:
        share = _row_shares(t, weight, class_weight if hard else None, tape)
    if smoothing:
        np.multiply(t, 1 - smoothing, out=t)
        np.add(t, smoothing / classes, out=t)
    if class_weight is not None:
        np.multiply(t, class_weight, out=t)
    np.multiply(t, share, out=t)

    # from here on t is w_i c_j t_ij / N, and mass its sum over j
    mass, total, ratio = empty(tape, (3, rows, 1), logits.dtype, np)
    dlogits = empty_like(tape, logits, np)
    np.dot(t, column, out=mass)  # for few columns BLAS sums faster than sum
    logits.max(axis=1, out=total, keepdims=True)
    np.subtract(logits, total, out=dlogits)
    np.maximum(dlogits, LOWEST, out=dlogits)  # for excluded classes, -inf: avoids 0·inf
    agreement = np.vdot(t, dlogits)
    np.exp(dlogits, out=dlogits)
    np.dot(dlogits, column, out=total)
    np.divide(mass, total, out=ratio)
    np.multiply(dlogits, ratio, out=dlogits)
    np.subtract(dlogits, t, out=dlogits)
    np.log(total, out=total)
    loss = empty(tape, (), logits.dtype, np)
    np.subtract(np.vdot(mass, total), agreement, out=loss)
    return loss, dlogits


def _row_shares(t: Array, weight: Array | None, class_weight: Array | None, tape: Tape | None) -> Array:
    """Return w_i / N as a column. `class_weight` is given, and counts in N, only for integer labels."""
    share, norm = empty(tape, (2, len(t), 1), t.dtype, np)
    share.fill(1)
    if weight is not None:
        np.copyto(share, weight[:, None])
    if class_weight is None:
        norm = share
    else:
        np.matmul(t, class_weight[:, None], out=norm)
        np.multiply(norm, share, out=norm)
    total = norm.sum()
    return np.divide(share, np.where(total == 0, np.inf, total), out=share)


def _cuda(
    logits: Array,
    target: Array,
    weight: Array | None,
    class_weight: Array | None,
    smoothing: float,
    tape: Tape | None,
    xp: ModuleType,
) -> tuple[Array, Array]:
    hard = target.ndim == 1
    rows, classes = logits.shape
    logits = operand(logits, tape, xp)
    weight, class_weight = (operand(a, tape, xp) for a in (weight, class_weight))
    target = operand(target, tape, xp, np.dtype(np.int64) if hard else None)
    norm = None  # N is the number of rows
    if weight is not None or (hard and class_weight is not None):
        norm = empty(tape, (1,), logits.dtype, xp)
        NORM((1,), (THREADS,), weight, class_weight, target if hard else None, norm, rows, classes)
    dlogits = empty_like(tape, logits, xp)
    lanes = row_lanes(classes)
    blocks = max(1, block_count(rows * lanes, ROW_THREADS))  # at least one, to write the loss 0 of no rows
    threads = min(32 * max(1, math.ceil(rows * lanes / 32)), ROW_THREADS)
    parts = partial_sums(blocks, logits.dtype, tape, xp)
    loss = empty(tape, (), logits.dtype, xp)
    weights = weight, class_weight, norm
    kernel = LABELS if hard else DISTRIBUTIONS
    numbers = rows, classes, smoothing
    kernel((blocks,), (threads,), logits, target, *weights, dlogits, *parts, loss, *numbers, options={"LANES": lanes})
    return loss, dlogits


def _check_shapes(logits: Array, target: Array, weight: Array | None, class_weight: Array | None) -> None:
    if logits.ndim < 2 or not logits.shape[-1]:
        raise ShapeError(
            f"cross-entropy: prediction must be (rows, classes) or (rows, ..., classes), got shape {logits.shape}."
        )
    rows, classes = logits.shape[0], logits.shape[-1]
    for name, a, shapes in (
        ("target", target, (logits.shape[:-1], logits.shape)),
        ("weight", weight, ((rows,),)),
        ("class_weight", class_weight, ((classes,),)),
    ):
        if a is not None and a.shape not in shapes:
            expected = " or ".join(map(str, shapes))
            raise ShapeError(
                f"cross-entropy: {name} has shape {a.shape}, expected {expected} for prediction {logits.shape}."
            )

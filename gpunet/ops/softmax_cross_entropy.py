"""Softmax cross-entropy of logits and its gradient, in one pass.

For logits z (rows, classes), target distributions t (rows, classes), class weights c and row weights w:

    loss = Σ_i w_i Σ_j c_j t_ij (lse_i - z_ij) / N,    lse_i = log Σ_k exp z_ik
    dz_ij = w_i (softmax(z)_ij Σ_k c_k t_ik - c_j t_ij) / N

An integer label y is the distribution that is 1 at y; label smoothing ε mixes any t with the uniform one,
t' = (1 - ε) t + ε / classes. As in PyTorch, N is Σ_i w_i c_{y_i} for integer labels and Σ_i w_i for distributions;
where that is zero, so are the loss and its gradient.
"""

from __future__ import annotations

from types import ModuleType

import numpy as np

from gpunet.device import Array, array_module
from gpunet.errors import ShapeError
from gpunet.ops.checks import float_module
from gpunet.tape import Tape, empty, empty_like


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
        logits: (rows, classes), float32 or float64; -inf rules a class out.
        target: integer labels (rows,) in [0, classes), which are not checked here (a label that is out of range counts
            as no class); or distributions (rows, classes) in the dtype of `logits`.
        weight: row weights (rows,) in the dtype of `logits`.
        class_weight: (classes,) in the dtype of `logits`.
        label_smoothing: ε of the formula, in [0, 1].
        tape: where memory comes from; None makes fresh arrays.

    Returns:
        loss, an array of shape () on the device; dlogits (rows, classes).

    Raises:
        ShapeError: the shapes don't fit.
        DTypeError: dtypes that differ or are not float32 or float64.
    """
    hard = target.ndim == 1
    array_module(logits=logits, target=target)
    floats = {"logits": logits, "weight": weight, "class_weight": class_weight}
    xp = float_module("softmax_cross_entropy", **floats if hard else {**floats, "target": target})
    _check_shapes(logits, target, weight, class_weight)
    rows, classes = logits.shape

    t = empty_like(tape, logits, xp)
    if hard:
        xp.equal(target[:, None], xp.arange(classes), out=t)
    else:
        xp.copyto(t, target)
    share = 1 / rows if rows else 0.0  # w_i / N, a number or a column
    if weight is not None or class_weight is not None:
        share = _row_shares(t, weight, class_weight if hard else None, xp, tape)
    if label_smoothing:
        xp.multiply(t, 1 - label_smoothing, out=t)
        xp.add(t, label_smoothing / classes, out=t)
    if class_weight is not None:
        xp.multiply(t, class_weight, out=t)
    xp.multiply(t, share, out=t)

    # from here on t is w_i c_j t_ij / N, and mass its sum over j
    mass, total, ratio = empty(tape, (3, rows, 1), logits.dtype, xp)
    dlogits = empty_like(tape, logits, xp)
    t.sum(axis=1, out=mass, keepdims=True)
    logits.max(axis=1, out=total, keepdims=True)
    xp.subtract(logits, total, out=dlogits)
    xp.maximum(dlogits, np.finfo(logits.dtype).min, out=dlogits)  # a class that is ruled out by -inf: not 0·inf
    agreement = xp.vdot(t, dlogits)
    xp.exp(dlogits, out=dlogits)
    dlogits.sum(axis=1, out=total, keepdims=True)
    xp.divide(mass, total, out=ratio)
    xp.multiply(dlogits, ratio, out=dlogits)
    xp.subtract(dlogits, t, out=dlogits)
    xp.log(total, out=total)
    loss = empty(tape, (), logits.dtype, xp)
    xp.subtract(xp.vdot(mass, total), agreement, out=loss)
    return loss, dlogits


def _row_shares(t: Array, weight: Array | None, class_weight: Array | None, xp: ModuleType, tape: Tape | None) -> Array:
    """Return w_i / N as a column; `class_weight` counts in N where the labels are integers."""
    share, norm = empty(tape, (2, len(t), 1), t.dtype, xp)
    share.fill(1)
    if weight is not None:
        xp.copyto(share, weight[:, None])
    if class_weight is None:
        norm = share
    else:
        xp.matmul(t, class_weight[:, None], out=norm)
        xp.multiply(norm, share, out=norm)
    return xp.divide(share, xp.maximum(norm.sum(), np.finfo(t.dtype).tiny), out=share)


def _check_shapes(logits: Array, target: Array, weight: Array | None, class_weight: Array | None) -> None:
    if logits.ndim != 2 or not logits.shape[1]:
        raise ShapeError(f"cross-entropy: prediction must be (rows, classes), got shape {logits.shape}.")
    rows, classes = logits.shape
    for name, a, shapes in (
        ("target", target, ((rows,), (rows, classes))),
        ("weight", weight, ((rows,),)),
        ("class_weight", class_weight, ((classes,),)),
    ):
        if a is not None and a.shape not in shapes:
            expected = " or ".join(map(str, shapes))
            raise ShapeError(
                f"cross-entropy: {name} has shape {a.shape}, expected {expected} for prediction {logits.shape}."
            )

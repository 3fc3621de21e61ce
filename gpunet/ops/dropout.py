"""Dropout: zero each element with probability p and scale the others by 1/(1 - p), so that the mean stays.

    y = x · keep / (1 - p),    dx = dy · keep / (1 - p),    keep = (u >= p), u uniform in [0, 1)

The mask depends on the seed, the step, the layer and the row alone: it is the same on every device. Srivastava et al.
2014, in the "inverted" form that leaves inference untouched.
"""

from __future__ import annotations

import numpy as np

from gpunet.device import Array, array_module
from gpunet.ops.checks import check_shape, float_module
from gpunet.tape import Tape, empty_like


def dropout(x: Array, p: float, tape: Tape) -> tuple[Array, Array]:
    """Return (y, keep).

    Args:
        x: (rows, ...), float32 or float64.
        p: the probability of a zero, 0 <= p <= 1.
        tape: where the random numbers and the memory come from.

    Returns:
        y in the shape of `x`, and the mask `keep`, which `dropout_backward` needs.

    Raises:
        DTypeError: `x` is not float32 or float64.
    """
    xp = float_module("dropout", x=x)
    keep = tape.empty(x.shape, np.dtype(bool), xp)
    xp.greater_equal(tape.uniform(x.shape, xp), np.float32(p), out=keep)
    return dropout_backward(x, keep, p, tape), keep


def dropout_backward(dy: Array, keep: Array, p: float, tape: Tape | None = None) -> Array:
    """Return dx = dy · keep / (1 - p); the same arithmetic as forward, since dropout is linear.

    Raises:
        ShapeError: `dy` and `keep` differ in shape.
        DTypeError: `dy` is not float32 or float64.
    """
    array_module(dy=dy, keep=keep)
    xp = float_module("dropout_backward", dy=dy)
    check_shape("dropout_backward", keep.shape, dy=dy)
    dx = empty_like(tape, dy, xp)
    xp.multiply(dy, 1 / (1 - p) if p < 1 else 0.0, out=dx)
    return xp.multiply(dx, keep, out=dx)

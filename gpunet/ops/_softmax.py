"""Softmax along an axis, and its gradient.

    y_j = exp(x_j - max x) / Σ_k exp(x_k - max x),    dx = y · (dy - Σ_k dy_k·y_k)

The maximum is subtracted to avoid overflow.
"""

from __future__ import annotations

from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.ops.checks import check_shape, float_module


def softmax(x: Array, axis: int = -1, *, out: Array | None = None) -> Array:
    """Return the softmax of `x` along `axis`; `out` may be `x` itself.

    Example:
        >>> gn.ops.softmax(np.log([[1.0, 3.0]])).round(2)
        array([[0.25, 0.75]])
    """
    xp = float_module("softmax", x=x, out=out)
    if not -x.ndim <= axis < x.ndim or x.shape[axis] == 0:
        raise ShapeError(f"softmax: x of shape {x.shape} has no elements along axis {axis}.")
    check_shape("softmax", x.shape, out=out)
    if out is None:
        out = xp.empty_like(x)
    xp.subtract(x, x.max(axis=axis, keepdims=True), out=out)
    xp.exp(out, out=out)
    return xp.divide(out, out.sum(axis=axis, keepdims=True), out=out)


def softmax_backward(dy: Array, y: Array, axis: int = -1) -> Array:
    """Return the gradient of x, where y = softmax(x, axis).

    Example:
        >>> gn.ops.softmax_backward(np.array([1.0, 0.0]), np.array([0.5, 0.5]))
        array([ 0.25, -0.25])
    """
    xp = float_module("softmax_backward", dy=dy, y=y)
    check_shape("softmax_backward", y.shape, dy=dy)
    dx = xp.multiply(dy, y)
    total = dx.sum(axis=axis, keepdims=True)
    xp.subtract(dy, total, out=dx)
    return xp.multiply(dx, y, out=dx)

"""Batch norm: normalize each channel over the whole batch. (Ioffe & Szegedy 2015)

    normal = (x - mean) / √(variance + eps),  y = normal · weight + bias
    dweight = Σ dy · normal,  dbias = Σ dy
    dx = (dy - dbias / count - normal · dweight / count) · weight / √(variance + eps)

x is (rows, channels, ...). Sums are over all axes except the second, `count` elements per channel; mean and variance
are as in `_batch_statistics.py`.
"""

from __future__ import annotations

import math

import numpy as np

from gpunet.arguments import real
from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.ops.channels import BLOCK, channel_scratch, channel_sizes, folded, spread, sum_channels
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.launch import column_grid, operand
from gpunet.tape import Tape, empty, empty_like

FORWARD, SUMS, BACKWARD = (Kernel("batch_norm.cu", f"batch_norm_{name}") for name in ("forward", "sums", "backward"))


def batch_norm(
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    *,
    tape: Tape | None = None,
) -> Array:
    """Return (x - mean) / √(variance + eps) · weight + bias per channel, for x (rows, channels, ...).

    Args:
        mean, variance: (channels,), of the batch or the running ones.
        weight, bias: (channels,); None for ones and zeros.

    Example:
        >>> x = np.array([[1.0], [3.0]])
        >>> gn.ops.batch_norm(x, *gn.ops.batch_statistics(x)).round(2)
        array([[-1.],
               [ 1.]])
    """
    eps = real("batch_norm: eps", eps, 0, closed="left")
    vectors = {"mean": mean, "variance": variance, "weight": weight, "bias": bias}
    xp = float_module("batch_norm", x=x, **vectors)
    rows, channels, size = channel_sizes("batch_norm", x, **vectors)
    y = empty_like(tape, x, xp)
    if xp is np:
        flat, out = folded(x, size), folded(y, size)
        np.subtract(flat, spread(mean, flat), out=out)
        np.multiply(out, spread(_scale(variance, eps, weight, tape), out), out=out)
        if bias is not None:
            np.add(out, spread(bias, out), out=out)
        return y
    x, mean, variance = (operand(a, tape, xp) for a in (x, mean, variance))
    weight, bias = (operand(a, tape, xp) for a in (weight, bias))
    grid = column_grid(x, rows, channels * size)
    sizes = rows, channels, size, math.ceil(rows / grid[1])
    FORWARD(grid, BLOCK, x, mean, variance, weight, bias, y, *sizes, eps)
    return y


def batch_norm_backward(
    dy: Array,
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array | None = None,
    eps: float = 1e-5,
    *,
    dweight: Array | None = None,
    dbias: Array | None = None,
    input_gradient: bool = True,
    tape: Tape | None = None,
) -> tuple[Array | None, Array, Array]:
    """Return (dx, dweight, dbias), for the mean and variance that `batch_statistics` returned for x.

    dweight and dbias come from the tape by default.

    Example:
        >>> x, dy = np.array([[1.0], [3.0]]), np.array([[5.0], [5.0]])
        >>> dx, _, dbias = gn.ops.batch_norm_backward(dy, x, *gn.ops.batch_statistics(x))
        >>> dx, dbias  # a shift of the whole batch does not change y
        (array([[0.],
               [0.]]), array([10.]))
    """
    vectors = {"mean": mean, "variance": variance, "weight": weight, "dweight": dweight, "dbias": dbias}
    xp = float_module("batch_norm_backward", dy=dy, x=x, **vectors)
    rows, channels, size = channel_sizes("batch_norm_backward", x, **vectors)
    check_shape("batch_norm_backward", x.shape, dy=dy)
    dweight = empty(tape, (channels,), x.dtype, xp) if dweight is None else dweight
    dbias = empty(tape, (channels,), x.dtype, xp) if dbias is None else dbias
    dx = empty_like(tape, x, xp) if input_gradient else None
    if xp is np:
        out = None if dx is None else folded(dx, size)
        _numpy_backward(folded(dy, size), folded(x, size), mean, variance, weight, eps, dweight, dbias, out, tape)
        return dx, dweight, dbias
    dy, x, mean, variance = (operand(a, tape, xp) for a in (dy, x, mean, variance))
    weight = operand(weight, tape, xp)
    grid = column_grid(x, rows, channels * size)
    sizes = rows, channels, size, math.ceil(rows / grid[1])
    scratch = channel_scratch(x, grid, 2, size, tape, xp)
    SUMS(grid, BLOCK, dy, x, mean, variance, *scratch, dweight, dbias, *sizes, eps)
    if dx is not None:
        BACKWARD(grid, BLOCK, dy, x, mean, variance, weight, dweight, dbias, dx, *sizes, eps)
    return dx, dweight, dbias


def _numpy_backward(
    dy: Array,
    x: Array,
    mean: Array,
    variance: Array,
    weight: Array | None,
    eps: float,
    dweight: Array,
    dbias: Array,
    dx: Array | None,
    tape: Tape | None,
) -> None:
    count = max(x.size // len(mean), 1)
    normal, products = empty_like(tape, x, np), empty_like(tape, x, np)
    np.subtract(x, spread(mean, x), out=normal)
    np.multiply(normal, spread(_scale(variance, eps, None, tape), x), out=normal)
    sum_channels(np.multiply(dy, normal, out=products), dweight, tape)
    sum_channels(dy, dbias, tape)
    if dx is None:
        return
    of_channel = np.divide(dweight, count, out=empty_like(tape, dweight, np))
    np.multiply(normal, spread(of_channel, x), out=normal)
    np.subtract(dy, normal, out=dx)
    np.divide(dbias, count, out=of_channel)
    np.subtract(dx, spread(of_channel, x), out=dx)
    np.multiply(dx, spread(_scale(variance, eps, weight, tape), x), out=dx)


def _scale(variance: Array, eps: float, weight: Array | None, tape: Tape | None) -> Array:
    """Return weight / √(variance + eps)."""
    scale = np.add(variance, eps, out=empty_like(tape, variance, np))
    np.sqrt(scale, out=scale)
    return np.divide(1 if weight is None else weight, scale, out=scale)

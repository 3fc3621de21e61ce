"""Batch norm: normalize each channel over the whole batch. (Ioffe & Szegedy 2015)

    normal = (x - mean) / √(variance + eps),  y = normal · weight + bias
    dweight = Σ dy · normal,  dbias = Σ dy
    dx = (dy - dbias / count - normal · dweight / count) · weight / √(variance + eps)

x is (rows, channels, ...). Sums and means are over all axes except the second, `count` elements per channel. The
variance is biased and computed from the differences to the mean.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import NamedTuple

import numpy as np

from gpunet.arguments import real
from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.ops._bias_activation import sum_columns
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.launch import column_grid, column_sums, operand
from gpunet.tape import Tape, empty, empty_like, zeros

MEAN, VARIANCE, FORWARD, SUMS, BACKWARD = (
    Kernel("batch_norm.cu", f"batch_norm_{name}") for name in ("mean", "variance", "forward", "sums", "backward")
)
BLOCK = 32, 8


class Running(NamedTuple):
    """Running statistics of the batches, on their device.

    Attributes:
        mean: (channels,), moved by momentum · (batch mean - mean).
        var: (channels,), moved by momentum · (unbiased batch variance - var).
        batches: (), the number of batches, in the dtype of x.
        momentum: in [0, 1]; None for 1 / batches, which gives the plain mean over all batches.
    """

    mean: Array
    var: Array
    batches: Array
    momentum: float | None


def batch_statistics(x: Array, running: Running | None = None, *, tape: Tape | None = None) -> tuple[Array, Array]:
    """Return (mean, variance) of each channel of a batch x (rows, channels, ...), both (channels,).

    Args:
        running: statistics to update, except by non-finite numbers and the variance of a single element.

    Example:
        >>> x = np.array([[1.0, 5.0], [3.0, 5.0]])  # two rows, two channels
        >>> gn.ops.batch_statistics(x)
        (array([2., 5.]), array([1., 0.]))
    """
    moved = (None, None, None) if running is None else running[:3]
    xp = float_module("batch_statistics", x=x, running_mean=moved[0], running_var=moved[1], batches=moved[2])
    rows, channels, size = _sizes("batch_statistics", x, running_mean=moved[0], running_var=moved[1])
    mean, variance = empty(tape, (channels,), x.dtype, xp), empty(tape, (channels,), x.dtype, xp)
    if xp is np:
        _numpy_statistics(_folded(x, size), rows * size, mean, variance, running, tape)
        return mean, variance
    x, grid = operand(x, tape, xp), column_grid(x, rows, channels * size)
    sizes = rows, channels, size, math.ceil(rows / grid[1])
    momentum = 0.0 if running is None else -1.0 if running.momentum is None else running.momentum
    MEAN(grid, BLOCK, x, *_scratch(x, grid, 1, size, tape, xp), mean, moved[2], *sizes)
    VARIANCE(grid, BLOCK, x, mean, *_scratch(x, grid, 1, size, tape, xp), variance, *moved, *sizes, momentum)
    return mean, variance


def _numpy_statistics(
    x: Array, count: int, mean: Array, variance: Array, running: Running | None, tape: Tape | None
) -> None:
    _sum_channels(x, mean, tape)
    np.divide(mean, max(count, 1), out=mean)
    squares = np.subtract(x, _spread(mean, x), out=empty_like(tape, x, np))
    np.square(squares, out=squares)
    _sum_channels(squares, variance, tape)
    np.divide(variance, max(count, 1), out=variance)
    if running is None:
        return
    np.add(running.batches, 1, out=running.batches)
    if count > 1:
        unbiased = np.multiply(variance, count / (count - 1), out=empty_like(tape, variance, np))
        _follow(running.mean, mean, running, tape)
        _follow(running.var, unbiased, running, tape)


def _follow(moved: Array, number: Array, running: Running, tape: Tape | None) -> None:
    """Move running statistics towards those of this batch, but not to non-finite ones, which would stay forever."""
    change, finite = empty_like(tape, number, np), empty(tape, number.shape, np.dtype(bool), np)
    np.subtract(number, moved, out=change)
    if running.momentum is None:
        np.divide(change, running.batches, out=change)
    else:
        np.multiply(change, running.momentum, out=change)
    np.add(moved, change, out=moved, where=np.isfinite(change, out=finite))


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
    """Return (x - mean) / √(variance + eps) · weight + bias per channel, in the shape of `x`.

    Args:
        x: (rows, channels, ...).
        mean, variance: (channels,), of the batch or the running ones.
        weight, bias: (channels,); None for ones and zeros.
        eps: >= 0.

    Example:
        >>> x = np.array([[1.0], [3.0]])
        >>> gn.ops.batch_norm(x, *gn.ops.batch_statistics(x)).round(2)
        array([[-1.],
               [ 1.]])
    """
    eps = real("batch_norm: eps", eps, 0, closed="left")
    vectors = {"mean": mean, "variance": variance, "weight": weight, "bias": bias}
    xp = float_module("batch_norm", x=x, **vectors)
    rows, channels, size = _sizes("batch_norm", x, **vectors)
    y = empty_like(tape, x, xp)
    if xp is np:
        flat, out = _folded(x, size), _folded(y, size)
        np.subtract(flat, _spread(mean, flat), out=out)
        np.multiply(out, _spread(_scale(variance, eps, weight, tape), out), out=out)
        if bias is not None:
            np.add(out, _spread(bias, out), out=out)
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
    rows, channels, size = _sizes("batch_norm_backward", x, **vectors)
    check_shape("batch_norm_backward", x.shape, dy=dy)
    dweight = empty(tape, (channels,), x.dtype, xp) if dweight is None else dweight
    dbias = empty(tape, (channels,), x.dtype, xp) if dbias is None else dbias
    dx = empty_like(tape, x, xp) if input_gradient else None
    if xp is np:
        out = None if dx is None else _folded(dx, size)
        _numpy_backward(_folded(dy, size), _folded(x, size), mean, variance, weight, eps, dweight, dbias, out, tape)
        return dx, dweight, dbias
    dy, x, mean, variance = (operand(a, tape, xp) for a in (dy, x, mean, variance))
    weight = operand(weight, tape, xp)
    grid = column_grid(x, rows, channels * size)
    sizes = rows, channels, size, math.ceil(rows / grid[1])
    scratch = _scratch(x, grid, 2, size, tape, xp)
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
    np.subtract(x, _spread(mean, x), out=normal)
    np.multiply(normal, _spread(_scale(variance, eps, None, tape), x), out=normal)
    _sum_channels(np.multiply(dy, normal, out=products), dweight, tape)
    _sum_channels(dy, dbias, tape)
    if dx is None:
        return
    of_channel = np.divide(dweight, count, out=empty_like(tape, dweight, np))
    np.multiply(normal, _spread(of_channel, x), out=normal)
    np.subtract(dy, normal, out=dx)
    np.divide(dbias, count, out=of_channel)
    np.subtract(dx, _spread(of_channel, x), out=dx)
    np.multiply(dx, _spread(_scale(variance, eps, weight, tape), x), out=dx)


def _scale(variance: Array, eps: float, weight: Array | None, tape: Tape | None) -> Array:
    """Return weight / √(variance + eps)."""
    scale = np.add(variance, eps, out=empty_like(tape, variance, np))
    np.sqrt(scale, out=scale)
    return np.divide(1 if weight is None else weight, scale, out=scale)


def _sum_channels(a: Array, out: Array, tape: Tape | None) -> None:
    """Write the sums over all axes except the second of an array from `_folded`."""
    if a.ndim == 2:
        sum_columns(a, out, tape, np)
        return
    columns = empty(tape, a.shape[1:], a.dtype, np)
    sum_columns(a.reshape(len(a), columns.size), columns.reshape(-1), tape, np)
    np.add.reduce(columns, axis=1, out=out)


def _folded(a: Array, size: int) -> Array:
    """View (rows, channels, ...) as (rows, channels), or (rows, channels, size) where `size` is not 1."""
    shape = a.shape[:2] if size == 1 else (*a.shape[:2], size)
    return a if a.shape == shape else a.reshape(shape)


def _spread(of_channel: Array, x: Array) -> Array:
    """View (channels,) so that it broadcasts with `x`."""
    return of_channel if x.ndim == 2 else of_channel[:, None]


def _scratch(
    x: Array, grid: tuple[int, int], sums: int, size: int, tape: Tape | None, xp: ModuleType
) -> tuple[Array | None, ...]:
    """Return the buffers to sum over channels: column_sums, done, partial_sums, arrivals."""
    n = x.shape[1] * size
    of_columns: tuple[Array | None, Array | None] = None, None
    if size != 1:
        of_columns = empty(tape, (sums, n), x.dtype, xp), zeros(tape, (1,), np.dtype(np.uint32), xp)
    return *of_columns, *column_sums(grid, sums, n, x.dtype, tape, xp)


def _sizes(op: str, x: Array, **of_channel: Array | None) -> tuple[int, int, int]:
    """Check the shapes; return rows, channels and the elements of a channel in a row."""
    if x.ndim < 2 or 0 in x.shape[1:]:
        raise ShapeError(f"{op}: x must be (rows, channels, ...), where only rows may be 0; got shape {x.shape}.")
    check_shape(op, x.shape[1:2], **of_channel)
    return len(x), x.shape[1], math.prod(x.shape[2:])

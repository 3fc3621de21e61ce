"""Batch statistics: the mean and the variance of each channel of a batch.

    mean = Σ x / count,  variance = Σ (x - mean)² / count

x is (rows, channels, ...). Sums are over all axes except the second, `count` elements per channel.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.ops.channels import BLOCK, channel_scratch, channel_sizes, folded, spread, sum_channels
from gpunet.ops.checks import float_module
from gpunet.ops.launch import column_grid, operand
from gpunet.tape import Tape, empty, empty_like

MEAN, VARIANCE = (Kernel("batch_norm.cu", f"batch_norm_{name}") for name in ("mean", "variance"))


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
    rows, channels, size = channel_sizes("batch_statistics", x, running_mean=moved[0], running_var=moved[1])
    mean, variance = empty(tape, (channels,), x.dtype, xp), empty(tape, (channels,), x.dtype, xp)
    if xp is np:
        _numpy_statistics(folded(x, size), rows * size, mean, variance, running, tape)
        return mean, variance
    x, grid = operand(x, tape, xp), column_grid(x, rows, channels * size)
    sizes = rows, channels, size, math.ceil(rows / grid[1])
    momentum = 0.0 if running is None else -1.0 if running.momentum is None else running.momentum
    MEAN(grid, BLOCK, x, *channel_scratch(x, grid, 1, size, tape, xp), mean, moved[2], *sizes)
    VARIANCE(grid, BLOCK, x, mean, *channel_scratch(x, grid, 1, size, tape, xp), variance, *moved, *sizes, momentum)
    return mean, variance


def _numpy_statistics(
    x: Array, count: int, mean: Array, variance: Array, running: Running | None, tape: Tape | None
) -> None:
    sum_channels(x, mean, tape)
    np.divide(mean, max(count, 1), out=mean)
    squares = np.subtract(x, spread(mean, x), out=empty_like(tape, x, np))
    np.square(squares, out=squares)
    sum_channels(squares, variance, tape)
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

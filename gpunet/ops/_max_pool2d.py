"""Max pooling: the largest element under each window of an image.

    y = max over taps of x,    dx = Σ of dy over the windows with the pixel as maximum

x is (rows, channels, height, width); every channel of every row is an image.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.ops.window import Shape, Size, Tap, launch_sizes, pooled_shape, pooling_window
from gpunet.tape import Tape, empty, empty_like

FORWARD = Kernel("pooling.cu", "max_pool2d_forward")
BACKWARD = Kernel("pooling.cu", "max_pool2d_backward")


def max_pool2d(
    x: Array,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    *,
    winners: Array | None = None,
    tape: Tape | None = None,
) -> Array:
    """Return the largest element under each window, (rows, channels, out_h, out_w), as PyTorch's `max_pool2d`.

    NaN counts as the largest.

    Args:
        x: (rows, channels, height, width).
        stride: None for the kernel size.
        padding: elements of -infinity; at most half of the window.
        winners: where to write the tap with the largest element for the backward pass: int32 in the shape of the
            result, C-contiguous. Of equal elements the first tap wins; with NaN, any tap or none.

    Example:
        >>> x = np.array([[[[1.0, 4.0, 2.0, 3.0]]]])
        >>> gn.ops.max_pool2d(x, (1, 2))
        array([[[[4., 3.]]]])
    """
    xp = float_module("max_pool2d", x=x)
    window = pooling_window("max_pool2d", kernel_size, stride, padding, dilation)
    shape = pooled_shape("max_pool2d", x.shape, window)
    check_shape("max_pool2d", shape, winners=winners)
    y = empty(tape, shape, x.dtype, xp)
    if xp is not np:
        grid = (block_count(y.size, THREADS),)
        FORWARD(grid, (THREADS,), operand(x, tape, xp), y, winners, *launch_sizes(x.shape, shape, window))
        return y
    y.fill(-np.inf)
    taps = list(window.taps(x.shape[2:], shape[2:]))
    for _, pixels, windows in taps:
        np.maximum(y[windows], x[pixels], out=y[windows])
    if winners is not None:
        _find_winners(x, y, taps, winners, tape)
    return y


def _find_winners(x: Array, y: Array, taps: Sequence[Tap], winners: Array, tape: Tape | None) -> None:
    """Write the index of the first tap whose pixel is the largest, as the number of taps before it."""
    sought, differs = (empty(tape, y.shape, np.dtype(bool), np) for _ in range(2))
    winners.fill(0)
    sought.fill(True)
    for _, pixels, windows in taps:
        np.not_equal(x[pixels], y[windows], out=differs[windows])
        np.logical_and(sought[windows], differs[windows], out=sought[windows])
        np.add(winners, sought, out=winners)


def max_pool2d_backward(
    dy: Array,
    winners: Array,
    shape: Shape,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    dilation: Size = 1,
    *,
    tape: Tape | None = None,
) -> Array:
    """Return dx, the gradient of y = max_pool2d(x, ...), in `shape`, that of x: each dy goes to the largest pixel.

    Example:
        >>> x, winners = np.array([[[[1.0, 4.0, 2.0, 3.0]]]]), np.empty((1, 1, 1, 2), np.int32)
        >>> y = gn.ops.max_pool2d(x, (1, 2), winners=winners)
        >>> gn.ops.max_pool2d_backward(np.array([[[[5.0, 6.0]]]]), winners, x.shape, (1, 2))
        array([[[[0., 5., 0., 6.]]]])
    """
    xp = float_module("max_pool2d_backward", dy=dy)
    window = pooling_window("max_pool2d_backward", kernel_size, stride, padding, dilation)
    out_shape = pooled_shape("max_pool2d_backward", shape, window)
    check_shape("max_pool2d_backward", out_shape, dy=dy, winners=winners)
    dx = empty(tape, shape, dy.dtype, xp)
    if xp is not np:
        grid = (block_count(dx.size, THREADS),)
        BACKWARD(grid, (THREADS,), operand(dy, tape, xp), winners, dx, *launch_sizes(shape, out_shape, window))
        return dx
    won, part = empty(tape, out_shape, np.dtype(bool), np), empty_like(tape, dy, np)
    dx.fill(0)
    for number, pixels, windows in window.taps(shape[2:], out_shape[2:]):
        np.equal(winners, number, out=won)
        np.multiply(dy, won, out=part)
        np.add(dx[pixels], part[windows], out=dx[pixels])
    return dx

"""Pooling: the largest element or the mean under each window of an image, or the mean of the whole image.

    max:      y = max over taps of x,      dx = Σ of dy over the windows with the pixel as maximum
    average:  y = Σ over taps of x / taps, dx = Σ of dy over the windows with the pixel / taps
    global:   y = Σ over pixels of x / pixels, dx = dy / pixels

x is (rows, channels, height, width); every channel of every row is an image.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.errors import ArgumentError, ShapeError
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.ops.window import Size, Tap, Window, short
from gpunet.tape import Tape, empty, empty_like

MAX_FORWARD = Kernel("pooling.cu", "max_pool2d_forward")
MAX_BACKWARD = Kernel("pooling.cu", "max_pool2d_backward")
AVG_FORWARD = Kernel("pooling.cu", "avg_pool2d_forward")
AVG_BACKWARD = Kernel("pooling.cu", "avg_pool2d_backward")
GLOBAL_FORWARD = Kernel("pooling.cu", "global_avg_pool2d_forward")
GLOBAL_BACKWARD = Kernel("pooling.cu", "global_avg_pool2d_backward")

Shape = tuple[int, ...]


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
    """Return the largest element under each window, as PyTorch's `max_pool2d`; NaN counts as the largest.

    Args:
        x: (rows, channels, height, width).
        kernel_size: taps of a window; one number, or one for each axis.
        stride: pixels between neighbouring windows; None for the kernel size.
        padding: elements of -infinity on each side of the image; at most half of the window.
        dilation: pixels between neighbouring taps.
        winners: where to write the tap with the largest element, which the backward pass needs: int32 in the shape of
            the result, C-contiguous. Of equal elements the first tap wins; with NaN, any tap or none.

    Returns:
        (rows, channels, out_h, out_w), out = (size + 2·padding - dilation·(kernel_size - 1) - 1) // stride + 1.

    Raises:
        ArgumentError: an invalid size.

    Example:
        >>> x = np.array([[[[1.0, 4.0, 2.0, 3.0]]]])
        >>> gn.ops.max_pool2d(x, (1, 2))
        array([[[[4., 3.]]]])
    """
    xp = float_module("max_pool2d", x=x)
    window = pooling_window("max_pool2d", kernel_size, stride, padding, dilation)
    shape = _output_shape("max_pool2d", x.shape, window)
    check_shape("max_pool2d", shape, winners=winners)
    y = empty(tape, shape, x.dtype, xp)
    if xp is not np:
        grid = (block_count(y.size, THREADS),)
        MAX_FORWARD(grid, (THREADS,), operand(x, tape, xp), y, winners, *_sizes(x.shape, shape, window))
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
    """Return dx in `shape`, that of x: the gradient of y = max_pool2d(x, ...). Each dy goes to the largest pixel.

    Example:
        >>> x, winners = np.array([[[[1.0, 4.0, 2.0, 3.0]]]]), np.empty((1, 1, 1, 2), np.int32)
        >>> y = gn.ops.max_pool2d(x, (1, 2), winners=winners)
        >>> gn.ops.max_pool2d_backward(np.array([[[[5.0, 6.0]]]]), winners, x.shape, (1, 2))
        array([[[[0., 5., 0., 6.]]]])
    """
    xp = float_module("max_pool2d_backward", dy=dy)
    window = pooling_window("max_pool2d_backward", kernel_size, stride, padding, dilation)
    out_shape = _output_shape("max_pool2d_backward", shape, window)
    check_shape("max_pool2d_backward", out_shape, dy=dy, winners=winners)
    dx = empty(tape, shape, dy.dtype, xp)
    if xp is not np:
        grid = (block_count(dx.size, THREADS),)
        MAX_BACKWARD(grid, (THREADS,), operand(dy, tape, xp), winners, dx, *_sizes(shape, out_shape, window))
        return dx
    won, part = empty(tape, out_shape, np.dtype(bool), np), empty_like(tape, dy, np)
    dx.fill(0)
    for number, pixels, windows in window.taps(shape[2:], out_shape[2:]):
        np.equal(winners, number, out=won)
        np.multiply(dy, won, out=part)
        np.add(dx[pixels], part[windows], out=dx[pixels])
    return dx


def avg_pool2d(
    x: Array, kernel_size: Size, stride: Size | None = None, padding: Size = 0, *, tape: Tape | None = None
) -> Array:
    """Return the mean under each window, padding counted as zeros, as PyTorch's `avg_pool2d`.

    Args:
        x: (rows, channels, height, width).
        kernel_size: pixels of a window; one number, or one for each axis.
        stride: pixels between neighbouring windows; None for the kernel size.
        padding: zeros on each side of the image; at most half of the window.

    Returns:
        (rows, channels, out_h, out_w), out = (size + 2·padding - kernel_size) // stride + 1.

    Raises:
        ArgumentError: an invalid size.

    Example:
        >>> x = np.array([[[[1.0, 3.0, 5.0, 7.0]]]])
        >>> gn.ops.avg_pool2d(x, (1, 2))
        array([[[[2., 6.]]]])
    """
    xp = float_module("avg_pool2d", x=x)
    window = pooling_window("avg_pool2d", kernel_size, stride, padding)
    shape = _output_shape("avg_pool2d", x.shape, window)
    y = empty(tape, shape, x.dtype, xp)
    if xp is not np:
        sizes = _sizes(x.shape, shape, window)[:-2]
        AVG_FORWARD((block_count(y.size, THREADS),), (THREADS,), operand(x, tape, xp), y, *sizes)
        return y
    y.fill(0)
    for _, pixels, windows in window.taps(x.shape[2:], shape[2:]):
        np.add(y[windows], x[pixels], out=y[windows])
    return np.divide(y, math.prod(window.kernel_size), out=y)


def avg_pool2d_backward(
    dy: Array,
    shape: Shape,
    kernel_size: Size,
    stride: Size | None = None,
    padding: Size = 0,
    *,
    tape: Tape | None = None,
) -> Array:
    """Return dx in `shape`, that of x: the gradient of y = avg_pool2d(x, ...).

    Example:
        >>> gn.ops.avg_pool2d_backward(np.array([[[[2.0, 4.0]]]]), (1, 1, 1, 4), (1, 2))
        array([[[[1., 1., 2., 2.]]]])
    """
    xp = float_module("avg_pool2d_backward", dy=dy)
    window = pooling_window("avg_pool2d_backward", kernel_size, stride, padding)
    out_shape = _output_shape("avg_pool2d_backward", shape, window)
    check_shape("avg_pool2d_backward", out_shape, dy=dy)
    dx = empty(tape, shape, dy.dtype, xp)
    if xp is not np:
        sizes = _sizes(shape, out_shape, window)[:-2]
        AVG_BACKWARD((block_count(dx.size, THREADS),), (THREADS,), operand(dy, tape, xp), dx, *sizes)
        return dx
    dx.fill(0)
    for _, pixels, windows in window.taps(shape[2:], out_shape[2:]):
        np.add(dx[pixels], dy[windows], out=dx[pixels])
    return np.divide(dx, math.prod(window.kernel_size), out=dx)


def global_avg_pool2d(x: Array, *, tape: Tape | None = None) -> Array:
    """Return the mean of each image, (rows, channels).

    Args:
        x: (rows, channels, height, width), with at least one pixel per image.

    Example:
        >>> gn.ops.global_avg_pool2d(np.array([[[[1.0, 2.0], [3.0, 6.0]]]]))
        array([[3.]])
    """
    xp = float_module("global_avg_pool2d", x=x)
    if x.ndim != 4 or 0 in x.shape[2:]:
        raise ShapeError(f"global_avg_pool2d: x must be (rows, channels, height, width) with pixels, got {x.shape}.")
    y = empty(tape, x.shape[:2], x.dtype, xp)
    pixels = math.prod(x.shape[2:])
    if xp is not np:
        grid = (block_count(32 * y.size, THREADS),)  # one warp per image
        GLOBAL_FORWARD(grid, (THREADS,), operand(x, tape, xp), y, y.size, pixels)
        return y
    np.add.reduce(x, axis=(2, 3), out=y)
    return np.divide(y, pixels, out=y)


def global_avg_pool2d_backward(dy: Array, shape: Shape, *, tape: Tape | None = None) -> Array:
    """Return dx in `shape`, that of x: the gradient of y = global_avg_pool2d(x).

    Example:
        >>> gn.ops.global_avg_pool2d_backward(np.array([[8.0]]), (1, 1, 2, 2))
        array([[[[2., 2.],
                 [2., 2.]]]])
    """
    xp = float_module("global_avg_pool2d_backward", dy=dy)
    check_shape("global_avg_pool2d_backward", shape[:2], dy=dy)
    dx = empty(tape, shape, dy.dtype, xp)
    pixels = math.prod(shape[2:])
    if xp is not np:
        GLOBAL_BACKWARD((block_count(dx.size, THREADS),), (THREADS,), operand(dy, tape, xp), dx, dy.size, pixels)
        return dx
    return np.divide(dy.reshape(*dy.shape, 1, 1), pixels, out=dx)


def pooling_window(op: str, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size = 1) -> Window:
    """Return the window of a pooling.

    Raises:
        ArgumentError: an invalid size; the message begins with `op`.
    """
    window = Window.of(op, kernel_size, kernel_size if stride is None else stride, padding, dilation)
    if any(2 * p > span for p, span in zip(window.padding, window.span, strict=True)):
        raise ArgumentError(
            f"{op}: padding={short(window.padding)} is more than half of the window, which spans {short(window.span)}, "
            "so a window could contain only padding; use less padding."
        )
    return window


def _output_shape(op: str, shape: Shape, window: Window) -> Shape:
    if len(shape) != 4:
        raise ShapeError(f"{op}: x must be (rows, channels, height, width), got shape {shape}.")
    return (*shape[:2], *window.places(op, shape[2:]))


def _sizes(shape: Shape, out_shape: Shape, window: Window) -> tuple[int, ...]:
    """Return the sizes that the kernels take."""
    return shape[0] * shape[1], *shape[2:], *out_shape[2:], *itertools.chain(*window)

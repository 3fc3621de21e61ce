"""Average pooling: the mean over each window of an image, or over the whole image.

    windows:  y = Σ over taps of x / taps,     dx = Σ of dy over the windows that contain the pixel / taps
    global:   y = Σ over pixels of x / pixels, dx = dy / pixels

x is (rows, channels, height, width); every channel of every row is an image.
"""

from __future__ import annotations

import math

import numpy as np

from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.ops.window import Shape, Size, launch_sizes, pooled_shape, pooling_window
from gpunet.tape import Tape, empty

FORWARD = Kernel("pooling.cu", "avg_pool2d_forward")
BACKWARD = Kernel("pooling.cu", "avg_pool2d_backward")
GLOBAL_FORWARD = Kernel("pooling.cu", "global_avg_pool2d_forward")
GLOBAL_BACKWARD = Kernel("pooling.cu", "global_avg_pool2d_backward")


def avg_pool2d(
    x: Array, kernel_size: Size, stride: Size | None = None, padding: Size = 0, *, tape: Tape | None = None
) -> Array:
    """Return the mean over each window, (rows, channels, out_h, out_w); padding counts as zeros, as in PyTorch.

    Args:
        x: (rows, channels, height, width).
        stride: None for the kernel size.
        padding: at most half of the window.

    Example:
        >>> x = np.array([[[[1.0, 3.0, 5.0, 7.0]]]])
        >>> gn.ops.avg_pool2d(x, (1, 2))
        array([[[[2., 6.]]]])
    """
    xp = float_module("avg_pool2d", x=x)
    window = pooling_window("avg_pool2d", kernel_size, stride, padding)
    shape = pooled_shape("avg_pool2d", x.shape, window)
    y = empty(tape, shape, x.dtype, xp)
    if xp is not np:
        sizes = launch_sizes(x.shape, shape, window)[:-2]
        FORWARD((block_count(y.size, THREADS),), (THREADS,), operand(x, tape, xp), y, *sizes)
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
    """Return dx, the gradient of y = avg_pool2d(x, ...); `shape` is the shape of x.

    Example:
        >>> gn.ops.avg_pool2d_backward(np.array([[[[2.0, 4.0]]]]), (1, 1, 1, 4), (1, 2))
        array([[[[1., 1., 2., 2.]]]])
    """
    xp = float_module("avg_pool2d_backward", dy=dy)
    window = pooling_window("avg_pool2d_backward", kernel_size, stride, padding)
    out_shape = pooled_shape("avg_pool2d_backward", shape, window)
    check_shape("avg_pool2d_backward", out_shape, dy=dy)
    dx = empty(tape, shape, dy.dtype, xp)
    if xp is not np:
        sizes = launch_sizes(shape, out_shape, window)[:-2]
        BACKWARD((block_count(dx.size, THREADS),), (THREADS,), operand(dy, tape, xp), dx, *sizes)
        return dx
    dx.fill(0)
    for _, pixels, windows in window.taps(shape[2:], out_shape[2:]):
        np.add(dx[pixels], dy[windows], out=dx[pixels])
    return np.divide(dx, math.prod(window.kernel_size), out=dx)


def global_avg_pool2d(x: Array, *, tape: Tape | None = None) -> Array:
    """Return the mean of each image, (rows, channels), for x (rows, channels, height, width).

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
    """Return dx, the gradient of y = global_avg_pool2d(x); `shape` is the shape of x.

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

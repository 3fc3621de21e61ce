"""Pooling layers for images."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.device import Array, array_module
from gpunet.errors import ShapeError
from gpunet.layers.base import Layer
from gpunet.ops import (
    avg_pool2d,
    avg_pool2d_backward,
    global_avg_pool2d,
    global_avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from gpunet.ops.window import Size, Window, pooling_window, short
from gpunet.tape import Tape


class _Pool2d(Layer):
    """Base class of the layers that pool windows."""

    def __init__(self, window: Window):
        self.window = window
        super().__init__()

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        channels, *image = _image_shape(self, shape)
        return (channels, *self.window.places(repr(self), tuple(image)))

    def __repr__(self) -> str:
        kernel_size, stride, padding, dilation = map(short, self.window)
        arguments = f"kernel_size={kernel_size}"
        arguments += "" if stride == kernel_size else f", stride={stride}"
        arguments += "" if padding == 0 else f", padding={padding}"
        arguments += "" if dilation == 1 else f", dilation={dilation}"
        return f"{type(self).__name__}({arguments})"


class MaxPool2d(_Pool2d):
    """Take the maximum of each window, as in PyTorch.

    Args:
        stride: None for the kernel size.
        padding: never the maximum; at most half of the window.

    Example:
        >>> gn.MaxPool2d((1, 2))(np.array([[[[1.0, 4.0, 2.0, 3.0]]]]))
        array([[[[4., 3.]]]])
    """

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1):
        super().__init__(pooling_window("MaxPool2d", kernel_size, stride, padding, dilation))

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        shape = self.output_shape(x.shape[1:])
        if tape is None:
            return max_pool2d(x, *self.window)
        winners = tape.empty((len(x), *shape), np.dtype(np.int32), array_module(x))
        y = max_pool2d(x, *self.window, winners=winners, tape=tape)
        tape.save(self, winners, x.shape)
        return y

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array:
        winners, shape = tape.restore(self)
        return max_pool2d_backward(dy, winners, shape, *self.window, tape=tape)

    def config(self) -> dict[str, Any]:
        return self.window._asdict()


class AvgPool2d(_Pool2d):
    """Take the mean of each window, with padding counted as zeros, as in PyTorch; arguments as for `MaxPool2d`.

    Example:
        >>> gn.AvgPool2d((1, 2))(np.array([[[[1.0, 3.0, 5.0, 7.0]]]]))
        array([[[[2., 6.]]]])
    """

    def __init__(self, kernel_size: Size, stride: Size | None = None, padding: Size = 0):
        super().__init__(pooling_window("AvgPool2d", kernel_size, stride, padding))

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        self.output_shape(x.shape[1:])
        if tape is not None:
            tape.save(self, x.shape)
        return avg_pool2d(x, *self.window[:3], tape=tape)

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array:
        (shape,) = tape.restore(self)
        return avg_pool2d_backward(dy, shape, *self.window[:3], tape=tape)

    def config(self) -> dict[str, Any]:
        kernel_size, stride, padding, _ = self.window
        return {"kernel_size": kernel_size, "stride": stride, "padding": padding}


class GlobalAvgPool2d(Layer):
    """Take the mean of each channel: (rows, channels, height, width) to (rows, channels).

    Equal to PyTorch's `AdaptiveAvgPool2d(1)` followed by `Flatten`.

    Example:
        >>> gn.GlobalAvgPool2d()(np.ones((4, 3, 8, 8))).shape
        (4, 3)
    """

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        self.output_shape(x.shape[1:])
        if tape is not None:
            tape.save(self, x.shape)
        return global_avg_pool2d(x, tape=tape)

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array:
        (shape,) = tape.restore(self)
        return global_avg_pool2d_backward(dy, shape, tape=tape)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return _image_shape(self, shape)[:1]


def _image_shape(layer: Layer, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of one image.

    Raises:
        ShapeError: it does not have three axes.
    """
    if len(shape) != 3:
        raise ShapeError(f"{layer!r}: a row of the input must be (channels, height, width), got shape {shape}.")
    return shape

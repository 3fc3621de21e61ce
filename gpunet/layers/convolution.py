"""Convolution layers."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from gpunet.arguments import whole
from gpunet.device import Array, array_module
from gpunet.errors import ArgumentError, ShapeError
from gpunet.initializers import Initializer, filled, initializer
from gpunet.layers.base import Layer
from gpunet.ops import conv2d, conv2d_backward
from gpunet.ops.activations import ActivationFunction, activation_function
from gpunet.ops.window import Size, Window, per_axis, short
from gpunet.tape import Tape


class Conv2d(Layer):
    """Convolve images with filters, as in PyTorch.

    Args:
        padding: number of zeros on each side of an image.
        groups: number of groups of channels; it must divide both numbers of channels. A filter reads only the input
            channels of its group.
        init: by default "he_normal", with fan_in = elements of a filter and fan_out = out_channels.

    Attributes:
        params: "weight" (out_channels, in_channels / groups, height, width) and, with a bias, "bias" (out_channels,).

    Example:
        >>> layer = gn.Conv2d(1, 8, kernel_size=3)
        >>> layer(np.ones((4, 1, 28, 28), "float32")).shape, layer.params["weight"].shape
        ((4, 8, 26, 26), (8, 1, 3, 3))
    """

    axes: ClassVar[int] = 2
    row: ClassVar[str] = "height, width"

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        *,
        activation: str | ActivationFunction | None = None,
        init: str | Initializer = "he_normal",
        rng: np.random.Generator | int | None = None,
    ):
        name = type(self).__name__
        self.in_channels = whole(f"{name}: in_channels", in_channels)
        self.out_channels = whole(f"{name}: out_channels", out_channels)
        self.kernel_size = per_axis(f"{name}: kernel_size", kernel_size, self.axes)
        self.stride = per_axis(f"{name}: stride", stride, self.axes)
        self.padding = per_axis(f"{name}: padding", padding, self.axes, least=0)
        self.dilation = per_axis(f"{name}: dilation", dilation, self.axes)
        self.groups = whole(f"{name}: groups", groups)
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ArgumentError(
                f"{name}: groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}."
            )
        self.activation = activation_function(activation)
        filter_shape = (self.in_channels // self.groups, *self.kernel_size)
        matrix = initializer(init)((math.prod(filter_shape), self.out_channels), rng)
        params = {"weight": matrix.T.reshape(self.out_channels, *filter_shape)}
        if bias:
            params["bias"] = filled((self.out_channels,), 0)
        super().__init__(params)

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        shape = self.output_shape(x.shape[1:])
        weight = self._image(self.params["weight"])
        columns = z = None
        if tape is not None:
            xp = array_module(weight)
            patches = self.groups, math.prod(weight.shape[1:]), len(x) * math.prod(shape[1:])
            columns = tape.empty(patches, weight.dtype, xp)
            if self.activation.saves == "input":
                z = self._image(tape.empty((len(x), *shape), weight.dtype, xp))
        y = conv2d(
            self._image(x),
            weight,
            self.params.get("bias"),
            *self._window[1:],
            self.groups,
            activation=self.activation,
            columns=columns,
            preactivation=z,
            tape=tape,
        )
        if tape is not None:
            tape.save(self, x, columns, y if z is None else z)
        return y.reshape(len(x), *shape)

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array | None:
        x, columns, saved = tape.restore(self)
        dweight, dbias = self._gradient("weight"), self._gradient("bias")
        dx, _, _ = conv2d_backward(
            self._image(dy),
            self._image(x),
            self._image(self.params["weight"]),
            *self._window[1:],
            self.groups,
            saved=saved,
            activation=self.activation,
            columns=columns,
            input_gradient=input_gradient,
            weight_gradient=dweight is not None,
            bias_gradient=dbias is not None,
            dweight=None if dweight is None else self._image(dweight),
            dbias=dbias,
            tape=tape,
        )
        return None if dx is None else dx.reshape(x.shape)

    @property
    def _window(self) -> Window:
        return Window(self.kernel_size, self.stride, self.padding, self.dilation)

    def _image(self, a: Array) -> Array:
        """Return a 2-D image view of an input, output or weight; `Conv1d` adds an axis of height 1."""
        return a

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 1 + self.axes or shape[0] != self.in_channels:
            raise ShapeError(
                f"{self!r}: a row of the input must be ({self.in_channels}, {self.row}), got shape {shape}."
            )
        out = self._window.places(repr(self), (1, *shape[1:])[-2:])
        return (self.out_channels, *out[-self.axes :])

    def config(self) -> dict[str, Any]:
        names = "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups"
        settings = {name: getattr(self, name) for name in names}
        return {**settings, "bias": "bias" in self.params, "activation": self.activation.config()}

    def __repr__(self) -> str:
        arguments = f"{self.in_channels}, {self.out_channels}, kernel_size={short(self.kernel_size)}"
        for name, default in (("stride", 1), ("padding", 0), ("dilation", 1)):
            value = short(getattr(self, name))
            arguments += "" if value == default else f", {name}={value}"
        arguments += "" if self.groups == 1 else f", groups={self.groups}"
        arguments += "" if "bias" in self.params else ", bias=False"
        arguments += "" if self.activation.name == "identity" else f", activation={self.activation!r}"
        return f"{type(self).__name__}({arguments})"


class Conv1d(Conv2d):
    """Convolve sequences with filters, as in PyTorch: `Conv2d` along one axis, where each size is one number.

    x is (rows, in_channels, length), and "weight" (out_channels, in_channels / groups, kernel_size).

    Example:
        >>> layer = gn.Conv1d(3, 8, kernel_size=5, padding=2)
        >>> layer(np.ones((4, 3, 10), "float32")).shape, layer.params["weight"].shape
        ((4, 8, 10), (8, 3, 5))
    """

    axes = 1
    row = "length"

    @property
    def _window(self) -> Window:
        (kernel,), (stride,), (padding,), (dilation,) = self.kernel_size, self.stride, self.padding, self.dilation
        return Window((1, kernel), (1, stride), (0, padding), (1, dilation))

    def _image(self, a: Array) -> Array:
        return a.reshape(*a.shape[:2], 1, *a.shape[2:])

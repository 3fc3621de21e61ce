"""Sliding windows over images, for convolution and pooling; `gpunet.ops` describes their sizes.

A window has a tap for each element of its kernel. Tap i of window o reads the pixel o·stride + i·dilation - padding.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from gpunet.arguments import whole
from gpunet.errors import ArgumentError, ShapeError

Pair: TypeAlias = tuple[int, ...]
"""Two numbers, for height and width."""

Size: TypeAlias = int | tuple[int, ...]
"""One whole number for all axes of an image, or one for each axis."""

Shape: TypeAlias = tuple[int, ...]

Tap: TypeAlias = tuple[int, Any, Any]
"""The number of a tap, and the pixels and windows that it connects, see `Window.taps`."""


def per_axis(name: str, value: Any, axes: int = 2, *, least: int = 1) -> tuple[int, ...]:
    """Return a whole number of at least `least` for each of `axes` axes, from one number or a tuple or list of them.

    `name` is the value's name in an error message.
    """
    values = tuple(value) if isinstance(value, tuple | list) else (value,) * axes
    if len(values) != axes:
        raise ArgumentError(f"{name} must be a whole number or {axes} of them, got {value!r}.")
    return tuple(whole(name, v, least) for v in values)


def short(values: tuple[int, ...]) -> int | tuple[int, ...]:
    """Return one number if all axes have the same, else the numbers of all axes."""
    return values[0] if len(set(values)) == 1 else values


class Window(NamedTuple):
    """A window along the height and the width of an image."""

    kernel_size: Pair
    stride: Pair
    padding: Pair
    dilation: Pair

    @classmethod
    def of(cls, op: str, kernel_size: Size, stride: Size, padding: Size, dilation: Size = 1) -> Window:
        """Return the window of the given sizes; messages begin with `op`."""
        return cls(
            per_axis(f"{op}: kernel_size", kernel_size),
            per_axis(f"{op}: stride", stride),
            per_axis(f"{op}: padding", padding, least=0),
            per_axis(f"{op}: dilation", dilation),
        )

    @property
    def span(self) -> Pair:
        """Pixels from the first tap to the last, both included."""
        return tuple((taps - 1) * step + 1 for taps, step in zip(self.kernel_size, self.dilation, strict=True))

    def places(self, op: str, image: Pair) -> Pair:
        """Return the number of windows along each axis of an image.

        Raises:
            ShapeError: the window is larger than the padded image.
        """
        padded = tuple(size + 2 * padding for size, padding in zip(image, self.padding, strict=True))
        along = list(zip(padded, self.span, self.stride, strict=True))
        if any(size < span for size, span, _ in along):
            raise ShapeError(
                f"{op}: the kernel, which spans {_by(self.span)}, is larger than the image of {_by(image)} with its "
                f"padding, {_by(padded)}; use a smaller kernel or dilation, or more padding."
            )
        return tuple((size - span) // stride + 1 for size, span, stride in along)

    def taps(self, image: Pair, places: Pair) -> Iterator[Tap]:
        """Yield (number, pixels, windows) for every tap, in row-major order.

        `pixels` indexes the pixels of (..., height, width) that the tap reads; `windows` indexes the windows (...,
        out_h, out_w) whose tap lies inside the image, not in the padding.
        """
        kernel_h, kernel_w = self.kernel_size
        for number, (i, j) in enumerate(itertools.product(range(kernel_h), range(kernel_w))):
            down, across = self._along(0, i, image, places), self._along(1, j, image, places)
            yield number, (..., down[0], across[0]), (..., down[1], across[1])

    def _along(self, axis: int, tap: int, image: Pair, places: Pair) -> tuple[slice, slice]:
        stride = self.stride[axis]
        offset = tap * self.dilation[axis] - self.padding[axis]  # of the pixel that this tap of the first window reads
        first = max(0, -(offset // stride))
        last = max(first, min(places[axis], (image[axis] - 1 - offset) // stride + 1))
        start = first * stride + offset
        return slice(start, start + (last - first) * stride, stride), slice(first, last)


def _by(size: Pair) -> str:
    return " x ".join(map(str, size))


def pooling_window(op: str, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size = 1) -> Window:
    """Return the window of a pooling; messages begin with `op`."""
    window = Window.of(op, kernel_size, kernel_size if stride is None else stride, padding, dilation)
    if any(2 * p > span for p, span in zip(window.padding, window.span, strict=True)):
        raise ArgumentError(
            f"{op}: padding={short(window.padding)} is more than half of the window, which spans {short(window.span)}, "
            "so a window could contain only padding; use less padding."
        )
    return window


def pooled_shape(op: str, shape: Shape, window: Window) -> Shape:
    """Return the output shape of a pooling over images of a shape."""
    if len(shape) != 4:
        raise ShapeError(f"{op}: x must be (rows, channels, height, width), got shape {shape}.")
    return (*shape[:2], *window.places(op, shape[2:]))


def launch_sizes(shape: Shape, out_shape: Shape, window: Window) -> tuple[int, ...]:
    """Return the sizes that the pooling kernels take."""
    return shape[0] * shape[1], *shape[2:], *out_shape[2:], *itertools.chain(*window)

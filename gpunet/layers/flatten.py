"""Flatten as a layer."""

from __future__ import annotations

import math

from gpunet.device import Array
from gpunet.layers.base import Layer
from gpunet.ops.checks import check_shape
from gpunet.tape import Tape


class Flatten(Layer):
    """Reshape each row to a vector: (rows, a, b, ...) to (rows, a·b·...).

    Example:
        >>> gn.Flatten()(np.ones((4, 3, 8, 8))).shape
        (4, 192)
    """

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        if tape is not None:
            tape.save(self, x.shape)
        return x.reshape(len(x), math.prod(x.shape[1:]))

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array:
        (shape,) = tape.restore(self)
        check_shape("Flatten", (shape[0], math.prod(shape[1:])), dy=dy)
        return dy.reshape(shape)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (math.prod(shape),)

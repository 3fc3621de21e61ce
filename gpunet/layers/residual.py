"""The residual connection: y = x + f(x)."""

from __future__ import annotations

from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.layers.stack import Stack
from gpunet.ops.checks import check_shape, float_module
from gpunet.tape import Tape, empty_like


class Residual(Stack):
    """Add the output of layers to their input: y = x + f(x) (He et al. 2015), in the shape of x.

    Args:
        *layers: the layers of f, as for `Sequential`; f must keep the shape.

    Example:
        >>> gn.Residual(gn.ReLU())(np.array([[-1.0, 2.0]]))  # x + relu(x)
        array([[-1.,  4.]])
    """

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        return self._sum(x, super().forward(x, tape), tape)

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array | None:
        dx = super().backward(dy, tape, input_gradient=input_gradient)
        return None if dx is None else self._sum(dy, dx, tape)

    def _sum(self, a: Array, b: Array, tape: Tape | None) -> Array:
        xp = float_module("Residual", x=a, f_of_x=b)
        check_shape(repr(self), a.shape, f_of_x=b)
        total: Array = xp.add(a, b, out=empty_like(tape, a, xp))
        return total

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        inner = super().output_shape(shape)
        if inner != shape:
            raise ShapeError(f"{self!r}: its layers turn shape {shape} into {inner}; they must keep the shape.")
        return shape

"""Gated linear units: GLU, and the gated linear layers SwiGLU and GEGLU."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from gpunet.arguments import whole
from gpunet.device import Array
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Layer
from gpunet.layers.linear import Linear
from gpunet.layers.stack import Stack
from gpunet.ops import glu, glu_backward
from gpunet.ops.activations import ActivationFunction, activation_function
from gpunet.tape import Tape


class GLU(Layer):
    """Multiply one half of an axis by a function of the other: y = a · f(b) (Dauphin et al. 2017; PyTorch's `GLU`).

    Args:
        dim: the axis of x (rows, ...) that is halved; not 0, the rows.

    Example:
        >>> gn.GLU()(np.array([[3.0, 0.0]]))  # 3 · sigmoid(0)
        array([[1.5]])
    """

    def __init__(self, dim: int = -1, *, activation: str | ActivationFunction = "sigmoid"):
        if not isinstance(dim, int | np.integer) or dim == 0:
            raise ArgumentError(f"GLU: dim must be a whole number other than 0, the axis of rows, got {dim!r}.")
        self.dim = int(dim)
        self.activation = activation_function(activation)
        super().__init__()

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        self.output_shape(x.shape[1:])
        if tape is not None:
            tape.save(self, x)
        return glu(x, self.dim, self.activation, tape=tape)

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array | None:
        (x,) = tape.restore(self)
        return glu_backward(dy, x, self.dim, self.activation, tape=tape) if input_gradient else None

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        axis = self.dim - 1 if self.dim > 0 else self.dim + len(shape)
        if not 0 <= axis < len(shape) or shape[axis] % 2:
            raise ShapeError(
                f"{self!r}: axis {self.dim} of the input must have an even size, got rows of shape {shape}."
            )
        return (*shape[:axis], shape[axis] // 2, *shape[axis + 1 :])

    def config(self) -> dict[str, Any]:
        return {"dim": self.dim, "activation": self.activation.config()}

    def __repr__(self) -> str:
        return f"GLU({self.dim}, activation={self.activation!r})"


class GatedLinear(Stack):
    """A gated linear layer, y = a · f(b), where a and b are the two halves of x·weight + bias.

    x is (..., in_features), y (..., out_features), and weight (in_features, 2·out_features).
    """

    gate: ClassVar[str]
    """The function f."""

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        rng: np.random.Generator | int | None = None,
    ):
        name = type(self).__name__
        self.in_features = whole(f"{name}: in_features", in_features)
        self.out_features = whole(f"{name}: out_features", out_features)
        self.bias = bool(bias)
        super().__init__(Linear(self.in_features, 2 * self.out_features, bias=bias, rng=rng), GLU(activation=self.gate))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.in_features}, {self.out_features}{'' if self.bias else ', bias=False'})"


class SwiGLU(GatedLinear):
    """A linear layer gated by SiLU (Shazeer 2020); see `GatedLinear`.

    Example:
        >>> gn.SwiGLU(3, 2)(np.ones((4, 3), "float32")).shape
        (4, 2)
    """

    gate = "silu"


class GEGLU(GatedLinear):
    """A linear layer gated by GELU (Shazeer 2020); see `GatedLinear`.

    Example:
        >>> gn.GEGLU(3, 2)(np.ones((4, 3), "float32")).shape
        (4, 2)
    """

    gate = "gelu"

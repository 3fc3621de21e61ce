"""Layers that normalise each row separately: LayerNorm and RMSNorm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gpunet.arguments import real, whole
from gpunet.device import Array
from gpunet.errors import ArgumentError, ShapeError
from gpunet.initializers import filled
from gpunet.layers.base import Layer
from gpunet.ops import layer_norm, layer_norm_backward, rms_norm
from gpunet.tape import Tape


class RowNorm(Layer):
    """Base class of LayerNorm and RMSNorm: parameters of shape `normalized_shape`, and the backward pass."""

    def __init__(self, normalized_shape: int | Sequence[int], weight: bool, bias: bool):
        shape = normalized_shape if isinstance(normalized_shape, Sequence) else (normalized_shape,)
        name = f"{type(self).__name__}: normalized_shape"
        if not shape:
            raise ArgumentError(f"{name} must have at least one axis, got {normalized_shape!r}.")
        self.normalized_shape = tuple(whole(name, size) for size in shape)
        params = {"weight": filled(self.normalized_shape, 1)} if weight else {}
        if weight and bias:
            params["bias"] = filled(self.normalized_shape, 0)
        super().__init__(params)

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array | None:
        x, mean, scale = tape.restore(self)
        return layer_norm_backward(
            dy,
            x,
            self.normalized_shape,
            mean,
            scale,
            self.params.get("weight"),
            dweight=self._gradient("weight"),
            dbias=self._gradient("bias"),
            input_gradient=input_gradient,
            tape=tape,
        )

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if shape[-len(self.normalized_shape) :] != self.normalized_shape:
            raise ShapeError(
                f"{self!r}: the last axes of the input must be {self.normalized_shape}, got shape {shape}."
            )
        return shape

    def __repr__(self) -> str:
        shape = self.normalized_shape[0] if len(self.normalized_shape) == 1 else self.normalized_shape
        return f"{type(self).__name__}({shape})"


class LayerNorm(RowNorm):
    """Normalise each row to mean 0 and variance 1, then scale and shift each feature (Ba et al. 2016), as PyTorch does.

    y = (x - mean) / √(variance + eps) · weight + bias, for x and y (..., *normalized_shape).

    Args:
        normalized_shape: sizes of the last axes of x, which are normalised together; a number for one axis.
        elementwise_affine: whether there are a "weight", initially one, and a "bias", initially zero.
        bias: False for a weight without a bias.

    Example:
        >>> gn.LayerNorm(2)(np.array([[1.0, 3.0], [10.0, 30.0]], "float32")).round(2)
        array([[-1.,  1.],
               [-1.,  1.]], dtype=float32)
    """

    def __init__(
        self,
        normalized_shape: int | Sequence[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
    ):
        self.eps = real("LayerNorm: eps", eps, 0, closed="left")
        super().__init__(normalized_shape, elementwise_affine, bias)

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        self.output_shape(x.shape)
        weight, bias = self.params.get("weight"), self.params.get("bias")
        y, mean, scale = layer_norm(x, self.normalized_shape, weight, bias, self.eps, tape=tape)
        if tape is not None:
            tape.save(self, x, mean, scale)
        return y

    def config(self) -> dict[str, Any]:
        return {
            "normalized_shape": list(self.normalized_shape),
            "eps": self.eps,
            "elementwise_affine": "weight" in self.params,
            "bias": "bias" in self.params,
        }


class RMSNorm(RowNorm):
    """Normalise each row to a mean square of 1, then scale each feature (Zhang & Sennrich 2019), as PyTorch does.

    y = x / √(mean(x²) + eps) · weight; arguments as for `LayerNorm`.

    Args:
        eps: None for the machine epsilon of x's dtype.

    Example:
        >>> gn.RMSNorm(2)(np.array([[1.0, 7.0]], "float32")).round(2)  # mean of the squares: 25
        array([[0.2, 1.4]], dtype=float32)
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float | None = None, elementwise_affine: bool = True
    ):
        self.eps = None if eps is None else real("RMSNorm: eps", eps, 0, closed="left")
        super().__init__(normalized_shape, elementwise_affine, bias=False)

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        self.output_shape(x.shape)
        y, scale = rms_norm(x, self.normalized_shape, self.params.get("weight"), self.eps, tape=tape)
        if tape is not None:
            tape.save(self, x, None, scale)
        return y

    def config(self) -> dict[str, Any]:
        return {
            "normalized_shape": list(self.normalized_shape),
            "eps": self.eps,
            "elementwise_affine": "weight" in self.params,
        }

"""The fully connected layer: y = f(x·W + b)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.arguments import whole
from gpunet.device import Array, array_module
from gpunet.errors import ShapeError
from gpunet.initializers import Initializer, filled, initializer
from gpunet.layers.base import Layer
from gpunet.ops import linear, linear_backward
from gpunet.ops._linear import Below
from gpunet.ops.activations import ActivationFunction, activation_function
from gpunet.tape import Tape

RECTIFIERS = ("relu", "leaky_relu", "elu", "gelu", "gelu_tanh", "silu")


class Linear(Layer):
    """A fully connected layer, y = f(x·weight + bias), for x (..., in_features) and y (..., out_features).

    Args:
        init: by default "he_normal" before a rectifier (ReLU and similar), "lecun_normal" before SELU, else
            "glorot_uniform".

    Attributes:
        params: "weight" (in_features, out_features) and, with a bias, "bias" (out_features,).

    Example:
        >>> layer = gn.Linear(3, 2, activation="relu")
        >>> layer(np.ones((4, 3), "float32")).shape, layer.params["weight"].shape
        ((4, 2), (3, 2))
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool = True,
        activation: str | ActivationFunction | None = None,
        init: str | Initializer | None = None,
        rng: np.random.Generator | int | None = None,
    ):
        self.in_features = whole("Linear: in_features", in_features)
        self.out_features = whole("Linear: out_features", out_features)
        self.activation = activation_function(activation)
        draw = initializer(init or default_init(self.activation))
        params = {"weight": draw((self.in_features, self.out_features), rng)}
        if bias:
            params["bias"] = filled((self.out_features,), 0)
        super().__init__(params)

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        shape = self.output_shape(x.shape)
        weight = self.params["weight"]
        z = None
        if tape is not None and self.activation.saves == "input":
            z = tape.empty(shape, weight.dtype, array_module(weight))
        y = linear(x, weight, self.params.get("bias"), self.activation, preactivation=z, tape=tape)
        if tape is not None:
            tape.save(self, x, y if z is None else z)
        return y

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array | None:
        x, saved = tape.restore(self)
        return self.gradients(dy, x, saved, self.activation, tape, input_gradient=input_gradient)

    def gradients(
        self, dy: Array, x: Array, saved: Array, activation: ActivationFunction | None, tape: Tape, **below: Any
    ) -> Array | None:
        """Fill `grads` and return the gradient of the input; arguments as for `linear_backward`."""
        dweight, dbias = self._gradient("weight"), self._gradient("bias")
        dx, _, _ = linear_backward(
            dy,
            x,
            self.params["weight"],
            saved,
            activation,
            weight_gradient=dweight is not None,
            bias_gradient=dbias is not None,
            dweight=dweight,
            dbias=dbias,
            tape=tape,
            **below,
        )
        return dx

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if not shape or shape[-1] != self.in_features:
            raise ShapeError(
                f"{self!r}: the last axis of the input must have {self.in_features} features, got shape {shape}."
            )
        return (*shape[:-1], self.out_features)

    def config(self) -> dict[str, Any]:
        return {
            "in_features": self.in_features,
            "out_features": self.out_features,
            "bias": "bias" in self.params,
            "activation": self.activation.config(),
        }

    def __repr__(self) -> str:
        extra = "" if "bias" in self.params else ", bias=False"
        extra += "" if self.activation.name == "identity" else f", activation={self.activation!r}"
        return f"Linear({self.in_features}, {self.out_features}{extra})"


class LinearChain(Layer):
    """Consecutive linear layers, where each layer's product for dx also multiplies by f'(z) of the layer below.

    So a layer receives dz = dy · f'(z) and needs no separate pass for its activation.
    """

    def __init__(self, layers: Sequence[Linear]):
        self.layers = layers

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        for layer in self.layers:
            x = layer.forward(x, tape)
        return x

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array | None:
        first = 0 if input_gradient else first_with_gradients(self.layers)
        *lower_layers, layer = self.layers[first:]
        x, saved = tape.restore(layer)
        activation: ActivationFunction | None = layer.activation
        for lower in reversed(lower_layers):
            lower_x, lower_saved = tape.restore(lower)
            below = Below(lower.activation, lower_saved)
            dz = layer.gradients(dy, x, saved, activation, tape, below=below)
            assert dz is not None
            dy, layer, x, saved, activation = dz, lower, lower_x, None, None  # dz of the lower layer
        return layer.gradients(dy, x, saved, activation, tape, input_gradient=input_gradient)

    def leaves(self, path: str = "") -> dict[str, Layer]:
        return {f"{path}.{position}": layer for position, layer in enumerate(self.layers)}

    def __repr__(self) -> str:
        return f"LinearChain({', '.join(map(repr, self.layers))})"


def first_with_gradients(layers: Sequence[Layer]) -> int:
    """Return the position of the first layer with trainable parameters, or len(layers).

    A backward pass without an input gradient can end there.
    """
    return next((position for position, layer in enumerate(layers) if layer.has_gradients), len(layers))


def default_init(activation: ActivationFunction) -> str:
    """Return the name of the default initializer for the weights before an activation."""
    if activation.name == "selu":
        return "lecun_normal"
    return "he_normal" if activation.name in RECTIFIERS else "glorot_uniform"

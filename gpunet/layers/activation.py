"""An activation function as a layer."""

from __future__ import annotations

from typing import Any

from gpunet.device import Array
from gpunet.layers.base import Layer
from gpunet.ops import activation_backward, bias_activation
from gpunet.ops.activations import ActivationFunction, activation_function
from gpunet.tape import Tape


class Activation(Layer):
    """Apply an activation function elementwise. A `Sequential` fuses it into a `Linear` or convolution before it.

    Example:
        >>> gn.Activation("relu")(np.array([[-1.0, 2.0]]))
        array([[0., 2.]])
    """

    def __init__(self, activation: str | ActivationFunction):
        self.activation = activation_function(activation)
        super().__init__()

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        y = bias_activation(x, None, self.activation, tape=tape)
        if tape is not None:
            tape.save(self, y if self.activation.saves == "output" else x)
        return y

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array:
        (saved,) = tape.restore(self)
        return activation_backward(dy, saved, self.activation, tape=tape)

    def config(self) -> dict[str, Any]:
        return {"activation": self.activation.config()}

    def __repr__(self) -> str:
        return f"Activation({self.activation!r})"

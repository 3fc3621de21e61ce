"""Models that are sequences of layers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from gpunet.arguments import whole
from gpunet.errors import ArgumentError
from gpunet.initializers import Initializer
from gpunet.layers import Activation, BatchNorm1d, Dropout, Layer, Linear
from gpunet.layers.linear import default_init
from gpunet.layers.stack import Stack
from gpunet.models.model import Model
from gpunet.models.summary import summarize, summary_html
from gpunet.ops.activations import ActivationFunction, activation_function
from gpunet.registry import register


@register
class Sequential(Stack, Model):
    """A sequence of layers. A `Linear` or convolution followed by an activation runs as one operation.

    Args:
        *layers: layers, or activation functions such as `gn.ReLU()`, which are wrapped in an `Activation`.

    Example:
        >>> model = gn.Sequential(gn.Conv2d(1, 8, 3), gn.ReLU(), gn.GlobalAvgPool2d(), gn.Linear(8, 10))
        >>> model(np.ones((4, 1, 28, 28), "float32")).shape, list(model.parameters())
        ((4, 10), ['0.weight', '0.bias', '3.weight', '3.bias'])
    """

    def summary(self, input_shape: tuple[int, ...] | None = None) -> str:
        """Return a table of the layers: fusion, output shape of one row, and number of parameters.

        Args:
            input_shape: the shape of one input row; by default it is taken from the layers, if they determine it.
        """
        return summarize(self, input_shape)

    def _repr_html_(self) -> str:
        return summary_html(self)

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


class MLP(Sequential):
    """A multilayer perceptron: linear layers with activations between them; its outputs are logits or values.

    Args:
        sizes: number of features of the input, of each hidden layer, and of the output.
        activation: the activation after each hidden layer.
        dropout: dropout probability after each hidden layer, 0 for none.
        batch_norm: whether to add a `BatchNorm1d` before each activation.
        init: the initial weights of the hidden layers, as for `Linear`.
        output_init: those of the output layer; with "zeros" all rows have equal outputs at first.
        seed: seed of the initial weights; None for fresh entropy.

    Example:
        >>> model = gn.MLP([64, 32, 10])
        >>> model
        Sequential(Linear(64, 32, activation=ReLU()), Linear(32, 10))
        >>> model.outputs(np.ones((4, 64))).shape
        (4, 10)
    """

    saved_as = Sequential  # a file stores the layers, not the arguments of MLP

    def __init__(
        self,
        sizes: Sequence[int],
        activation: str | ActivationFunction = "relu",
        dropout: float = 0.0,
        seed: int | None = 0,
        *,
        batch_norm: bool = False,
        init: str | Initializer | None = None,
        output_init: str | Initializer | None = None,
    ):
        if not isinstance(sizes, Sequence) or len(sizes) < 2:
            raise ArgumentError(f"MLP: sizes needs an input and an output size, got {sizes!r}; give a list, [64, 10].")
        activation = activation_function(activation)
        rng = np.random.default_rng(seed if seed is None else whole("MLP: seed", seed, 0))
        layers: list[Layer] = []
        for n_in, n_out in itertools.pairwise(sizes[:-1]):
            if batch_norm:
                draw = init or default_init(activation)
                layers += [Linear(n_in, n_out, init=draw, rng=rng), BatchNorm1d(n_out), Activation(activation)]
            else:
                layers.append(Linear(n_in, n_out, activation=activation, init=init, rng=rng))
            if dropout:
                layers.append(Dropout(dropout))
        super().__init__(*layers, Linear(sizes[-2], sizes[-1], init=output_init, rng=rng))

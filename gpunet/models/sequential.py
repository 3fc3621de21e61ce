"""Models that are layers in a row."""

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
    """Layers one after the other. A `Linear` or convolution followed by an activation is one fused operation.

    Args:
        *layers: layers, or activation functions such as `gn.ReLU()`, which are wrapped in an `Activation`.

    Raises:
        ArgumentError: something that is no layer, or a layer with parameters in two places.
    """

    def summary(self, input_shape: tuple[int, ...] | None = None) -> str:
        """Return a table of the layers: what is fused, the shape of a row's output, the number of parameters.

        Args:
            input_shape: of a row of the input; None: as far as the layers tell it.

        Raises:
            ShapeError: the model does not take such rows.
        """
        return summarize(self, input_shape)

    def _repr_html_(self) -> str:
        return summary_html(self)

    def __repr__(self) -> str:
        return f"Sequential({', '.join(map(repr, self.layers))})"


class MLP(Sequential):
    """A multilayer perceptron: linear layers with an activation between them, and logits or raw values at the end.

    Args:
        sizes: features of the input, of each hidden layer, and of the output; at least two.
        activation: the function after each hidden layer, by name or object.
        dropout: the probability of a zero after each hidden layer, 0 for none.
        batch_norm: whether each hidden layer normalises over the batch (`BatchNorm1d`) before its activation.
        init: the initial weights of the hidden layers, by name or as a function (`gpunet.initializers`); by default
            what `Linear` has for the activation.
        output_init: likewise of the output layer; "zeros" lets training begin with equal outputs for all rows.
        seed: the seed of the initial weights; None for fresh entropy.
    """

    saved_as = Sequential  # a file has the layers in a row that it is

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

"""A sequence of layers, as a layer or as a model."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from gpunet import versions
from gpunet.device import Array
from gpunet.errors import ArgumentError, ShapeError, StateError
from gpunet.layers.activation import Activation
from gpunet.layers.base import Layer
from gpunet.layers.convolution import Conv2d
from gpunet.layers.linear import Linear, LinearChain, first_with_gradients
from gpunet.ops.activations import ActivationFunction
from gpunet.tape import Tape


class Program(NamedTuple):
    """The fused layers that a stack runs.

    Attributes:
        first: the position of the first layer with gradients.
        states: activation and frozen state of each original layer.
        version: `gpunet.versions.latest` when they were fused.
    """

    layers: list[Layer]
    first: int
    states: list[tuple[Any, bool]]
    version: int


class Stack(Layer):
    """A sequence of layers. A `Linear` or convolution followed by an activation runs as one operation.

    Args:
        *layers: layers, or activation functions such as `gn.ReLU()`, which are wrapped in an `Activation`.

    Attributes:
        layers: the layers; the tuple cannot be replaced.

    Raises:
        ArgumentError: a layer with parameters appears twice, or a layer that takes category indices is not the first.
    """

    def __init__(self, *layers: Layer | ActivationFunction):
        self.layers = tuple(Activation(layer) if isinstance(layer, ActivationFunction) else layer for layer in layers)
        for layer in self.layers:
            if not isinstance(layer, Layer):
                raise ArgumentError(f"{type(self).__name__} takes layers, got {layer!r}.")
            if getattr(layer, "input_scaler", None) or getattr(layer, "target_scaler", None):
                raise ArgumentError(
                    f"{layer!r} standardises raw data, which a layer inside another model cannot do; move its "
                    "input_scaler and target_scaler to the new model and set them to None here."
                )
        for before, layer in itertools.pairwise(self.layers):
            if layer.category_columns:
                raise ArgumentError(
                    f"{layer!r} takes category indices, which {before!r} before it would change; make it the first "
                    "layer."
                )
        super().__init__()

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "layers" and "layers" in vars(self):  # the flat store and the program depend on them
            raise StateError(f"{type(self).__name__}: its layers cannot be replaced; make a new model.")
        super().__setattr__(name, value)

    @property
    def _program(self) -> Program:
        """The layers to run; fused again after an activation was set or a layer was frozen."""
        program: Program | None = vars(self).get("_fused")
        if program is None or program.version != versions.latest:
            states = [(getattr(layer, "activation", None), layer._frozen) for layer in self.layers]
            kept = program is not None and program.states == states
            layers = program.layers if program is not None and kept else _chain(fuse(self.layers))
            program = Program(layers, first_with_gradients(layers), states, versions.latest)
            vars(self)["_fused"] = program  # not setattr, which would invalidate recorded steps
        return program

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        for layer in self._program.layers:
            x = layer.forward(x, tape)
        return x

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array | None:
        layers, lowest, *_ = self._program
        first = 0 if input_gradient else lowest
        gradient: Array | None = dy
        for position in range(len(layers) - 1, first - 1, -1):
            assert gradient is not None, f"{layers[position]!r}: backward without a gradient of its output"
            gradient = layers[position].backward(gradient, tape, input_gradient=input_gradient or position > first)
        return gradient if input_gradient else None

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        for position, layer in enumerate(self.layers):
            try:
                shape = layer.output_shape(shape)
            except ShapeError as error:
                raise ShapeError(f"layer {position}, {error}") from None
        return shape

    def least_rows(self, shape: tuple[int, ...]) -> int:
        least = 1
        for layer in self.layers:
            least, shape = max(least, layer.least_rows(shape)), layer.output_shape(shape)
        return least

    @property
    def index_range(self) -> int | None:
        return self.layers[0].index_range if self.layers else None

    @property
    def category_columns(self) -> int:
        return self.layers[0].category_columns if self.layers else 0

    def leaves(self, path: str = "") -> dict[str, Layer]:
        prefix = f"{path}." if path else ""
        found: dict[str, Layer] = {}
        for position, layer in enumerate(self.layers):
            found |= layer.leaves(f"{prefix}{position}")
        return found

    def __getitem__(self, position: int) -> Layer:
        return self.layers[position]

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))})"


def fuse(layers: Sequence[Layer]) -> list[Layer]:
    """Merge each `Activation` into the `Linear` or convolution before it, if that has no activation."""
    program: list[Layer] = []
    for layer in layers:
        last = program[-1] if program else None
        plain = last if isinstance(last, Linear | Conv2d) and last.activation.name == "identity" else None
        if plain is not None and isinstance(layer, Activation):
            program[-1] = _with_activation(plain, layer.activation)
        else:
            program.append(layer)
    return program


def _with_activation(layer: Layer, activation: ActivationFunction) -> Layer:
    """Return a layer over the same parameters that also applies `activation`, in the same operation."""
    fused = object.__new__(type(layer))  # copy.copy would copy the parameters, as pickling does
    vars(fused).update(vars(layer), activation=activation)
    return fused


def _chain(layers: Sequence[Layer]) -> list[Layer]:
    """Merge consecutive `Linear` layers into a `LinearChain`."""
    program: list[Layer] = []
    for kind, run in itertools.groupby(layers, type):
        group = list(run)
        if kind is Linear and len(group) > 1:  # not subclasses, which may define another backward
            group = [LinearChain(cast(list[Linear], group))]
        program += group
    return program

"""Each layer as ONNX nodes: one short function a layer, in a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from gpunet.device import to_host
from gpunet.errors import ArgumentError
from gpunet.interop.onnx_graph import Graph
from gpunet.layers import Activation, Dropout, Flatten, Layer, Linear
from gpunet.models import MLP, Sequential
from gpunet.ops.activations import (
    ELU,
    GELU,
    ActivationFunction,
    GELUTanh,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)

Row: TypeAlias = tuple[int, ...]

LayerForm: TypeAlias = Callable[[Graph, Any, str, Row], str]
"""Adds a layer's nodes to the graph: takes the input's name and the shape of its rows, returns the output's name."""

ActivationForm: TypeAlias = Callable[[Graph, Any, str], str]
"""Adds the nodes of a function to the graph, likewise."""


def add_layer(graph: Graph, layer: Layer, x: str, row: Row) -> str:
    """Add the nodes of a layer to the graph and return the name of its output.

    Args:
        graph: the graph.
        layer: a layer, as it is in inference.
        x: the name of its input.
        row: the shape of the input's rows.

    Raises:
        ArgumentError: a layer, or an activation function in it, without an ONNX form.
    """
    form: LayerForm = _form(LAYERS, layer)
    return form(graph, layer, x, row)


def _form(table: Mapping[Any, Any], which: object) -> Any:
    # by the very type: a subclass may compute something else
    if type(which) not in table:
        known = ", ".join(cls.__name__ for cls in table)
        raise ArgumentError(f"{type(which).__name__} has no ONNX form. Those that have one: {known}.")
    return table[type(which)]


def _sequential(graph: Graph, model: Sequential, x: str, row: Row) -> str:
    for position, layer in enumerate(model.layers):
        try:
            x, row = add_layer(graph, layer, x, row), layer.output_shape(row)
        except ArgumentError as error:
            raise ArgumentError(f"layer {position}, {error}") from None
    return x


def _linear(graph: Graph, layer: Linear, x: str, row: Row) -> str:
    y = graph.add("MatMul", x, to_host(layer.params["weight"]))
    if "bias" in layer.params:
        y = graph.add("Add", y, to_host(layer.params["bias"]))
    return _activation(graph, layer, y, row)


def _activation(graph: Graph, layer: Any, z: str, row: Row) -> str:
    """Add the activation function that the layer ends with, or is."""
    function: ActivationFunction = layer.activation
    form: ActivationForm = _form(ACTIVATIONS, function)
    return form(graph, function, z)


LAYERS: dict[type[Layer], LayerForm] = {
    Activation: _activation,
    Dropout: lambda graph, layer, x, row: x,
    Flatten: lambda graph, layer, x, row: graph.add("Flatten", x),
    Linear: _linear,
    MLP: _sequential,
    Sequential: _sequential,
}

ACTIVATIONS: dict[type[ActivationFunction], ActivationForm] = {
    ELU: lambda graph, f, z: graph.add("Elu", z, alpha=f.alpha),
    GELU: lambda graph, f, z: graph.add("Gelu", z),
    GELUTanh: lambda graph, f, z: graph.add("Gelu", z, approximate="tanh"),
    Identity: lambda graph, f, z: z,
    LeakyReLU: lambda graph, f, z: graph.add("LeakyRelu", z, alpha=f.negative_slope),
    ReLU: lambda graph, f, z: graph.add("Relu", z),
    SiLU: lambda graph, f, z: graph.add("Mul", z, graph.add("Sigmoid", z)),
    Sigmoid: lambda graph, f, z: graph.add("Sigmoid", z),
    Softplus: lambda graph, f, z: graph.add("Softplus", z),
    Tanh: lambda graph, f, z: graph.add("Tanh", z),
}

"""Each layer as ONNX nodes: one short function a layer, in a table."""

from __future__ import annotations

from collections.abc import Callable
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

Form: TypeAlias = Callable[[Graph, Any, str], str]
"""Adds the nodes of a layer or function to the graph: takes the input's name, returns the output's."""


def add_layer(graph: Graph, layer: Layer, x: str) -> str:
    """Add the nodes of a layer to the graph and return the name of its output.

    Args:
        graph: the graph.
        layer: a layer, as it is in inference.
        x: the name of its input.

    Raises:
        ArgumentError: a layer, or an activation function in it, without an ONNX form.
    """
    return _form(LAYERS, layer)(graph, layer, x)


def _form(table: dict[Any, Form], which: object) -> Form:
    # by the very type: a subclass may compute something else
    if type(which) not in table:
        known = ", ".join(cls.__name__ for cls in table)
        raise ArgumentError(f"{type(which).__name__} has no ONNX form. Those that have one: {known}.")
    return table[type(which)]


def _sequential(graph: Graph, model: Sequential, x: str) -> str:
    for position, layer in enumerate(model.layers):
        try:
            x = add_layer(graph, layer, x)
        except ArgumentError as error:
            raise ArgumentError(f"layer {position}, {error}") from None
    return x


def _linear(graph: Graph, layer: Linear, x: str) -> str:
    y = graph.add("MatMul", x, to_host(layer.params["weight"]))
    return _activation(graph, layer, _biased(graph, layer, y))


def _biased(graph: Graph, layer: Layer, z: str) -> str:
    return graph.add("Add", z, to_host(layer.params["bias"])) if "bias" in layer.params else z


def _activation(graph: Graph, layer: Any, z: str) -> str:
    """Add the activation function that the layer ends with, or is."""
    function: ActivationFunction = layer.activation
    return _form(ACTIVATIONS, function)(graph, function, z)


LAYERS: dict[type[Layer], Form] = {
    Activation: _activation,
    Dropout: lambda graph, layer, x: x,
    Flatten: lambda graph, layer, x: graph.add("Flatten", x),
    Linear: _linear,
    MLP: _sequential,
    Sequential: _sequential,
}

ACTIVATIONS: dict[type[ActivationFunction], Form] = {
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

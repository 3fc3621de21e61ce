"""A table of functions that add an activation to an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np

from gpunet.errors import ArgumentError
from gpunet.interop.onnx_graph import Graph
from gpunet.interop.onnx_shapes import Row
from gpunet.ops.activations import (
    ELU,
    FAR,
    GELU,
    SELU,
    SELU_LIMIT,
    SELU_SCALE,
    ActivationFunction,
    GELUTanh,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    SoftClip,
    Softplus,
    Tanh,
)

ActivationForm: TypeAlias = Callable[[Graph, Any, str], str]
"""Adds an activation's nodes: takes graph, activation and input name; returns the output name."""


def form_of(table: Mapping[Any, Any], which: object) -> Any:
    """Return the entry of a table for the exact type of an object, because a subclass may compute something else."""
    if type(which) not in table:
        known = ", ".join(cls.__name__ for cls in table)
        raise ArgumentError(f"{type(which).__name__} has no ONNX form; these do: {known}.")
    return table[type(which)]


def layer_activation(graph: Graph, layer: Any, z: str, row: Row) -> str:
    """Add the activation of a layer."""
    function: ActivationFunction = layer.activation
    form: ActivationForm = form_of(ACTIVATIONS, function)
    return form(graph, function, z)


def _soft_clip(graph: Graph, f: SoftClip, z: str) -> str:
    ratio = graph.add("Clip", graph.add("Mul", z, np.array(1 / f.limit)), np.array(-FAR), np.array(FAR))
    root = graph.add("Sqrt", graph.add("Add", graph.add("Mul", ratio, ratio), np.array(1.0)))
    return graph.add("Mul", graph.add("Div", ratio, root), np.array(f.limit))


ACTIVATIONS: dict[type[ActivationFunction], ActivationForm] = {
    ELU: lambda graph, f, z: graph.add("Elu", z, alpha=f.alpha),
    GELU: lambda graph, f, z: graph.add("Gelu", z),
    GELUTanh: lambda graph, f, z: graph.add("Gelu", z, approximate="tanh"),
    Identity: lambda graph, f, z: z,
    LeakyReLU: lambda graph, f, z: graph.add("LeakyRelu", z, alpha=f.negative_slope),
    ReLU: lambda graph, f, z: graph.add("Relu", z),
    SELU: lambda graph, f, z: graph.add("Selu", z, alpha=SELU_LIMIT / SELU_SCALE, gamma=SELU_SCALE),
    SiLU: lambda graph, f, z: graph.add("Mul", z, graph.add("Sigmoid", z)),
    Sigmoid: lambda graph, f, z: graph.add("Sigmoid", z),
    SoftClip: _soft_clip,
    Softplus: lambda graph, f, z: graph.add("Softplus", z),
    Tanh: lambda graph, f, z: graph.add("Tanh", z),
}

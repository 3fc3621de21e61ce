"""A table of functions that add a layer to an ONNX graph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from gpunet.device import to_host
from gpunet.errors import ArgumentError
from gpunet.interop.onnx_activations import form_of, layer_activation
from gpunet.interop.onnx_graph import DOUBLE, FLOAT, INT64, Graph
from gpunet.interop.onnx_shapes import Row, fixed, output_row
from gpunet.layers import (
    GEGLU,
    GLU,
    LSTM,
    RNN,
    Activation,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv1d,
    Conv2d,
    Dropout,
    Embedding,
    EntityEmbedding,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    LayerNorm,
    Linear,
    MaxPool2d,
    MultiHeadAttention,
    Residual,
    RMSNorm,
    SinusoidalPositions,
    SwiGLU,
    TransformerEncoderLayer,
)
from gpunet.layers.stack import Stack
from gpunet.models import MLP, Sequential
from gpunet.ops.window import Window

LayerForm: TypeAlias = Callable[[Graph, Any, str, Row], str]
"""Adds a layer's nodes: takes graph, layer, input name and the shape of an input row; returns the output name."""


def add_layer(graph: Graph, layer: Layer, x: str, row: Row) -> str:
    """Add the nodes of a layer's inference to the graph; return the name of its output.

    `x` is the name of its input, `row` the shape of an input row.
    """
    form: LayerForm = form_of(LAYERS, layer)
    return form(graph, layer, x, row)


def _stack(graph: Graph, stack: Stack, x: str, row: Row) -> str:
    for position, layer in enumerate(stack.layers):
        try:
            x, row = add_layer(graph, layer, x, row), output_row(layer, row)
        except ArgumentError as error:
            raise ArgumentError(f"layer {position}, {error}") from None
    return x


def _linear(graph: Graph, layer: Linear, x: str, row: Row) -> str:
    y = graph.add("MatMul", x, to_host(layer.params["weight"]))
    if "bias" in layer.params:
        y = graph.add("Add", y, to_host(layer.params["bias"]))
    return layer_activation(graph, layer, y, row)


def _residual(graph: Graph, layer: Residual, x: str, row: Row) -> str:
    return graph.add("Add", x, _stack(graph, layer, x, row))


def _glu(graph: Graph, layer: GLU, x: str, row: Row) -> str:
    half = fixed(layer, (0, *output_row(layer, row))[layer.dim])
    a, b = (graph.add("Slice", x, *np.array([[at], [at + half], [layer.dim]])) for at in (0, half))
    return graph.add("Mul", a, layer_activation(graph, layer, b, row))


def _entity_embedding(graph: Graph, layer: EntityEmbedding, x: str, row: Row) -> str:
    """Concatenate the numbers and the vector of each category; row 0 of a table is for unknown categories."""
    parts = [graph.add("Gather", x, np.arange(layer.numbers), axis=1)] if layer.numbers else []
    for k, table in enumerate(layer.params.values()):
        index = graph.add("Gather", x, np.array(layer.numbers + k), axis=1)
        below = graph.add("Less", index, np.array(len(table) - 1.0))
        known = graph.add("And", graph.add("GreaterOrEqual", index, np.array(0.0)), below)
        known = graph.add("And", known, graph.add("Equal", index, graph.add("Round", index)))
        index = graph.add("Cast", graph.add("Where", known, index, np.array(-1.0)), to=INT64)
        parts.append(graph.add("Gather", to_host(table), graph.add("Add", index, np.array(1))))
    return graph.add("Concat", *parts, axis=1)


def _batch_norm(graph: Graph, layer: BatchNorm1d | BatchNorm2d, x: str, row: Row) -> str:
    if not layer.buffers:
        raise ArgumentError(f"{layer!r} without running statistics has no ONNX form: it normalises by the batch.")
    params = [to_host(a) for a in layer.params.values()] or [np.ones(layer.num_features), np.zeros(layer.num_features)]
    running = (to_host(layer.buffers[name]) for name in ("running_mean", "running_var"))
    return graph.add("BatchNormalization", x, *params, *running, epsilon=layer.eps)


def _layer_norm(graph: Graph, layer: LayerNorm, x: str, row: Row) -> str:
    params = [to_host(a) for a in layer.params.values()] or [np.ones(layer.normalized_shape)]
    return graph.add("LayerNormalization", x, *params, axis=-len(layer.normalized_shape), epsilon=layer.eps)


def _rms_norm(graph: Graph, layer: RMSNorm, x: str, row: Row) -> str:
    axes = np.arange(-len(layer.normalized_shape), 0)
    eps = np.array(np.finfo(layer.dtype).eps if layer.eps is None else layer.eps)
    square = graph.add("ReduceMean", graph.add("Mul", x, x), axes)
    y = graph.add("Div", x, graph.add("Sqrt", graph.add("Add", square, eps)))
    return graph.add("Mul", y, to_host(layer.params["weight"])) if layer.params else y


BY_HEAD = (0, 2, 1, 3)
"""The permutation from (rows, positions, heads, features) to (rows, heads, positions, features), and back."""


def _attention(graph: Graph, layer: MultiHeadAttention, x: str, row: Row) -> str:
    """Add self-attention, softmax(q·kᵀ/√d + mask)·v in each head."""
    heads, features = layer.num_heads, layer.embed_dim // layer.num_heads  # a 0 in an ONNX Reshape keeps the axis
    q = graph.add("Reshape", _linear(graph, layer.q_proj, x, row), np.array([0, 0, heads, features]))
    kv = graph.add("Reshape", _linear(graph, layer.kv_proj, x, row), np.array([0, 0, 2, heads, features]))
    k, v = (graph.add("Gather", kv, np.array(part), axis=2) for part in range(2))
    q, k, v = (graph.add("Transpose", a, perm=perm) for a, perm in ((q, BY_HEAD), (k, (0, 2, 3, 1)), (v, BY_HEAD)))
    scores = graph.add("Mul", graph.add("MatMul", q, k), np.array(features**-0.5))
    if layer.causal:
        masked = graph.add("Expand", np.array(-np.inf), graph.add("Shape", scores, start=2))
        scores = graph.add("Add", scores, graph.add("Trilu", masked, np.array(1)))
    outputs = graph.add("Transpose", graph.add("MatMul", graph.add("Softmax", scores), v), perm=BY_HEAD)
    return _linear(graph, layer.out_proj, graph.add("Reshape", outputs, np.array([0, 0, layer.embed_dim])), row)


def _positions(graph: Graph, layer: SinusoidalPositions, x: str, row: Row) -> str:
    """Add sinusoidal positions for any length, computed in double: float32 would lose digits of large angles."""

    def double(value: str | np.ndarray) -> str:
        return graph.add("Cast", value, to=DOUBLE)

    features = fixed(layer, row[1])
    column = np.arange(features)
    exponent = graph.add("Div", double(column // 2 * 2), double(np.array(features)))
    length = graph.add("Squeeze", graph.add("Shape", x, start=1, end=2))
    position = graph.add("Unsqueeze", graph.add("Range", np.array(0), length, np.array(1)), np.array([1]))
    angles = graph.add("Div", double(position), graph.add("Pow", double(np.array(10000)), exponent))
    sines = graph.add("Where", column % 2 == 1, graph.add("Cos", angles), graph.add("Sin", angles))
    return graph.add("Add", x, graph.add("Cast", sines, to=FLOAT))


def _convolution(graph: Graph, layer: Conv1d | Conv2d, x: str, row: Row) -> str:
    params = (to_host(a) for a in layer.params.values())  # the weight and, if there is one, the bias
    return layer_activation(graph, layer, graph.add("Conv", x, *params, group=layer.groups, **_window(layer)), row)


def _avg_pool(graph: Graph, layer: AvgPool2d, x: str, row: Row) -> str:
    return graph.add("AveragePool", x, count_include_pad=1, **_window(layer.window))


def _window(window: Conv2d | Window) -> dict[str, Any]:
    """Return the ONNX attributes of a window; "pads" lists the padding at the start of all axes, then at the end."""
    sizes = {"kernel_shape": window.kernel_size, "strides": window.stride, "dilations": window.dilation}
    return {**sizes, "pads": window.padding * 2}


def _rnn(graph: Graph, layer: RNN, x: str, row: Row) -> str:
    return _recurrent(graph, layer, x, "RNN", (0,), activations=[{"tanh": "Tanh", "relu": "Relu"}[layer.nonlinearity]])


def _recurrent(
    graph: Graph, layer: RNN | LSTM, x: str, operator: str, gates: tuple[int, ...], **attributes: Any
) -> str:
    """Add a recurrent layer; `gates` is ONNX's order of the gates, stacked in matrices (gates·hidden, input)."""

    def stacked(name: str) -> np.ndarray:
        parts = np.split(to_host(layer.params[name]).T, len(gates))
        return np.concatenate([parts[gate] for gate in gates])[None]

    bias = stacked("bias") if "bias" in layer.params else np.zeros((1, len(gates) * layer.hidden_size))
    both = np.concatenate([bias, np.zeros_like(bias)], axis=1)  # ONNX has separate biases for input and state
    steps = graph.add("Transpose", x, perm=(1, 0, 2))
    arrays = stacked("weight_ih"), stacked("weight_hh"), both
    h = graph.add(operator, steps, *arrays, hidden_size=layer.hidden_size, **attributes)
    h = graph.add("Squeeze", h, np.array([1]))  # (steps, directions, rows, hidden)
    return graph.add("Transpose", h, perm=(1, 0, 2)) if layer.return_sequences else graph.add("Gather", h, np.array(-1))


LAYERS: dict[type[Layer], LayerForm] = {
    Activation: layer_activation,
    AvgPool2d: _avg_pool,
    BatchNorm1d: _batch_norm,
    BatchNorm2d: _batch_norm,
    Conv1d: _convolution,
    Conv2d: _convolution,
    Dropout: lambda graph, layer, x, row: x,
    Embedding: lambda graph, layer, x, row: graph.add("Gather", to_host(layer.params["weight"]), x),
    EntityEmbedding: _entity_embedding,
    Flatten: lambda graph, layer, x, row: graph.add("Flatten", x),
    GEGLU: _stack,
    GLU: _glu,
    GlobalAvgPool2d: lambda graph, layer, x, row: graph.add("Flatten", graph.add("GlobalAveragePool", x)),
    LSTM: lambda graph, layer, x, row: _recurrent(graph, layer, x, "LSTM", (0, 3, 1, 2)),  # i, f, g, o to i, o, f, g
    LayerNorm: _layer_norm,
    Linear: _linear,
    MLP: _stack,
    MaxPool2d: lambda graph, layer, x, row: graph.add("MaxPool", x, **_window(layer.window)),
    MultiHeadAttention: _attention,
    RMSNorm: _rms_norm,
    RNN: _rnn,
    Residual: _residual,
    Sequential: _stack,
    SinusoidalPositions: _positions,
    SwiGLU: _stack,
    TransformerEncoderLayer: _stack,
}

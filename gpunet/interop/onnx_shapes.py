"""Shapes of rows in an ONNX graph, where an axis may have any length."""

from __future__ import annotations

from typing import Any, TypeAlias

from gpunet.arguments import whole
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers import (
    LSTM,
    RNN,
    Activation,
    Dropout,
    EntityEmbedding,
    Layer,
    Linear,
    MultiHeadAttention,
    TransformerEncoderLayer,
)
from gpunet.layers.stack import Stack
from gpunet.models import Model

Row: TypeAlias = tuple[int | None, ...]
"""The shape of a row; None for an axis of any length."""

LENGTHS = 2**30, 2**31
"""Two lengths to try for a free axis: a layer that accepts both accepts every length that is large enough."""


def output_row(layer: Layer, row: Row) -> Row:
    """Return the output shape of one row; None for an axis whose length depends on a free axis."""
    first, second = (layer.output_shape(tuple(length if size is None else size for size in row)) for length in LENGTHS)
    return tuple(size if size == other else None for size, other in zip(first, second, strict=True))


def input_row(model: Model, input_shape: Any) -> Row:
    """Return the shape of one row of X: the given one, else the one that the model determines.

    Raises:
        ArgumentError: the shape is not known.
        ShapeError: the standardisation or the model does not accept it.
    """
    standardised = model.input_scaler and model.input_scaler.mean.shape
    row = (standardised or _known(model)) if input_shape is None else _checked(input_shape)
    if row is None:
        raise ArgumentError(
            f"to_onnx: {model!r} accepts rows of several shapes; give one, such as input_shape=(1, 28, 28), or "
            "(None, 3) with None for an axis of any length."
        )
    if standardised and row != standardised:
        raise ShapeError(f"to_onnx: the model standardises rows of shape {standardised}, got input_shape={row}.")
    try:
        output_row(model, row)
    except ShapeError as error:
        if None not in row:
            raise
        raise ShapeError(
            f"to_onnx: the model does not accept every length for None in rows of shape {row}; give the length in "
            f"input_shape. A length of {LENGTHS[0]:,} is refused: {error}"
        ) from None
    return row


def fixed(layer: Layer, size: int | None) -> int:
    """Return the size of an axis; raise `ArgumentError` if it is free, as the layer's ONNX form needs a fixed size."""
    if size is None:
        raise ArgumentError(f"{layer!r} has no ONNX form for an axis of any length; give the length in input_shape.")
    return size


def _checked(input_shape: Any) -> Row:
    if not isinstance(input_shape, tuple | list) or not input_shape:
        raise ArgumentError(
            "to_onnx: input_shape must be a tuple, such as (1, 28, 28), or (None, 3) with None for an axis of any "
            f"length; got {input_shape!r}."
        )
    return tuple(size if size is None else whole("to_onnx: a size in input_shape", size) for size in input_shape)


def _known(layer: Layer) -> Row | None:
    """Return the shape of one input row if the layer determines it, else None."""
    match layer:
        case Linear() | EntityEmbedding():
            return (layer.in_features,)
        case RNN() | LSTM():
            return (None, layer.input_size)
        case MultiHeadAttention():
            return (None, layer.embed_dim)
        case TransformerEncoderLayer():
            return _known(layer.self_attn)
        case Stack():
            return next((_known(inner) for inner in layer.layers if not isinstance(inner, Activation | Dropout)), None)
    return None

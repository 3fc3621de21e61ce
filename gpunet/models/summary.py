"""Summarize a model: a table of its layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gpunet import html
from gpunet.errors import ShapeError
from gpunet.layers import EntityEmbedding, Layer, LayerNorm, Linear, RMSNorm
from gpunet.layers.stack import Stack, fuse

HEADER = ("layer", "output of a row", "parameters")


def summarize(model: Stack, input_shape: tuple[int, ...] | None) -> str:
    """Return the table of layers as text; arguments and errors as for `Sequential.summary`."""
    rows = [HEADER, *_rows(model, input_shape)]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    lines = [f"{a:<{widths[0]}}  {b:<{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows]
    return "\n".join([*lines, _total(model)])


def summary_html(model: Stack) -> str:
    """Return the table of layers as HTML, with output shapes if the layers determine the input shape."""
    return html.table(HEADER, _rows(model, None), _total(model))


def _rows(model: Stack, input_shape: tuple[int, ...] | None) -> list[tuple[str, str, str]]:
    """Return the rows of the table without its header."""
    rows = []
    shape = input_shape or _known_shape(model)
    position, program = 0, fuse(model.layers)
    for number, runs in enumerate(program):
        layer = model.layers[position]
        fused = runs is not layer
        shape = shape or _accepted(_known_shape(runs), program[number:])
        shape = shape and runs.output_shape(shape)
        count = _count(runs.leaves().values())
        label = f"{layer!r} + {model.layers[position + 1]!r}, fused" if fused else repr(layer)
        rows.append((f"{position}  {label}", "?" if shape is None else str(shape), f"{count:,}"))
        position += 2 if fused else 1
    return rows


def _total(model: Stack) -> str:
    """Return the line below the table."""
    leaves = model.leaves().values()
    frozen = _count(leaf for leaf in leaves if not leaf.trainable)
    frozen_part = f", {frozen:,} of them frozen" if frozen else ""
    return f"{_count(leaves):,} parameters{frozen_part}, {model.dtype}, on {model.device.name}"


def _count(leaves: Iterable[Layer]) -> int:
    """Return the number of parameters of the layers."""
    return sum(a.size for leaf in leaves for a in leaf.params.values())


def _known_shape(layer: Layer) -> tuple[int, ...] | None:
    """Return the input shape of one row if the layer determines it, else None."""
    if layer.index_range is not None:  # any number of indices
        return None
    if isinstance(layer, LayerNorm | RMSNorm):
        return layer.normalized_shape
    if isinstance(layer, Stack):
        return _accepted(next((shape for shape in map(_known_shape, layer.layers) if shape), None), layer.layers)
    return (layer.in_features,) if isinstance(layer, Linear | EntityEmbedding) else None


def _accepted(shape: tuple[int, ...] | None, layers: Sequence[Layer]) -> tuple[int, ...] | None:
    """Return `shape` if the sequence of layers accepts rows of this shape, else None."""
    row = shape
    try:
        for layer in layers:
            row = row and layer.output_shape(row)
    except ShapeError:  # the input has more axes, for example before a convolution
        return None
    return shape

"""Embedding: look up rows of a table; and the table's gradient.

    y_i = W_{k_i},    dW_r = Σ_{i: k_i = r} dy_i

The sums are added in a fixed order, without atomics, so equal input gives equal bits. On a GPU the block of a table row
searches all indices for that row: rows · positions comparisons, cheap up to about 10⁹ (see `kernels/embedding.cu`). On
the CPU the rows of dy are added one after the other.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from gpunet.arguments import whole
from gpunet.cuda import Kernel
from gpunet.data.indices import check_range
from gpunet.device import Array, array_module
from gpunet.errors import ArgumentError, DTypeError, ShapeError
from gpunet.ops._gather import gather
from gpunet.ops.checks import check_buffers, float_module
from gpunet.ops.launch import operand
from gpunet.tape import Tape, empty

BACKWARD = Kernel("embedding.cu", "embedding_backward")

NO_PADDING = -1


def embedding(indices: Array, weight: Array, *, tape: Tape | None = None) -> Array:
    """Return the rows of `weight` at the given indices, (..., embedding_dim).

    Args:
        indices: (...), integers in [0, num_embeddings). On a GPU they are not checked but clipped to that range.
        weight: the table (num_embeddings, embedding_dim).

    Raises:
        DataError: indices in host memory that are out of range.

    Example:
        >>> table = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
        >>> gn.ops.embedding(np.array([2, 0]), table)
        array([[2., 2.],
               [0., 0.]])
    """
    float_module("embedding", weight=weight)
    _check_indices("embedding", indices, weight=weight)
    if weight.ndim != 2:
        raise ShapeError(f"embedding: weight must be (num_embeddings, embedding_dim), got shape {weight.shape}.")
    if type(indices) is np.ndarray:
        check_range(indices, len(weight), "embedding: indices")
    return gather(weight, indices.reshape(-1), tape=tape).reshape(*indices.shape, weight.shape[1])


def embedding_backward(
    dy: Array,
    indices: Array,
    num_embeddings: int,
    padding_idx: int | None = None,
    *,
    dweight: Array | None = None,
    tape: Tape | None = None,
) -> Array:
    """Return the table's gradient, (num_embeddings, embedding_dim), from that of y = embedding(indices, weight).

    Args:
        padding_idx: the row whose gradient is zero, a negative one counted from the end; or None.
        dweight: C-contiguous.

    Example:
        >>> gn.ops.embedding_backward(np.ones((3, 2)), np.array([0, 2, 2]), num_embeddings=3)
        array([[1., 1.],
               [0., 0.],
               [2., 2.]])
    """
    xp = float_module("embedding_backward", dy=dy, dweight=dweight)
    _check_indices("embedding_backward", indices, dy=dy)
    if dy.ndim == 0 or dy.shape[:-1] != indices.shape:
        raise ShapeError(f"embedding_backward: dy has shape {dy.shape}, expected {(*indices.shape, 'features')}.")
    width = dy.shape[-1]
    if dweight is None:
        dweight = xp.empty((num_embeddings, width), dy.dtype)
    check_buffers("embedding_backward", (num_embeddings, width), dweight=dweight)
    padding = NO_PADDING
    if padding_idx is not None:
        padding = row_of_table("embedding_backward: padding_idx", padding_idx, num_embeddings)
    if xp is np:
        _sum_rows(dy, indices, dweight, tape)
        if padding != NO_PADDING:
            dweight[padding] = 0
        return dweight
    rows = operand(indices, tape, xp, np.dtype(np.int64))
    grid = num_embeddings, math.ceil(width / (32 * 16 // dy.itemsize))
    BACKWARD(grid, (32, 8), operand(dy, tape, xp), rows, dweight, indices.size, width, padding)
    return dweight


def row_of_table(name: str, index: int, rows: int) -> int:
    """Return the row of a table for an index that may count from the end; messages begin with `name`."""
    if not -rows <= whole(name, index, -rows) < rows:
        raise ArgumentError(f"{name} must be a row of the table, from {-rows} to {rows - 1}, got {index}.")
    return int(index) % rows


def _sum_rows(dy: Array, indices: Array, dweight: Array, tape: Tape | None) -> None:
    """Add the rows of dy to those of dweight, as flat elements: `np.add.at` is slow with more than one axis."""
    places = empty(tape, dy.shape, np.dtype(np.intp), np)
    np.multiply(indices[..., None], dy.shape[-1], out=places)
    np.add(places, _columns(dy.shape[-1]), out=places)
    dweight.fill(0)
    np.add.at(dweight.reshape(-1), places.reshape(-1), dy.reshape(-1))


@functools.cache
def _columns(width: int) -> np.ndarray:
    return np.arange(width)


def _check_indices(op: str, indices: Array, **others: Array) -> None:
    array_module(indices=indices, **others)
    if indices.dtype.kind not in "iu":
        raise DTypeError(f"{op}: indices are {indices.dtype}; use integers, for example indices.astype('int64').")

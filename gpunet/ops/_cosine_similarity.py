"""The cosine of the angle between vectors.

    c = a·b / (max(|a|, ε) max(|b|, ε))
    da = dc (b / (|a||b|) - c a / |a|²),    db by symmetry

A zero vector has the cosine 0 with any other. A norm below ε counts as the constant ε (PyTorch returns the same values,
but differentiates such a norm too). Each element is read once forward, twice backward: 8 and 16 bytes in float32.
"""

from __future__ import annotations

from types import ModuleType
from typing import NamedTuple

import numpy as np

from gpunet.arguments import real, whole
from gpunet.cuda import Kernel
from gpunet.device import Array, to_host
from gpunet.errors import ArgumentError, ShapeError
from gpunet.ops._matmul import sum_to_shape
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.tape import Tape, empty, empty_like

FORWARD = Kernel("cosine.cu", "cosine_similarity")
BACKWARD = Kernel("cosine.cu", "cosine_similarity_backward")

ROWS_PER_BLOCK = 8
"""One warp per row."""

EPS = 1e-8


class Cosines(NamedTuple):
    """Cosines (...), and the values that their gradients need.

    Attributes:
        inverse: 1 / norm of both vectors, (2, ...).
        long: whether the norm is above eps, (2, ...).
    """

    cosine: Array
    inverse: Array
    long: Array


def cosine_similarity(a: Array, b: Array, axis: int = -1, eps: float = EPS, *, tape: Tape | None = None) -> Array:
    """Return the cosine of the angle between the vectors of `a` and `b`, in their broadcast shape without `axis`.

    `axis` is that of the features; `eps` > 0 is the minimum of a norm.

    Example:
        >>> a, b = np.array([[1.0, 0.0], [3.0, 4.0]]), np.array([[2.0, 0.0], [4.0, -3.0]])
        >>> gn.ops.cosine_similarity(a, b)
        array([1., 0.])
    """
    eps = real("cosine_similarity: eps", eps, 0)
    xp = float_module("cosine_similarity", a=a, b=b)
    a, b = _vectors("cosine_similarity", a, b, axis, xp)
    if xp is np:
        return measure(a, b, tape, eps=eps).cosine
    width, out = a.shape[-1], empty(tape, a.shape[:-1], a.dtype, xp)
    a, b = operand(a, tape, xp), operand(b, tape, xp)
    FORWARD((block_count(out.size, ROWS_PER_BLOCK),), (THREADS,), a, b, out, out.size, width, eps)
    return out


def cosine_similarity_backward(
    dy: Array, a: Array, b: Array, axis: int = -1, eps: float = EPS, *, tape: Tape | None = None
) -> tuple[Array, Array]:
    """Return (da, db), the gradients of y = cosine_similarity(a, b, axis, eps), summed over broadcast axes.

    The gradient of a zero vector a is dy·b / (eps·|b|), as in PyTorch, which is large.

    Example:
        >>> a, b = np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]])
        >>> gn.ops.cosine_similarity_backward(np.array([1.0]), a, b)
        (array([[0., 1.]]), array([[0.5, 0. ]]))
    """
    xp = float_module("cosine_similarity_backward", dy=dy, a=a, b=b)
    left, right = _vectors("cosine_similarity_backward", a, b, axis, xp)
    check_shape("cosine_similarity_backward", left.shape[:-1], dy=dy)
    da, db = empty_like(tape, left, xp), empty_like(tape, left, xp)
    if xp is np:
        write_gradients(dy, measure(left, right, tape, eps=eps), left, right, da, db, tape)
    else:
        blocks, given = block_count(dy.size, ROWS_PER_BLOCK), (operand(x, tape, xp) for x in (dy, left, right))
        BACKWARD((blocks,), (THREADS,), *given, da, db, dy.size, left.shape[-1], eps)
    da, db = xp.moveaxis(da, -1, axis), xp.moveaxis(db, -1, axis)
    return sum_to_shape(da, a.shape), sum_to_shape(db, b.shape)


def write_gradients(dy: Array, cosines: Cosines, a: Array, b: Array, da: Array, db: Array, tape: Tape | None) -> None:
    """Write the gradients of vectors along the last axis to `da` and `db`, on the CPU; overwrites `cosines`."""
    cosine, inverse, long = cosines
    across, slope = empty(tape, dy.shape, dy.dtype, np), empty(tape, dy.shape, dy.dtype, np)
    product = empty_like(tape, a, np)
    np.multiply(dy, inverse[0, ...], out=across)
    np.multiply(across, inverse[1, ...], out=across)
    np.multiply(dy, cosine, out=cosine)
    for k, x, other, dx in ((0, a, b, da), (1, b, a, db)):
        np.multiply(inverse[k, ...], inverse[k, ...], out=slope)
        np.multiply(slope, long[k, ...], out=slope)
        np.multiply(slope, cosine, out=slope)
        np.multiply(x, slope[..., None], out=dx)
        np.multiply(other, across[..., None], out=product)
        np.subtract(product, dx, out=dx)


def measure(a: Array, b: Array, tape: Tape | None, *, eps: float = 0.0, added: float = 0.0) -> Cosines:
    """Return the cosines of vectors along the last axis, on the CPU, with norms max(√(x·x + added), eps)."""
    cosine, inverse = empty(tape, a.shape[:-1], a.dtype, np), empty(tape, (2, *a.shape[:-1]), a.dtype, np)
    np.einsum("...i,...i->...", a, b, out=cosine)
    np.einsum("...i,...i->...", a, a, out=inverse[0, ...])
    np.einsum("...i,...i->...", b, b, out=inverse[1, ...])
    np.add(inverse, added, out=inverse)
    np.sqrt(inverse, out=inverse)
    long = np.greater(inverse, eps, out=empty(tape, inverse.shape, np.dtype(bool), np))
    np.maximum(inverse, eps, out=inverse)
    np.divide(1, inverse, out=inverse)
    np.multiply(cosine, inverse[0, ...], out=cosine)
    np.multiply(cosine, inverse[1, ...], out=cosine)
    return Cosines(cosine, inverse, long)


def most_similar(vectors: Array, query: Array | int, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of `vectors` with the largest cosine to a query, the largest first, and their cosines.

    Args:
        vectors: (n, features), such as the weight of an `Embedding`.
        query: a vector (features,) on the same device; or a row number, which is left out of the result.
        k: maximum number of rows.

    Returns:
        Row numbers int64 (k,) and cosines (k,), in host memory.

    Example:
        >>> vectors = np.array([[1.0, 0.0], [0.0, 1.0], [3.0, 4.0]])
        >>> rows, cosines = gn.ops.most_similar(vectors, query=0)
        >>> rows, cosines.round(2)
        (array([2, 1]), array([0.6, 0. ]))
    """
    k = whole("most_similar: k", k)
    if vectors.ndim != 2:
        raise ShapeError(f"most_similar: vectors must be (n, features), got shape {vectors.shape}.")
    row = None
    if isinstance(query, int | np.integer):
        row = int(query)
        if not 0 <= row < len(vectors):
            raise ArgumentError(f"most_similar: query must be a row number from 0 to {len(vectors) - 1}, got {row}.")
        vector: Array = vectors[row]
    else:
        vector = query
    check_shape("most_similar", vectors.shape[1:], query=vector)
    similarity = to_host(cosine_similarity(vectors, vector))
    order = np.argsort(-similarity, kind="stable")
    order = order[order != row][:k]
    return order, similarity[order]


def _vectors(op: str, a: Array, b: Array, axis: int, xp: ModuleType) -> tuple[Array, Array]:
    """Return both arrays in their broadcast shape, with the features last."""
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        raise ShapeError(f"{op}: a has shape {a.shape}, b {b.shape}, which don't broadcast.") from None
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"{op}: there is no axis {axis} in shape {shape}.")
    a, b = (x if x.shape == shape else xp.broadcast_to(x, shape) for x in (a, b))
    return xp.moveaxis(a, axis, -1), xp.moveaxis(b, axis, -1)

"""Scaled dot-product attention: each query gets a mean of the values, weighted by how well their keys match it.

    s = q·kᵀ/√E + mask,    w = softmax(s) over the keys,    y = w·v
    dv = wᵀ·dy,   dw = dy·vᵀ,   ds = w · (dw - Σ_keys dw·w) / √E,   dq = ds·k,   dk = dsᵀ·q

Vaswani et al. 2017, eq. 1. For L queries and S keys of E features: about 4·L·S·E FLOPs forward, twice that backward.
The L·S weights are stored: meant for short sequences.
"""

from __future__ import annotations

import functools
import math
from types import ModuleType

import numpy as np

from gpunet.cuda import Kernel
from gpunet.device import Array, array_module
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops._bias_activation import ones
from gpunet.ops._matmul import matmul
from gpunet.ops.checks import check_buffers, check_shape, float_module
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.tape import Tape, empty

FORWARD = Kernel("attention.cu", "attention_softmax_forward")
BACKWARD = Kernel("attention.cu", "attention_softmax_backward")

ROWS_PER_BLOCK = 8
"""One warp per row at a time."""


def scaled_dot_product_attention(
    q: Array,
    k: Array,
    v: Array,
    mask: Array | None = None,
    causal: bool = False,
    *,
    out: Array | None = None,
    weights: Array | None = None,
    tape: Tape | None = None,
) -> Array:
    """Return softmax(q·kᵀ/√E + mask)·v, (rows, heads, L, V). A query without visible keys gets zeros.

    Args:
        q: queries (rows, heads, L, E), or without heads or rows.
        k: keys (rows, heads, S, E).
        v: values (rows, heads, S, V).
        mask: broadcasts to (rows, heads, L, S). Booleans, True where a query may attend to a key, as in PyTorch's
            function; or numbers in the dtype of `q` to add to the scores, -inf to hide a key. It gets no gradient.
        causal: whether query i may attend only to keys 0 .. i.
        weights: where to write the weights for the backward pass, C-contiguous (rows, heads, L, S).

    Example:
        >>> q, k, v = np.zeros((2, 1)), np.zeros((2, 1)), np.array([[2.0], [4.0]])
        >>> gn.ops.scaled_dot_product_attention(q, k, v)  # equal scores: the mean of the values
        array([[3.],
               [3.]])
        >>> gn.ops.scaled_dot_product_attention(q, k, v, causal=True)
        array([[2.],
               [3.]])
    """
    op = "scaled_dot_product_attention"
    xp = float_module(op, q=q, k=k, v=v, out=out, weights=weights)
    shape, scores_shape = _shapes(q, k, v)
    check_shape(op, shape, out=out)
    check_buffers(op, scores_shape, weights=weights)
    check_mask(op, mask, q, scores_shape)
    out = empty(tape, shape, q.dtype, xp) if out is None else out
    weights = empty(tape, scores_shape, q.dtype, xp) if weights is None else weights
    q, k, v = (_matrices(a, tape, xp) for a in (q, k, v))
    _product(q, k.swapaxes(-1, -2), weights, tape, xp)
    softmax = _softmax_numpy if xp is np else _softmax_cuda
    softmax(weights, mask, causal, 1 / math.sqrt(q.shape[-1]), tape, xp)
    _product(_matrices(weights, tape, xp), v, out, tape, xp)
    return out


def scaled_dot_product_attention_backward(
    dy: Array,
    q: Array,
    k: Array,
    v: Array,
    weights: Array,
    *,
    dq: Array | None = None,
    dk: Array | None = None,
    dv: Array | None = None,
    tape: Tape | None = None,
) -> tuple[Array, Array, Array]:
    """Return (dq, dk, dv), the gradients of y = scaled_dot_product_attention(q, k, v, ...).

    Args:
        weights: the weights that the forward pass wrote.
        dq, dk, dv: in any memory layout; by default from the tape.

    Example:
        >>> q, k, v, weights = np.zeros((2, 1)), np.zeros((2, 1)), np.array([[2.0], [4.0]]), np.empty((2, 2))
        >>> y = gn.ops.scaled_dot_product_attention(q, k, v, causal=True, weights=weights)
        >>> dq, dk, dv = gn.ops.scaled_dot_product_attention_backward(np.ones((2, 1)), q, k, v, weights)
        >>> weights, dv
        (array([[1. , 0. ],
               [0.5, 0.5]]), array([[1.5],
               [0.5]]))
    """
    op = "scaled_dot_product_attention_backward"
    xp = float_module(op, dy=dy, q=q, k=k, v=v, weights=weights, dq=dq, dk=dk, dv=dv)
    shape, scores_shape = _shapes(q, k, v)
    check_shape(op, shape, dy=dy)
    check_shape(op, scores_shape, weights=weights)
    for name, a, gradient in (("dq", q, dq), ("dk", k, dk), ("dv", v, dv)):
        check_shape(op, a.shape, **{name: gradient})
    dq, dk, dv = (
        empty(tape, a.shape, a.dtype, xp) if gradient is None else gradient
        for a, gradient in ((q, dq), (k, dk), (v, dv))
    )
    dy, q, k, v = (_matrices(a, tape, xp) for a in (dy, q, k, v))
    by_key = _matrices(weights, tape, xp).swapaxes(-1, -2)
    _product(by_key, dy, dv, tape, xp)
    gradient = empty(tape, scores_shape, q.dtype, xp)
    _product(dy, v.swapaxes(-1, -2), gradient, tape, xp)
    softmax_backward = _softmax_backward_numpy if xp is np else _softmax_backward_cuda
    softmax_backward(weights, gradient, 1 / math.sqrt(q.shape[-1]), tape, xp)
    gradient = _matrices(gradient, tape, xp)
    _product(gradient, k, dq, tape, xp)
    _product(gradient.swapaxes(-1, -2), q, dk, tape, xp)
    return dq, dk, dv


def _softmax_numpy(
    scores: Array, mask: Array | None, causal: bool, scale: float, tape: Tape | None, xp: ModuleType
) -> None:
    """Turn scores into weights, in place."""
    np.multiply(scores, scale, out=scores)
    if mask is not None and mask.dtype == bool:
        hidden = np.logical_not(mask, out=empty(tape, mask.shape, mask.dtype, np))
        np.copyto(scores, -np.inf, where=hidden)
    elif mask is not None:
        np.add(scores, mask, out=scores)
    queries, keys = scores.shape[-2:]
    if causal:
        np.copyto(scores, -np.inf, where=_later(queries, keys))
    of_row = empty(tape, (*scores.shape[:-1], 1), scores.dtype, np)
    lowest = np.finfo(scores.dtype).min
    np.maximum.reduce(scores, axis=-1, keepdims=True, initial=lowest, out=of_row)  # finite even if all keys are hidden
    np.subtract(scores, of_row, out=scores)
    np.exp(scores, out=scores)
    np.matmul(scores, ones(keys, scores.dtype)[:, None], out=of_row)  # for few columns BLAS sums faster than sum
    np.maximum(of_row, 1, out=of_row)  # the largest score adds exp(0) = 1: below 1 only if all keys are hidden
    np.divide(scores, of_row, out=scores)


def _softmax_backward_numpy(weights: Array, gradient: Array, scale: float, tape: Tape | None, xp: ModuleType) -> None:
    """Turn the gradient of the weights into that of the scores, in place."""
    of_row = empty(tape, weights.shape[:-1], weights.dtype, np)
    np.vecdot(gradient, weights, out=of_row)
    np.subtract(gradient, of_row[..., None], out=gradient)
    np.multiply(gradient, weights, out=gradient)
    np.multiply(gradient, scale, out=gradient)


@functools.lru_cache(maxsize=8)
def _later(queries: int, keys: int) -> np.ndarray:
    """Return the mask of the keys after each query, (queries, keys)."""
    return ~np.tri(queries, keys, dtype=bool)


def _softmax_cuda(
    scores: Array, mask: Array | None, causal: bool, scale: float, tape: Tape | None, xp: ModuleType
) -> None:
    *outer, queries, keys = scores.shape
    rows, heads = math.prod(scores.shape[:-1]), outer[-1] if outer else 1
    mask = operand(mask, tape, xp)
    masks = (None, None) if mask is None else (mask, None) if mask.dtype == bool else (None, mask)
    sizes = rows, math.prod(outer[:-1]), heads, queries, keys
    blocks = block_count(rows if keys else 0, ROWS_PER_BLOCK)
    FORWARD((blocks,), (THREADS,), scores, *masks, *sizes, *_strides(mask), int(causal), scale)


def _strides(mask: Array | None) -> list[int]:
    """Return the strides, in elements, of a C-contiguous mask broadcast to four axes."""
    strides, size = [], 1
    for n in reversed(() if mask is None else mask.shape):
        strides.append(0 if n == 1 else size)
        size *= n
    return [0] * (4 - len(strides)) + strides[::-1]


def _softmax_backward_cuda(weights: Array, gradient: Array, scale: float, tape: Tape | None, xp: ModuleType) -> None:
    rows, keys = math.prod(weights.shape[:-1]), weights.shape[-1]
    blocks = block_count(rows if keys else 0, ROWS_PER_BLOCK)
    BACKWARD((blocks,), (THREADS,), operand(weights, tape, xp), gradient, rows, keys, scale)


def _matrices(a: Array, tape: Tape | None, xp: ModuleType) -> Array:
    """Return (..., m, n) in the form for `_product`: unchanged on the CPU; on a GPU C-contiguous, (matrices, m, n)."""
    if xp is np:
        return a
    stored: Array = operand(a, tape, xp)
    return stored.reshape(math.prod(a.shape[:-2]), *a.shape[-2:])


def _product(a: Array, b: Array, out: Array, tape: Tape | None, xp: ModuleType) -> None:
    """Write the products of matrices from `_matrices` to `out` (..., m, n)."""
    if xp is np:
        np.matmul(a, b, out=out)
        return
    c = out if out.flags.c_contiguous else empty(tape, out.shape, out.dtype, xp)
    matmul(a, b, out=c.reshape(len(a), *c.shape[-2:]), tape=tape)
    if c is not out:
        xp.copyto(out, c)


def _shapes(q: Array, k: Array, v: Array) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the shapes of the output and of the weights; raise an error for operands that don't fit."""
    fit = 2 <= q.ndim == k.ndim == v.ndim <= 4 and q.shape[:-2] == k.shape[:-2] == v.shape[:-2]
    if not fit or k.shape[-2] != v.shape[-2] or q.shape[-1] != k.shape[-1] or not q.shape[-1]:
        raise ShapeError(
            f"scaled_dot_product_attention: q {q.shape}, k {k.shape} and v {v.shape} don't fit; expected "
            "(rows, heads, L, E), (rows, heads, S, E) and (rows, heads, S, V) with at least one feature E, all with or "
            "without the axes of rows and heads."
        )
    return (*q.shape[:-1], v.shape[-1]), (*q.shape[:-1], k.shape[-2])


def check_mask(op: str, mask: Array | None, q: Array, shape: tuple[int, ...]) -> None:
    """Check a mask against the queries and the shape of the weights; messages begin with `op`."""
    if mask is None:
        return
    array_module(q=q, mask=mask)
    if mask.dtype not in (np.dtype(bool), q.dtype):
        raise DTypeError(
            f"{op}: mask is {mask.dtype}; give booleans, True where a query may attend to a key, or {q.dtype} to be "
            "added to the scores."
        )
    own = mask.shape
    if len(own) > len(shape) or any(n not in (1, m) for n, m in zip(reversed(own), reversed(shape), strict=False)):
        raise ShapeError(f"{op}: mask of shape {own} does not broadcast to (..., queries, keys), here {shape}.")

"""The matrix product and its gradient.

    y = a·b,    da = dy·bᵀ,    db = aᵀ·dy

For a of (m, k) and b of (k, n): 2·m·n·k FLOPs forward, twice that backward. Transposed operands are views, which BLAS
and cuBLAS read in place.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gpunet.device import Array, array_module
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops._matmul_plan import check_kernel
from gpunet.ops.checks import check_shape
from gpunet.ops.matmul_launch import MOST_MATRICES, plan_for, run_plan
from gpunet.tape import Tape


def matmul(
    a: Array,
    b: Array,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: Array | None = None,
    kernel: str | None = None,
    tape: Tape | None = None,
) -> Array:
    """Return the matrix product a·b, with leading batch dimensions as in `numpy.matmul`.

    Args:
        a: (..., m, k), or (..., k, m) with `transpose_a`, or a vector (k,); any numeric dtype.
        b: (..., k, n), or (..., n, k) with `transpose_b`, or a vector (k,); any numeric dtype.
        out: (..., m, n), of a dtype that can hold the result.
        kernel: None (gpunet's choice, see `matmul_plan`), "blas" (BLAS on the CPU, cuBLAS on a GPU), or on a GPU one of
            `kernels/matmul_*.cu`: "naive", "shared", "register", "vectorized", "double_buffered", "warp_tiled",
            "split_k", "tiled", or for float32 on tensor cores "mma", which rounds the operands to TF32, and "mma3",
            which has the error of float32 (3xTF32). A kernel that does not support the operands raises `ArgumentError`.

    Example:
        >>> gn.ops.matmul(np.ones((2, 3)), np.ones((3, 4))).shape
        (2, 4)
        >>> gn.ops.matmul(np.ones((3, 2)), np.ones((3, 4)), transpose_a=True).shape
        (2, 4)
    """
    xp = array_module(a=a, b=b, out=out)
    check_kernel(kernel, xp)
    left, right = _transposed(a, transpose_a), _transposed(b, transpose_b)
    shape, dtype = _product_shape(left, right), left.dtype
    if right.dtype != dtype:
        dtype = np.result_type(dtype, right.dtype)
    check_shape("matmul", shape, out=out)
    if out is not None and out.dtype != dtype and not np.can_cast(dtype, out.dtype, "same_kind"):
        raise DTypeError(f"matmul: out is {out.dtype}, which cannot hold a product of {left.dtype} and {right.dtype}.")
    if out is None and tape is not None:
        out = tape.empty(shape, dtype, xp)
    if xp is np:
        return np.matmul(left, right, out=out)
    c = xp.empty(shape, dtype) if out is None else out
    plan = plan_for(left, right, c, kernel, xp)
    if plan is None:
        return xp.matmul(left, right, out=out)
    for operands in _by_launch(left, right, c):
        run_plan(plan, *operands, tape=tape, xp=xp)
    return c


def matmul_backward(
    dy: Array,
    a: Array,
    b: Array,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    kernel: str | None = None,
) -> tuple[Array, Array]:
    """Return the gradients (da, db) of y = matmul(a, b), summed over broadcast batch axes.

    Example:
        >>> da, db = gn.ops.matmul_backward(np.ones((2, 4)), np.ones((2, 3)), np.ones((3, 4)))
        >>> da.shape, db.shape
        ((2, 3), (3, 4))
    """
    array_module(dy=dy, a=a, b=b)
    left, right = _transposed(a, transpose_a), _transposed(b, transpose_b)
    check_shape("matmul_backward", _product_shape(left, right), dy=dy)
    # matmul treats a vector as a row on the left and as a column on the right
    upper = dy
    if b.ndim == 1:
        right, upper = right[:, None], upper[..., None]
    if a.ndim == 1:
        left, upper = left[None, :], upper[..., None, :]
    da = matmul(upper, right, transpose_b=True, kernel=kernel)
    db = matmul(left, upper, transpose_a=True, kernel=kernel)
    # drop the axis that was added to a vector
    da = _transposed(da, transpose_a) if a.ndim > 1 else da.reshape(*da.shape[:-2], *a.shape)
    db = _transposed(db, transpose_b) if b.ndim > 1 else db.reshape(*db.shape[:-2], *b.shape)
    return sum_to_shape(da, a.shape), sum_to_shape(db, b.shape)


def _by_launch(left: Array, right: Array, c: Array) -> Iterator[tuple[Array, Array, Array]]:
    """Yield operands and result of each launch: at most `MOST_MATRICES` matrices of a batch."""
    if c.ndim == 2:
        yield left, right, c
        return
    for first in range(0, len(c), MOST_MATRICES):
        part = slice(first, first + MOST_MATRICES)
        a, b = (x if x.ndim == 2 else x[part] for x in (left, right))
        yield a, b, c[part]


def _transposed(a: Array, transpose: bool) -> Array:
    return a.swapaxes(-1, -2) if transpose and a.ndim > 1 else a


def _product_shape(left: Array, right: Array) -> tuple[int, ...]:
    """Return the shape of left·right; raise an error for operands that don't fit."""
    for name, operand in (("a", left), ("b", right)):
        if operand.dtype.kind not in "biufc":
            raise DTypeError(f"matmul: {name} is {operand.dtype}; use a numeric dtype.")
        if operand.ndim == 0:
            raise ShapeError(f"matmul: {name} is a scalar; multiply scalars with *.")
    inner = max(right.ndim - 2, 0)
    if left.shape[-1] != right.shape[inner]:
        raise ShapeError(
            f"matmul: shapes {left.shape} and {right.shape} don't fit: axis {left.ndim - 1} of the first has "
            f"{left.shape[-1]} elements, axis {inner} of the second has {right.shape[inner]}."
        )
    try:
        batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2]) if left.ndim > 2 or right.ndim > 2 else ()
    except ValueError:
        raise ShapeError(f"matmul: the leading axes of shapes {left.shape} and {right.shape} don't fit.") from None
    return (*batch, *left.shape[-2:-1], *right.shape[inner + 1 :])


def sum_to_shape(gradient: Array, shape: tuple[int, ...]) -> Array:
    """Return a gradient summed over the axes along which an array of `shape` was broadcast."""
    extra = gradient.ndim - len(shape)
    broadcast = [axis + extra for axis, size in enumerate(shape) if size == 1 and gradient.shape[axis + extra] != 1]
    axes = (*range(extra), *broadcast)
    return gradient.sum(axis=axes).reshape(shape) if axes else gradient

"""Bias and activation in one pass, after a matrix product.

    y = f(z + bias),    dz = dy · f'(z + bias),    dbias = Σ_rows dz

z is (rows, n), bias (n,). Every array is read or written once: 8 bytes per element forward in float32, 12 backward.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from gpunet import native
from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.ops._matmul_plan import check_kernel
from gpunet.ops.activations import ActivationFunction, Identity, activation_function
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.launch import THREADS, block_count, column_grid, column_sums
from gpunet.recording import records_native
from gpunet.tape import Tape, empty, empty_like

FORWARD = Kernel("bias_activation.cu", "bias_activation_forward")
BACKWARD = Kernel("bias_activation.cu", "bias_activation_backward")
SUM_COLUMNS = Kernel("reduce.cu", "sum_columns")

CPU_FORWARD = native.Kernel("bias_activation.cpp", "bias_activation_forward")
CPU_BACKWARD = native.Kernel("bias_activation.cpp", "activation_backward")
CPU_SUM_COLUMNS = native.Kernel("reduce.cpp", "sum_columns")

SLICE_COLUMNS = 1024
"""Columns that one thread sums on the CPU."""


def bias_activation(
    z: Array,
    bias: Array | None,
    activation: str | ActivationFunction | None,
    *,
    out: Array | None = None,
    preactivation: Array | None = None,
    kernel: str | None = None,
    tape: Tape | None = None,
) -> Array:
    """Return f(z + bias), for z (..., n) and bias (n,) or None.

    Args:
        out: may be `z` itself.
        preactivation: where to write z + bias; may be `z`, but not `out`.
        kernel: "blas" runs array code; None, on a GPU, the hand-written kernel.

    Example:
        >>> z, bias = np.array([[1.0, -3.0]]), np.array([1.0, 1.0])
        >>> gn.ops.bias_activation(z, bias, "relu")
        array([[2., 0.]])
    """
    xp = float_module("bias_activation", z=z, bias=bias, out=out, preactivation=preactivation)
    check_kernel(kernel, xp)
    if bias is not None and (bias.ndim != 1 or z.ndim == 0 or bias.shape[0] != z.shape[-1]):
        raise ShapeError(f"bias_activation: bias of shape {bias.shape} does not fit the last axis of z, {z.shape}.")
    check_shape("bias_activation", z.shape, out=out, preactivation=preactivation)
    if out is None:
        out = empty_like(tape, z, xp)
    function = activation_function(activation)
    options = None if xp is np or kernel == "blas" else function.cuda_options()
    if options is not None and all(a is None or a.flags.c_contiguous for a in (z, bias, out, preactivation)):
        rows, n = math.prod(z.shape[:-1]), z.shape[-1]
        vectors = math.ceil(z.nbytes / 16)
        blocks = max(block_count(vectors, THREADS), math.ceil(vectors / (4 * THREADS)))  # four vectors per thread
        FORWARD((blocks,), (THREADS,), z, bias, preactivation, out, rows, n, function.parameter, options=options)
        return out
    inner = out if preactivation is None else preactivation
    if bias is None and inner is z and isinstance(function, Identity) and out is inner:
        return out
    if records_native(z, bias, out, preactivation) and (options := function.cpu_options()) is not None:
        rows, n = math.prod(z.shape[:-1]), z.shape[-1]
        CPU_FORWARD(z, bias, preactivation, out, rows, n, function.parameter, count=rows, options=options)
        return out
    if bias is not None:
        xp.add(z, bias, out=inner)
    elif inner is not z:
        xp.copyto(inner, z)
    function.forward(inner, out, xp, tape)
    return out


def bias_activation_backward(
    dy: Array,
    saved: Array | None,
    activation: str | ActivationFunction | None,
    *,
    dbias: Array | None = None,
    kernel: str | None = None,
    tape: Tape | None = None,
) -> tuple[Array, Array]:
    """Return (dz, dbias), the gradients of y = bias_activation(z, bias, activation).

    Args:
        saved: y or the preactivation z + bias; may be None for the identity.
        dbias: (n,); it is summed over all rows in a fixed order.

    Example:
        >>> y = np.array([[0.0, 2.0], [1.0, 3.0]])
        >>> gn.ops.bias_activation_backward(np.ones((2, 2)), y, "relu")
        (array([[0., 1.],
               [1., 1.]]), array([1., 2.]))
    """
    xp = float_module("bias_activation_backward", dy=dy, saved=saved, dbias=dbias)
    check_kernel(kernel, xp)
    check_shape("bias_activation_backward", dy.shape[-1:], dbias=dbias)
    function = activation_function(activation)
    options = None if xp is np or kernel == "blas" else function.cuda_options()
    if options is None or not all(a is None or a.flags.c_contiguous for a in (dy, saved, dbias)):
        dz = activation_backward(dy, saved, function, tape=tape)
        if xp is np:
            return dz, sum_columns(dz.reshape(math.prod(dz.shape[:-1]), dz.shape[-1]), dbias, tape, xp)
        return dz, dz.sum(axis=tuple(range(dz.ndim - 1)), out=dbias)  # "blas" launches none of gpunet's kernels
    _check_saved(function, dy, saved)
    dz = empty_like(tape, dy, xp)
    kept = dy if saved is None else saved  # the identity reads neither
    dbias = _column_sums(
        dy,
        dbias,
        tape,
        xp,
        lambda grid, *sums_and_sizes: BACKWARD(
            grid, (32, 8), dy, kept, dz, *sums_and_sizes, function.parameter, options=options
        ),
    )
    return dz, dbias


def sum_columns(a: Array, out: Array | None, tape: Tape | None, xp: ModuleType) -> Array:
    """Return the column sums of `a` (rows, n), added in a fixed order, in `out` (n,) or a fresh array."""
    contiguous = out is None or out.flags.c_contiguous
    if records_native(a, out) and out is not None:
        CPU_SUM_COLUMNS(a, out, *a.shape, count=a.shape[1], grain=SLICE_COLUMNS)
        return out
    if xp is np and a.size and contiguous:  # BLAS is faster than sum(axis=0)
        return np.dot(ones(len(a), a.dtype), a, out=out)
    if xp is np or not a.flags.c_contiguous or not contiguous:
        return a.sum(axis=0, out=out)
    return _column_sums(a, out, tape, xp, lambda grid, *sums_and_sizes: SUM_COLUMNS(grid, (32, 8), a, *sums_and_sizes))


@functools.lru_cache(maxsize=8)
def ones(n: int, dtype: np.dtype[Any]) -> np.ndarray:
    """Return (n,) ones, to sum rows or columns with BLAS."""
    return np.ones(n, dtype)


def _column_sums(a: Array, out: Array | None, tape: Tape | None, xp: ModuleType, launch: Callable[..., None]) -> Array:
    """Return the column sums that `launch` computes of a matrix like `a`, by chunks of rows (`columns.cuh`)."""
    rows, n = math.prod(a.shape[:-1]), a.shape[-1]
    if out is None:
        out = empty(None, (n,), a.dtype, xp)
    grid = column_grid(a, rows, n)
    launch(grid, *column_sums(grid, 1, n, a.dtype, tape, xp), out, rows, n, math.ceil(rows / grid[1]))
    return out


def activation_backward(
    dy: Array, saved: Array | None, activation: str | ActivationFunction | None, *, tape: Tape | None = None
) -> Array:
    """Return dz = dy · f'(z). Arguments as for `bias_activation_backward`.

    Example:
        >>> y = np.array([0.0, 2.0])
        >>> gn.ops.activation_backward(np.array([5.0, 5.0]), y, "relu")
        array([0., 5.])
    """
    function = activation_function(activation)
    xp = float_module(function.name, dy=dy, saved=saved)
    _check_saved(function, dy, saved)
    dz = empty_like(tape, dy, xp)
    if records_native(dy, saved) and (options := function.cpu_options()) is not None:
        rows, n = math.prod(dy.shape[:-1]), dy.shape[-1]
        CPU_BACKWARD(dy, saved, dz, rows, n, function.parameter, count=rows, options=options)
    else:
        function.backward(dy, dy if saved is None else saved, dz, xp, tape)  # the identity reads neither
    return dz


def _check_saved(function: ActivationFunction, dy: Array, saved: Array | None) -> None:
    if function.name != "identity" and (saved is None or saved.shape != dy.shape):
        found = getattr(saved, "shape", None)
        raise ShapeError(f"{function.name} backward: dy has shape {dy.shape}, saved {found}; they must be equal.")

"""Gated linear units: one half of an axis times a function of the other half.

    y = a · f(b),    da = dy · f(b),    db = dy · a · f'(b)

a and b are the first and the second half of x along an axis. f is the sigmoid in the original (Dauphin et al. 2017);
SiLU makes it SwiGLU, GELU makes it GEGLU (Shazeer 2020).
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any

import numpy as np

from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.ops.activations import ActivationFunction, activation_function
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.tape import Tape, empty, empty_like

FORWARD = Kernel("glu.cu", "glu_forward")
BACKWARD = Kernel("glu.cu", "glu_backward")


def glu(
    x: Array, axis: int = -1, activation: str | ActivationFunction = "sigmoid", *, tape: Tape | None = None
) -> Array:
    """Return a · f(b) for the halves a and b of `x` along `axis`.

    Example:
        >>> gn.ops.glu(np.array([[3.0, 0.0]]))  # 3 · sigmoid(0)
        array([[1.5]])
    """
    xp = float_module("glu", x=x)
    function = activation_function(activation)
    rows, n, shape = _halves(x, axis)
    y = empty(tape, shape, x.dtype, xp)
    options = _options(function, xp)
    if options is not None:
        x = operand(x, tape, xp)
        blocks = block_count(y.nbytes, 16 * THREADS)
        FORWARD((blocks,), (THREADS,), x, y, rows, n, function.parameter, options=options)
        return y
    parts = x.reshape(rows, 2 * n)
    out = y.reshape(rows, n)
    function.forward(parts[:, n:], out, xp, tape)
    xp.multiply(out, parts[:, :n], out=out)
    return y


def glu_backward(
    dy: Array,
    x: Array,
    axis: int = -1,
    activation: str | ActivationFunction = "sigmoid",
    *,
    tape: Tape | None = None,
) -> Array:
    """Return dx in the shape of `x`, the gradient of y = glu(x, axis, activation).

    Example:
        >>> gn.ops.glu_backward(np.array([[1.0]]), np.array([[3.0, 0.0]]))
        array([[0.5 , 0.75]])
    """
    xp = float_module("glu_backward", dy=dy, x=x)
    function = activation_function(activation)
    rows, n, shape = _halves(x, axis)
    check_shape("glu_backward", shape, dy=dy)
    dx = empty_like(tape, x, xp)
    options = _options(function, xp)
    if options is not None:
        dy, x = operand(dy, tape, xp), operand(x, tape, xp)
        blocks = block_count(dy.nbytes, 16 * THREADS)
        BACKWARD((blocks,), (THREADS,), dy, x, dx, rows, n, function.parameter, options=options)
        return dx
    parts, halves, gradient = x.reshape(rows, 2 * n), dx.reshape(rows, 2 * n), dy.reshape(rows, n)
    a, b = parts[:, :n], parts[:, n:]
    gate, slope = empty_like(tape, gradient, xp), empty_like(tape, gradient, xp)
    function.forward(b, gate, xp, tape)
    function.backward(gradient, gate if function.saves == "output" else b, slope, xp, tape)
    xp.multiply(gradient, gate, out=halves[:, :n])
    xp.multiply(slope, a, out=halves[:, n:])
    return dx


def _options(function: ActivationFunction, xp: ModuleType) -> dict[str, Any] | None:
    """Return the options of the kernels, or None for array code."""
    options = None if xp is np else function.cuda_options()
    return None if options is None else {**options, "SAVES_OUTPUT": int(function.saves == "output")}


def _halves(x: Array, axis: int) -> tuple[int, int, tuple[int, ...]]:
    """Return rows and n such that `x` is (rows, 2 · n), each row a then b, and the shape of a half."""
    if not -x.ndim <= axis < x.ndim or x.shape[axis] % 2:
        raise ShapeError(f"glu: axis {axis} of x must have an even number of elements, got shape {x.shape}.")
    axis %= x.ndim
    before, inside, after = x.shape[:axis], x.shape[axis] // 2, x.shape[axis + 1 :]
    return math.prod(before), inside * math.prod(after), (*before, inside, *after)

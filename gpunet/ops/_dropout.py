"""Dropout: zero each element with probability p and scale the others by 1/(1 - p), which keeps the mean.

    y = x · keep / (1 - p),    dx = dy · keep / (1 - p),    keep = (u >= p), u uniform in [0, 1)

The mask depends only on the seed, the step, the layer and the global row, so it is the same on every device. Srivastava
et al. 2014, in the "inverted" form, which leaves inference unchanged.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from gpunet import native
from gpunet.arguments import real
from gpunet.cuda import Kernel
from gpunet.device import Array, array_module
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.recording import records_native
from gpunet.tape import Tape, empty_like

FORWARD = Kernel("dropout.cu", "dropout_forward")
BACKWARD = Kernel("dropout.cu", "dropout_backward")

CPU_FORWARD = native.Kernel("dropout.cpp", "dropout_forward")
CPU_BACKWARD = native.Kernel("dropout.cpp", "dropout_backward")

DRAWS = 8
"""Random numbers that a thread draws at a time."""


def dropout(x: Array, p: float, tape: Tape) -> tuple[Array, Array]:
    """Return (y, keep): the result, and the boolean mask that `dropout_backward` needs.

    Args:
        p: the probability of a zero, 0 <= p <= 1.
        tape: provides the random numbers and the memory.

    Example:
        >>> y, keep = gn.ops.dropout(np.ones((4, 8)), 0.5, gn.Tape(seed=0))
        >>> np.unique(y), keep.shape
        (array([0., 2.]), (4, 8))
    """
    p = real("dropout: p", p, 0, 1, closed="both")
    xp = float_module("dropout", x=x)
    keep = tape.empty(x.shape, np.dtype(bool), xp)
    if records_native(x):
        y, rows, n = empty_like(tape, x, np), len(x), math.prod(x.shape[1:])
        numbers = _signed(tape.seed), tape.next_draw(), tape.first_row, rows, n
        CPU_FORWARD(x, y, keep, tape.device_step(np), *numbers, p, _scale(p), count=rows)
        return y, keep
    if xp is np:
        np.greater_equal(tape.uniform(x.shape), np.float32(p), out=keep)
        return dropout_backward(x, keep, p, tape), keep
    return _forward_cuda(x, keep, p, tape, xp), keep


def _forward_cuda(x: Array, keep: Array, p: float, tape: Tape, xp: ModuleType) -> Array:
    """Fill `keep` and return y; the kernel draws the numbers of `tape.uniform` itself."""
    x, y = operand(x, tape, xp), empty_like(tape, x, xp)
    first = tape.first_row * math.prod(x.shape[1:])  # index of x's first element in the global batch
    grid = (block_count(first % DRAWS + x.size if x.size else 0, DRAWS * THREADS),)
    numbers = tape.device_step(xp), tape.seed, tape.next_draw(), first
    FORWARD(grid, (THREADS,), x, y, keep, *numbers, x.size, p, _scale(p))
    return y


def dropout_backward(dy: Array, keep: Array, p: float, tape: Tape | None = None) -> Array:
    """Return dx = dy · keep / (1 - p).

    Example:
        >>> gn.ops.dropout_backward(np.ones(3), np.array([True, False, True]), 0.5)
        array([2., 0., 2.])
    """
    array_module(dy=dy, keep=keep)
    xp = float_module("dropout_backward", dy=dy)
    check_shape("dropout_backward", keep.shape, dy=dy)
    dx = empty_like(tape, dy, xp)
    if records_native(dy, keep):
        rows = len(dy)
        CPU_BACKWARD(dy, keep, dx, rows, math.prod(dy.shape[1:]), _scale(p), count=rows)
        return dx
    if xp is np:
        np.multiply(dy, _scale(p), out=dx)
        return np.multiply(dx, keep, out=dx)
    dy, keep = operand(dy, tape, xp), operand(keep, tape, xp)
    BACKWARD((block_count(dy.size, THREADS),), (THREADS,), dy, keep, dx, dy.size, _scale(p))
    return dx


def _signed(seed: int) -> int:
    """Return the int64 with the bits of a seed from 0 to 2**64 - 1, as C++ kernels take it."""
    return seed - 2**64 if seed >= 2**63 else seed


def _scale(p: float) -> float:
    """Return 1 / (1 - p), or 0 for p = 1, which keeps nothing."""
    return 1 / (1 - p) if p < 1 else 0.0

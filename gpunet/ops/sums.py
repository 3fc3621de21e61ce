"""The sums of a loss: of its rows' losses, and of the row weights. Every order of summation is fixed."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from gpunet import native
from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.ops.launch import THREADS
from gpunet.tape import Tape, empty

SUM = Kernel("reduce.cu", "sum")
CPU_SUM = native.Kernel("reduce.cpp", "sum")


def weighted_mean(loss: Array, slope: Array, weight: Array | None, tape: Tape | None) -> tuple[Array, Array]:
    """Return the weighted mean of `loss` (rows, ...), and `slope` scaled to its gradient; overwrites both."""
    value = empty(tape, (), loss.dtype, np)
    share: Array | float
    if weight is None:
        share = 1 / max(loss.size, 1)
        loss.sum(out=value)
        np.multiply(value, share, out=value)
    else:
        norm = weight.sum() * (loss.size // max(len(loss), 1))
        share = empty(tape, (len(loss), *[1] * (loss.ndim - 1)), loss.dtype, np)
        np.divide(weight, np.maximum(norm, np.finfo(loss.dtype).tiny), out=share.reshape(weight.shape))
        np.multiply(loss, share, out=loss)
        loss.sum(out=value)
    np.multiply(slope, share, out=slope)
    return value, slope


def native_sum(a: Array, tape: Tape | None) -> Array:
    """Record the sum of `a` (rows,) as a native node; return the array () that will hold it."""
    total = empty(tape, (), a.dtype, np)
    CPU_SUM(a, total, len(a))
    return total


def weight_sum(weight: Array | None, tape: Tape | None, xp: ModuleType) -> Array | None:
    """Return the sum of C-contiguous row weights on a GPU, (1,); None without weights."""
    if weight is None:
        return None
    total = empty(tape, (1,), weight.dtype, xp)
    SUM((1,), (THREADS,), weight, None, None, total, len(weight))
    return total

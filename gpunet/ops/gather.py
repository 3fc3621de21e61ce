"""Gather the rows of a batch: out[i] = a[rows[i]]."""

from __future__ import annotations

import math

import numpy as np

from gpunet.cuda import CTYPES, MAX_ELEMENTS, Kernel
from gpunet.device import Array, array_module
from gpunet.errors import ShapeError
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.tape import Tape, empty

GATHER = Kernel("gather.cu", "gather")


def gather(a: Array, rows: Array, *, tape: Tape | None = None) -> Array:
    """Return the rows of `a` at the given positions.

    Args:
        a: (n, ...).
        rows: (k,) integers in [0, n), on the same device; they are not checked.
        tape: where memory comes from; None makes a fresh array.

    Returns:
        (k, ...), in the dtype of `a`.

    Raises:
        ShapeError: `a` has no rows, and `rows` asks for some.
    """
    xp = array_module(a=a, rows=rows)
    if len(rows) and not len(a):
        raise ShapeError(f"gather: a has no rows (shape {a.shape}), and {len(rows)} are asked for.")
    out = empty(tape, (len(rows), *a.shape[1:]), a.dtype, xp)
    if xp is np:
        return a.take(rows, axis=0, out=out, mode="clip")  # the mode "raise" would gather into a copy first
    if a.dtype not in CTYPES or a.size > MAX_ELEMENTS or not a.flags.c_contiguous:
        return a.take(rows, axis=0, out=out)  # kernels know no such dtype, count in int32, and a copy of a set is dear
    rows = operand(rows, tape, xp, np.dtype(np.int64))
    n, width = len(a), math.prod(a.shape[1:])
    grid = (block_count(out.nbytes, 16 * THREADS),)  # 16 bytes a thread
    GATHER(grid, (THREADS,), a, rows, None, out, n, width, len(rows), len(rows))
    return out

"""Gather the rows of a batch: out[i] = a[rows[i]]."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.cuda import MAX_ELEMENTS, Kernel
from gpunet.device import Array, array_module
from gpunet.errors import ShapeError
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.tape import Tape, empty, zeros

GATHER = Kernel("gather.cu", "gather")
MOST_ARRAYS = 3


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
    if a.size > MAX_ELEMENTS or not a.flags.c_contiguous:
        return a.take(rows, axis=0, out=out)  # kernels count in int32, and copying a data set is expensive
    _launch([a], [out], operand(rows, tape, xp, np.dtype(np.int64)), None, None)
    return out


def gather_batch(arrays: Sequence[Array], order: Array, first: Array, count: int, *, tape: Tape) -> list[Array]:
    """Return the next batch of each of some arrays on a GPU, in one launch, and move `first` on.

    Args:
        arrays: up to three arrays (n, ...), C-contiguous.
        order: (n,) int64, the order of the epoch.
        first: (1,) int64, the place in it of the batch's first row; it is moved on by `count`.
        count: rows of the batch.
        tape: where memory comes from.

    Returns:
        The rows order[first : first + count] of each array.
    """
    xp = array_module(*arrays, order=order, first=first)
    outs = [tape.empty((count, *a.shape[1:]), a.dtype, xp) for a in arrays]
    _launch(arrays, outs, order, first, zeros(tape, (1,), np.dtype(np.uint32), xp))
    return outs


def _launch(
    arrays: Sequence[Array], outs: Sequence[Array], order: Array, first: Array | None, arrivals: Array | None
) -> None:
    row_bytes = [math.prod(a.shape[1:]) * a.itemsize for a in arrays]
    word: np.dtype[Any] = np.dtype(np.uint32 if all(n % 4 == 0 for n in row_bytes) else np.uint8)
    missing = [None] * (MOST_ARRAYS - len(arrays))
    widths = [n // word.itemsize for n in row_bytes] + [0] * len(missing)
    sources, targets = ([*(_words(a, word) for a in given), *missing] for given in (arrays, outs))
    n, count = len(arrays[0]), len(outs[0])
    blocks = max(1, block_count(sum(row_bytes) * count, 16 * THREADS))  # 16 bytes a thread
    GATHER((blocks,), (THREADS,), *sources, order, first, arrivals, *targets, n, *widths, len(order), count)


def _words(a: Array, word: np.dtype[Any]) -> Array:
    """View an array as words, one after the other."""
    return a.reshape(-1).view(word)

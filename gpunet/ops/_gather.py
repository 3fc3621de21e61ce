"""Gather rows, out[i] = a[rows[i]]; or gather a batch and convert its features in one launch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.cuda import CTYPES, MAX_ELEMENTS, Kernel
from gpunet.device import Array, array_module
from gpunet.errors import ShapeError
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.tape import Tape, empty, zeros

GATHER = Kernel("gather.cu", "gather")
GATHER_BATCH = Kernel("gather.cu", "gather_batch")


def gather(a: Array, rows: Array, *, tape: Tape | None = None) -> Array:
    """Return the rows of `a` at the given positions, (k, ...).

    Args:
        a: (n, ...), any dtype.
        rows: (k,) integers in [0, n), not checked.

    Example:
        >>> gn.ops.gather(np.array([10, 20, 30]), np.array([2, 0]))
        array([30, 10])
    """
    xp = array_module(a=a, rows=rows)
    if len(rows) and not len(a):
        raise ShapeError(f"gather: a has no rows (shape {a.shape}), but {len(rows)} are requested.")
    out = empty(tape, (len(rows), *a.shape[1:]), a.dtype, xp)
    if xp is np:
        return a.take(rows, axis=0, out=out, mode="clip")  # mode "raise" would gather into a temporary copy
    if a.size > MAX_ELEMENTS or not a.flags.c_contiguous:
        return a.take(rows, axis=0, out=out)  # kernels index with int32, and copying a data set is expensive
    width = math.prod(a.shape[1:])
    word: np.dtype[Any] = np.dtype(np.uint32 if width * a.itemsize % 4 == 0 else np.uint8)
    width = width * a.itemsize // word.itemsize
    words, order = a.reshape(-1).view(word), operand(rows, tape, xp, np.dtype(np.int64))
    GATHER((_blocks(out),), (THREADS,), words, order, out.reshape(-1).view(word), len(a), width, len(rows))
    return out


def gather_batch(
    arrays: Sequence[Array],
    scaling: Sequence[Array | None],
    order: Array,
    first: Array,
    count: int,
    dtype: np.dtype[Any],
    *,
    tape: Tape,
) -> list[Array]:
    """Gather the next batch on a GPU, convert its features and advance `first`, in one launch.

    Args:
        arrays: features (n, ...), and one or two more arrays (n, ...) with elements of 4 or 8 bytes; all C-contiguous.
        scaling: float64 means and factors in the shape of a row x, which becomes (x - mean) * factor, computed in
            float64 and rounded once; or two `None`s.
        order: (n,) int64, the row order of the epoch.
        first: (1,) int64, the position of the batch in `order`; it is advanced by `count`.
        count: rows of the batch.
    """
    features, *others = arrays
    xp = array_module(*arrays, order=order, first=first)
    out = tape.empty((count, *features.shape[1:]), dtype, xp)
    outs = [tape.empty((count, *a.shape[1:]), a.dtype, xp) for a in others]
    width, *widths = (math.prod(a.shape[1:]) for a in arrays)
    widths = [n * a.itemsize // 4 for n, a in zip(widths, others, strict=True)]
    words, of_batch = ([*map(_words, given), None][:2] for given in (others, outs))
    GATHER_BATCH(
        (_blocks(out, *outs),),
        (THREADS,),
        *(features, *scaling, *words, order, first, zeros(tape, (1,), np.dtype(np.uint32), xp), out, *of_batch),
        *(len(features), width, *[*widths, 0][:2], len(order), count),
        options={"SOURCE": CTYPES[features.dtype]},
    )
    return [out, *outs]


def _blocks(*outs: Array) -> int:
    return max(1, block_count(sum(out.nbytes for out in outs), 16 * THREADS))  # 16 bytes per thread


def _words(a: Array) -> Array:
    return a.reshape(-1).view(np.uint32)

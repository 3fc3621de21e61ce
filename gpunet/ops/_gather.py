"""Gather rows: out[i] = a[rows[i]]; those of a batch, whose features are converted on their way."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from gpunet.cuda import CTYPES, MAX_ELEMENTS, Kernel
from gpunet.device import Array, array_module
from gpunet.errors import ShapeError
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.tape import Tape, empty, zeros

GATHER = Kernel("gather.cu", "gather")
GATHER_BATCH = Kernel("gather.cu", "gather_batch")


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
    width = math.prod(a.shape[1:])
    word: np.dtype[Any] = np.dtype(np.uint32 if width * a.itemsize % 4 == 0 else np.uint8)
    width = width * a.itemsize // word.itemsize
    words, order = a.reshape(-1).view(word), operand(rows, tape, xp, np.dtype(np.int64))
    GATHER((_blocks(out),), (THREADS,), words, order, out.reshape(-1).view(word), len(a), width, len(rows))
    return out


class Resident(NamedTuple):
    """The data of an epoch on a GPU, as a kernel reads it that gathers rows by itself.

    What the layers take of a feature x is T(x) or, with a mean and a factor, T((double(x) - mean) * factor), where T is
    the model's dtype: each is rounded once, to nearest.

    Attributes:
        features: (n, ...), C-contiguous, in the dtype of the data.
        mean: (...) float64 of the shape of a row, or None.
        factor: likewise, with `mean`.
        targets: (n, ...), in a dtype of 4 or 8 bytes.
        weights: (n,) of the rows, in the model's dtype, or None.
        order: (n,) int64, that of the epoch.
        place: (1,) int64, where in the order the next batch begins.
    """

    features: Array
    mean: Array | None
    factor: Array | None
    targets: Array
    weights: Array | None
    order: Array
    place: Array


def gather_batch(data: Resident, count: int, dtype: np.dtype[Any], *, tape: Tape) -> list[Array]:
    """Return the next batch on a GPU, in one launch, and move `data.place` on by its rows.

    Args:
        data: the data.
        count: rows of the batch.
        dtype: of the features as the layers take them.
        tape: where memory comes from.

    Returns:
        Features, targets and, if there are any, row weights.
    """
    xp = array_module(features=data.features, order=data.order)
    given = [a for a in (data.targets, data.weights) if a is not None]
    features = tape.empty((count, *data.features.shape[1:]), dtype, xp)
    outs = [tape.empty((count, *a.shape[1:]), a.dtype, xp) for a in given]
    widths = [math.prod(a.shape[1:]) * a.itemsize // 4 for a in given]
    words, of_batch = ([*map(_words, arrays), None][:2] for arrays in (given, outs))
    GATHER_BATCH(
        (_blocks(features, *outs),),
        (THREADS,),
        *(data.features, data.mean, data.factor, *words, data.order, data.place),
        *(zeros(tape, (1,), np.dtype(np.uint32), xp), features, *of_batch),
        *(len(data.features), math.prod(data.features.shape[1:]), *[*widths, 0][:2], len(data.order), count),
        options={"SOURCE": CTYPES[data.features.dtype]},
    )
    return [features, *outs]


def _blocks(*outs: Array) -> int:
    return max(1, block_count(sum(out.nbytes for out in outs), 16 * THREADS))  # 16 bytes a thread


def _words(a: Array) -> Array:
    return a.reshape(-1).view(np.uint32)

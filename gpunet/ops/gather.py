"""Gather the rows of a batch: out[i] = a[rows[i]]."""

from __future__ import annotations

import numpy as np

from gpunet.device import Array, array_module
from gpunet.tape import Tape, empty


def gather(a: Array, rows: Array, *, tape: Tape | None = None) -> Array:
    """Return the rows of `a` at the given positions.

    Args:
        a: (n, ...).
        rows: (k,) integers in [0, n), on the same device; they are not checked.
        tape: where memory comes from; None makes a fresh array.

    Returns:
        (k, ...), in the dtype of `a`.
    """
    xp = array_module(a=a, rows=rows)
    out = empty(tape, (len(rows), *a.shape[1:]), a.dtype, xp)
    if xp is np:
        return a.take(rows, axis=0, out=out, mode="clip")  # the mode "raise" would gather into a copy first
    return a.take(rows, axis=0, out=out)

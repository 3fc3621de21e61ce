"""Softmax cross-entropy of plain labels in NumPy: the common case of `softmax_cross_entropy`.

The labels' distributions are not written out, because each of their rows has a single 1.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunet.device import Array
from gpunet.ops._bias_activation import ones
from gpunet.tape import Tape, empty, empty_like


def label_cross_entropy(logits: Array, labels: Array, shares: Array | None, tape: Tape | None) -> tuple[Array, Array]:
    """Return (loss, dlogits); `shares` (rows, 1) are the weights of the rows in the mean, None if equal."""
    rows, classes = logits.shape
    starts, equal_shares = _constants(rows, classes, logits.dtype)
    shares = equal_shares if shares is None else shares
    if labels.dtype != np.int64:
        labels = labels.astype(np.int64)
    place = empty(tape, (rows,), np.dtype(np.int64), np)  # position of each row's label in the flat array
    np.add(starts, labels, out=place)
    total, ratio, at_label = empty(tape, (3, rows, 1), logits.dtype, np)
    dlogits, loss = empty_like(tape, logits, np), empty(tape, (), logits.dtype, np)
    flat, picked, share = dlogits.reshape(-1), at_label.reshape(-1), shares.reshape(-1)
    logits.max(axis=1, out=total, keepdims=True)
    np.subtract(logits, total, out=dlogits)
    flat.take(place, 0, picked, "clip")  # mode "raise" would take into a temporary copy
    np.exp(dlogits, out=dlogits)
    np.dot(dlogits, ones(classes, logits.dtype)[:, None], out=total)
    np.divide(shares, total, out=ratio)
    np.multiply(dlogits, ratio, out=dlogits)
    np.log(total, out=total)
    np.subtract(total, at_label, out=total)
    np.dot(total.reshape(-1), share, out=loss)
    flat.take(place, 0, picked, "clip")
    np.subtract(picked, share, out=picked)
    flat.put(place, picked, "clip")
    return loss, dlogits


@functools.lru_cache(maxsize=16)
def _constants(rows: int, classes: int, dtype: np.dtype[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Return where each row begins in the flat array, and the share of each row in the mean."""
    return np.arange(0, rows * classes, classes), np.full((rows, 1), 1 / max(rows, 1), dtype)

"""Check class labels and indices: integers from 0 to a count."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.data.checks import check_one_dimension, first_element, real_array
from gpunet.errors import DataError, DTypeError, ShapeError

INT64, UINT64 = np.dtype(np.int64), np.dtype(np.uint64)


def check_labels(y: Any, n_classes: int, name: str = "y", positions: tuple[int, ...] = ()) -> np.ndarray:
    """Return class labels, integers from 0 to `n_classes - 1`, as int64; raise by the package's conventions.

    Args:
        positions: the shape of one sample's labels; by default a sample has one label. The result is (n, *positions).

    Example:
        >>> gn.data.check_labels([0, 2, 1], n_classes=3)
        array([0, 2, 1])
    """
    array = real_array(y, name)
    if array.dtype.kind == "f":
        raise DTypeError(
            f"{name} holds floats ({array.dtype}); class labels are integers from 0 to {n_classes - 1}. Use "
            f"{name}.astype(int) for class labels, or a regression loss for continuous targets."
        )
    if not positions:
        check_one_dimension(array, name)
    elif array.shape[1:] != positions:
        expected = f"(samples, {', '.join(map(str, positions))}), one label for each position"
        raise ShapeError(f"{name} has shape {array.shape}; expected {expected}.")
    if not array.size:
        raise DataError(f"{name} is empty; at least one label is needed.")
    return _within(array, n_classes, name, f"{n_classes} classes have labels 0 to {n_classes - 1}.")


def check_indices(X: Any, n: int, name: str = "X") -> np.ndarray:
    """Return indices (rows, ...), integers from 0 to `n - 1`, as int64; raise by the package's conventions."""
    array = real_array(X, name)
    if array.dtype.kind == "f":
        raise DTypeError(
            f"{name} holds floats ({array.dtype}); the model takes indices, integers from 0 to {n - 1}. Use "
            f"{name}.astype(int) if they are whole numbers."
        )
    if array.ndim == 0:
        raise ShapeError(f"{name} is a single number; pass an array with one row for each sample.")
    if not array.size:
        raise DataError(f"{name} is empty, its shape is {array.shape}; at least one index is needed.")
    return _within(array, n, name, f"indices must be from 0 to {n - 1}.")


def _within(array: np.ndarray, n: int, name: str, rule: str) -> np.ndarray:
    """Return integers as int64; raise `DataError` with the rule if one is outside 0 .. n - 1."""
    outside = (array < 0) | (array >= n)
    if outside.any():
        value, place = first_element(array, outside)
        raise DataError(f"{name} is {value} at {place}; {rule}")
    return np.require(array, np.int64, ["C", "A"])


def check_range(indices: np.ndarray, n: int, name: str) -> None:
    """Raise `DataError` unless host indices are integers from 0 to `n - 1`; fast enough for every step."""
    if indices.dtype.kind not in "iu":
        raise DataError(f"{name} must be integers, got {indices.dtype}.")
    if not indices.size or (indices.dtype == INT64 and np.maximum.reduce(indices.view(UINT64), axis=None) < n):
        return  # as uint64, a negative index is larger than any n
    if not 0 <= indices.min() <= indices.max() < n:
        raise DataError(f"{name} must lie in 0 .. {n - 1}, got {indices.min()} .. {indices.max()}.")

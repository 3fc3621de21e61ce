"""Check data part by part: arrays in memory are one part; a memory-mapped file has blocks, an iterable has batches."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunet.arguments import shown
from gpunet.data import check_lengths
from gpunet.data.checks import check_row_weights, host_array, target_array
from gpunet.data.iterables import is_iterable, numbered
from gpunet.data.mapped import MappedRows, is_mapped
from gpunet.errors import ArgumentError, ShapeError, located
from gpunet.losses import Loss
from gpunet.models import Model
from gpunet.training.examples import check_examples, row_weights


class Part(NamedTuple):
    """Rows of checked data.

    Attributes:
        x: features, as returned by `Model.check`.
        target: targets for the loss; `y` and `weight` are raw.
    """

    x: np.ndarray
    target: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None


def checked_parts(
    model: Model, loss: Loss, X: Any, y: Any, weight: Any, *, classes: tuple[str, ...] | None
) -> Iterator[Part]:
    """Check data like `check_examples`, and yield it part by part.

    Args:
        X: data in memory, memory-mapped data, or an iterable of batches (X, y) or (X, y, weight).
        y: the targets; None if X is an iterable.
    """
    for where, parts in _parts(X, y, weight):
        raw_x, raw_y, raw_weight = (*parts, None)[:3]
        with located(where):
            x, target = check_examples(model, loss, raw_x, raw_y, classes)
            if raw_weight is not None:
                loss.require_weight()
                raw_weight = check_row_weights(raw_weight, len(x), "weight" if y is None else "sample_weight")
        yield Part(x, target, target_array(raw_y), raw_weight)


def _parts(X: Any, y: Any, weight: Any) -> Iterator[tuple[str, Sequence[Any]]]:
    """Yield the raw parts of the data, each with a prefix for error messages."""
    if y is None:
        for number, parts in numbered(X):
            yield f"batch {number}: ", parts
    elif is_mapped(X, y):
        first = 0
        weights = [] if weight is None else [check_row_weights(weight, len(X), "sample_weight")]
        for block in MappedRows([*mapped_arrays(X, y), *weights]):
            yield f"in the block from row {first}: " if first else "", block
            first += len(block[0])
    else:
        yield "", (X, y, weight)


def mapped_arrays(X: Any, y: Any) -> list[np.ndarray]:
    """Return X and y as arrays, without loading memory-mapped ones."""
    arrays = [X if is_mapped(X) else host_array(X, "X"), y if is_mapped(y) else target_array(y)]
    for a, name in zip(arrays, ("X", "y"), strict=True):
        if not a.ndim:
            raise ShapeError(f"{name} is a single number; give an array with one row per sample.")
    check_lengths(X=arrays[0], y=arrays[1])
    return arrays


def check_validation(
    model: Model, loss: Loss, validation: Any, classes: tuple[str, ...] | None
) -> tuple[Any, Any, Any]:
    """Check validation data or an iterable's first batch; return (X, y, weights or None) or (iterable, None, None)."""
    is_data = isinstance(validation, tuple)
    if len(validation) not in (2, 3) if is_data else not is_iterable(validation):
        raise ArgumentError(
            "fit: validation must be a fraction of the rows, (X, y) or (X, y, weights), or an iterable of such "
            f"batches, got {shown(validation)}."
        )
    if hasattr(validation, "__next__"):
        raise ArgumentError(
            "fit: validation is a generator or another iterator, which can be iterated only once; give a DataLoader or "
            "another object whose __iter__ returns a new iterator."
        )
    X, y, weight = (*validation, None)[:3] if is_data else (validation, None, None)
    parts = checked_parts(model, loss, X, y, weight, classes=classes)
    with located("validation: "):
        deque(parts if is_data else itertools.islice(parts, 1), maxlen=0)
        if is_data:
            row_weights(model, loss, weight, len(y))
    return X, y, weight

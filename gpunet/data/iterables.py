"""Iterables of batches, such as a PyTorch DataLoader, and what they yield."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpunet.data.frames import frame_columns
from gpunet.errors import ArgumentError, DataError


def is_iterable(value: Any) -> bool:
    """Return whether `value` may be an iterable of batches: no array, no data frame, no text."""
    is_data = isinstance(value, str | bytes | Mapping) or hasattr(type(value), "__array__")
    return hasattr(type(value), "__iter__") and not is_data and frame_columns(value) is None


def check_iterable(value: Any, call: str) -> None:
    """Refuse what is no iterable of batches, where a call was given no targets.

    Raises:
        ArgumentError: it is not.
    """
    if not is_iterable(value):
        raise ArgumentError(
            f"{call}: y is missing; it can be left out where X is an iterable of batches (X, y), such as a DataLoader, "
            f"got a {type(value).__name__}."
        )


def length(batches: Any) -> int | None:
    """Return how many batches there are, or None where the iterable does not say."""
    try:
        return len(batches)
    except (TypeError, NotImplementedError):
        return None


def parts_of_batch(batch: Any, name: str) -> list[Any]:
    """Return what a batch consists of: X, y and maybe row weights.

    Raises:
        DataError: it is something else; `name` is what the error calls it.
    """
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        what = f"{len(batch)} parts" if isinstance(batch, tuple | list) else f"a {type(batch).__name__}"
        raise DataError(f"{name} must be (X, y) or (X, y, weight), got {what}.")
    return list(batch)

"""Read iterables of batches, such as a PyTorch DataLoader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gpunet.data.frames import frame_columns
from gpunet.errors import ArgumentError, DataError


def is_iterable(value: Any) -> bool:
    """Return whether `value` is an iterable other than an array, a data frame, a dict or text."""
    kind = type(value)
    is_data = isinstance(value, str | bytes | Mapping) or hasattr(kind, "__array__")
    return (hasattr(kind, "__iter__") or _is_sequence(kind)) and not is_data and frame_columns(value) is None


def _is_sequence(kind: type) -> bool:
    return hasattr(kind, "__len__") and hasattr(kind, "__getitem__")


def check_iterable(value: Any, call: str) -> None:
    """Raise `ArgumentError` unless `value` is an iterable of batches; `call` names the call without targets."""
    if not is_iterable(value):
        raise ArgumentError(
            f"{call}: y is missing; it can be omitted only if X is an iterable of batches (X, y), such as a "
            f"DataLoader, got a {type(value).__name__}."
        )


def length(batches: Any) -> int | None:
    """Return the number of batches; None if it is unknown."""
    try:
        return len(batches)
    except (TypeError, NotImplementedError):
        return None


def numbered(batches: Any) -> Iterator[tuple[int, list[Any]]]:
    """Yield each batch's number, from 1 on, and its arrays (X, y) or (X, y, weight).

    Raises:
        DataError: a batch has another form, or there are no batches, or fewer than `len(batches)`.
        Exception: raised by the iterable; a note names the last batch it yielded.
    """
    number = 0
    for number, batch in enumerate(_noted(batches), 1):
        yield number, _parts_of_batch(batch, f"batch {number}")
    expected = length(batches)
    if expected == number == 0:
        raise DataError("the iterable is empty: it has no batches.")
    if number < (expected or 1):
        of = f" of {expected}" if expected else ""
        raise DataError(
            f"the iterable ended after {number}{of} batches. Each epoch iterates over it again, which generators and "
            "other iterators do not support; pass a list, a DataLoader, or an object whose __iter__ starts over."
        )


def _noted(batches: Any) -> Iterator[Any]:
    """Yield the batches; add a note to an exception. A sequence without `__iter__` is read by index."""
    done = 0
    try:
        iterable = batches if hasattr(type(batches), "__iter__") else map(batches.__getitem__, range(len(batches)))
        for done, batch in enumerate(iterable, 1):  # noqa: B007
            yield batch
    except Exception as error:
        error.add_note(f"raised by the iterable after batch {done}; all complete steps before that have been run")
        raise


def _parts_of_batch(batch: Any, name: str) -> list[Any]:
    """Return the arrays of a batch, [X, y] or [X, y, weight]; raise `DataError` for anything else."""
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        what = f"{len(batch)} parts" if isinstance(batch, tuple | list) else f"a {type(batch).__name__}"
        raise DataError(f"{name} must be (X, y) or (X, y, weight), got {what}.")
    return list(batch)

"""Iterables of batches, such as a PyTorch DataLoader, and what they yield."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gpunet.data.frames import frame_columns
from gpunet.errors import ArgumentError, DataError


def is_iterable(value: Any) -> bool:
    """Return whether `value` may be an iterable of batches: no array, no data frame, no text."""
    kind = type(value)
    is_data = isinstance(value, str | bytes | Mapping) or hasattr(kind, "__array__")
    return (hasattr(kind, "__iter__") or _is_sequence(kind)) and not is_data and frame_columns(value) is None


def _is_sequence(kind: type) -> bool:
    return hasattr(kind, "__len__") and hasattr(kind, "__getitem__")


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


def numbered(batches: Any) -> Iterator[tuple[int, list[Any]]]:
    """Yield what batches consist of, (X, y) or (X, y, weight), with their numbers, from 1 on.

    Raises:
        DataError: one is something else, or they are fewer than the iterable says, or none.
        Exception: what the iterable raises, with a note that says where.
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
            f"the iterable ended after {number}{of} batches. Each epoch iterates it anew, which a generator and "
            "other iterators do not serve; give a list, a DataLoader, or an object whose __iter__ begins anew."
        )


def _noted(batches: Any) -> Iterator[Any]:
    """Yield the batches, those of a sequence by their places."""
    done = 0
    try:
        one_by_one = batches if hasattr(type(batches), "__iter__") else map(batches.__getitem__, range(len(batches)))
        for done, batch in enumerate(one_by_one, 1):  # noqa: B007
            yield batch
    except Exception as error:
        error.add_note(
            f"raised by the iterable after batch {done}; the steps that the batches before it complete are done"
        )
        raise


def _parts_of_batch(batch: Any, name: str) -> list[Any]:
    """Return what a batch consists of: X, y and maybe row weights.

    Raises:
        DataError: it is something else; `name` is what the error calls it.
    """
    if not isinstance(batch, tuple | list) or len(batch) not in (2, 3):
        what = f"{len(batch)} parts" if isinstance(batch, tuple | list) else f"a {type(batch).__name__}"
        raise DataError(f"{name} must be (X, y) or (X, y, weight), got {what}.")
    return list(batch)

"""Check numbers and counts that users pass, and format values for error messages."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, Literal

from gpunet.errors import ArgumentError


def real(
    name: str, value: Any, low: float, high: float = math.inf, *, closed: Literal["neither", "left", "both"] = "neither"
) -> float:
    """Return `value` as a float if it lies between `low` and `high`; else raise `ArgumentError`.

    Args:
        name: the argument's name in the error message, such as "Dropout: p".
        closed: which bounds belong to the range.
    """
    try:
        number = float(value) if isinstance(value, Real) else math.nan
    except OverflowError:  # an int too large for a float
        number = math.inf if value > 0 else -math.inf
    if low < number < high or (number == low and closed != "neither") or (number == high and closed == "both"):
        return number
    if not isinstance(value, Real):
        raise ArgumentError(f"{name} must be a number, got {shown(value)}.")
    left, right = "(" if closed == "neither" else "[", "]" if closed == "both" else ")"
    raise ArgumentError(f"{name} must lie in {left}{low:g}, {high:g}{right}, got {shown(value)}.")


def whole(name: str, value: Any, least: int = 1) -> int:
    """Return `value` as an int if it is a whole number >= `least`; else raise `ArgumentError`."""
    if isinstance(value, Integral) and int(value) >= least:
        return int(value)
    raise ArgumentError(f"{name} must be a whole number of at least {least}, got {shown(value)}.")


def shown(value: Any) -> str:
    """Return the `repr` of a value on one line of at most 100 characters, for an error message."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # an int with more digits than Python converts to text
        text = f"{type(value).__name__} with a number too long to print"
    return text if len(text) <= 100 else f"{text[:97]}..."


def counted(count: int, noun: str) -> str:
    """Return a count with its noun: "1 row" or "2,000 rows"."""
    return f"{count:,} {noun}" + "s" * (count != 1)


def listed(choices: Iterable[object]) -> str:
    """Return two or more choices for an error message: "'a', 'b' or 'c'"."""
    *others, last = map(repr, choices)
    return f"{', '.join(others)} or {last}"


def shortened(text: str, length: int) -> str:
    """Return text on one line: its first `length` characters, or its last ones if `length` is negative.

    "…" marks an omission; control characters are escaped.
    """
    line = printable(" ".join(text.split()))
    if len(line) <= abs(length):
        return line
    return f"{line[: length - 1]}…" if length > 0 else f"…{line[length + 1 :]}"


def printable(text: str) -> str:
    """Return text with its control characters escaped, such as \\x1b, for a terminal."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)

"""The checks of plain arguments: numbers in their range, counts, with one wording for all errors."""

from __future__ import annotations

import math
from collections.abc import Iterable
from numbers import Integral, Real
from typing import Any, Literal

from gpunet.errors import ArgumentError


def real(
    name: str, value: Any, low: float, high: float = math.inf, *, closed: Literal["neither", "left", "both"] = "neither"
) -> float:
    """Return `value` as a float if it is a number between `low` and `high`; NaN never is.

    Args:
        name: what an error calls it, such as "Dropout: p".
        value: what was given.
        low: the lower end.
        high: the upper end.
        closed: which ends are allowed themselves.

    Raises:
        ArgumentError: no number, or one out of range.
    """
    try:
        number = float(value) if isinstance(value, Real) else math.nan
    except OverflowError:  # an int that no float holds
        number = math.inf if value > 0 else -math.inf
    if low < number < high or (number == low and closed != "neither") or (number == high and closed == "both"):
        return number
    if not isinstance(value, Real):
        raise ArgumentError(f"{name} must be a number, got {shown(value)}.")
    left, right = "(" if closed == "neither" else "[", "]" if closed == "both" else ")"
    raise ArgumentError(f"{name} must lie in {left}{low:g}, {high:g}{right}, got {shown(value)}.")


def whole(name: str, value: Any, least: int = 1) -> int:
    """Return `value` as an int if it is a whole number of at least `least`.

    Raises:
        ArgumentError: it is not.
    """
    if isinstance(value, Integral) and int(value) >= least:
        return int(value)
    raise ArgumentError(f"{name} must be a whole number of at least {least}, got {shown(value)}.")


def shown(value: Any) -> str:
    """Return the `repr` of what was given, for an error message: on one line, and the beginning of a long one."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # of an int with more digits than Python prints
        text = f"{type(value).__name__} with a number too long to print"
    return text if len(text) <= 100 else f"{text[:97]}..."


def listed(choices: Iterable[object]) -> str:
    """Return choices, at least two, for an error message: "'a', 'b' or 'c'"."""
    *others, last = map(repr, choices)
    return f"{', '.join(others)} or {last}"


def shortened(text: str, length: int) -> str:
    """Return text for one line: its first `length` characters, or its last where `length` is negative.

    "…" stands for the rest; control characters are made `printable`.
    """
    line = printable(" ".join(text.split()))
    if len(line) <= abs(length):
        return line
    return f"{line[: length - 1]}…" if length > 0 else f"…{line[length + 1 :]}"


def printable(text: str) -> str:
    """Return a text from a file as a terminal may show it: control characters as Python writes them, such as \\x1b."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)

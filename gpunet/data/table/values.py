"""Read the values of a column of any dtype, as numbers or as distinct texts."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from gpunet.data.labels import class_name
from gpunet.errors import DataError

MISSING = frozenset({"", "?", "na", "n/a", "nan", "-nan", "+nan", "null", "<na>", "#n/a"})
"""Texts, in lower case, that stand for a missing value."""

LARGEST = 1e150
"""The largest number that is accepted: the square of a larger one may overflow."""


class Values(NamedTuple):
    """The values of a column as numbers.

    Attributes:
        numbers: float64 (n,), NaN for a missing one.
        bad: the rows whose values cannot be read.
    """

    numbers: np.ndarray
    bad: np.ndarray
    form: str


def is_number(series: Any) -> bool:
    """Return whether a column's dtype is real numbers, not booleans."""
    from pandas.api import types

    others = types.is_bool_dtype(series.dtype) or types.is_complex_dtype(series.dtype)
    return bool(types.is_numeric_dtype(series.dtype) and not others)


def is_date(series: Any) -> bool:
    """Return whether a column's dtype is points in time."""
    from pandas.api import types

    return bool(types.is_datetime64_any_dtype(series.dtype))


def is_categorical(series: Any) -> bool:
    """Return whether a column's dtype is pandas' categorical."""
    import pandas

    return isinstance(series.dtype, pandas.CategoricalDtype)


def texts(series: Any) -> tuple[np.ndarray, list[str]]:
    """Return a column's codes and its distinct texts; raise `DataError` for nested values, such as lists."""
    import pandas

    try:
        codes, distinct = pandas.factorize(series)
    except TypeError as error:
        raise DataError(f"column {series.name!r} holds nested values ({error}); flatten or drop it.") from None
    if not pandas.api.types.is_string_dtype(distinct):
        distinct = [_text(value) for value in distinct]
    stripped = pandas.Series(distinct, dtype="str").str.strip()
    merged, different = pandas.factorize(stripped.mask(stripped.str.lower().isin(MISSING)))
    return np.append(merged, -1)[codes], np.asarray(different, object).tolist()


def _text(value: Any) -> str:
    """Return a value as text: 3.0 as "3", midnight as a date."""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime):  # pandas' own as well
        return value.isoformat(" ").removesuffix(" 00:00:00")
    return class_name(value)

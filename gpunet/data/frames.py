"""Convert data frames of pandas, polars and pyarrow to arrays, without importing any of the three."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np

from gpunet.errors import DataError, DTypeError

NUMBERS = (Real, Decimal, np.bool_)


def frame_columns(value: Any) -> Iterable[tuple[Any, Any]] | None:
    """Return the (name, column) pairs of a data frame; None for anything else."""
    kind = type(value)  # not the frame itself, whose attributes can be column names
    if hasattr(kind, "column_names"):  # pyarrow
        return zip(value.column_names, value.columns, strict=True)
    if hasattr(kind, "iter_columns"):  # polars
        return zip(value.columns, value.iter_columns(), strict=True)
    if hasattr(kind, "columns") and hasattr(kind, "items"):  # pandas
        return value.items()
    return None


def frame_array(frame: Any, columns: Iterable[tuple[Any, Any]], name: str) -> np.ndarray:
    """Return a data frame of real numbers as an array (rows, columns) in the columns' common dtype."""
    whole = np.asarray(frame)
    if whole.dtype.kind in "biu" or (whole.dtype.kind == "f" and np.isfinite(whole).all()):
        return whole
    arrays = []
    for label, column in columns:
        array = column_array(column, name, f", column {label!r}")
        if array.dtype.kind not in "biuf":
            what = "text" if array.dtype.kind == "U" else array.dtype
            raise DTypeError(
                f"{name}: column {label!r} holds {what}; expected real numbers. Encode it first, for example with "
                f"pandas.get_dummies, or drop it. (To use it as labels, pass {name}[{label!r}].)"
            )
        arrays.append(array)
    return np.column_stack(arrays) if arrays else np.empty((len(frame), 0))


def is_column(value: Any) -> bool:
    """Return whether `value` is a data frame's column, which can report its missing values."""
    return hasattr(type(value), "isna") or hasattr(type(value), "is_null")


def column_array(column: Any, name: str, place: str = "") -> np.ndarray:
    """Return a column of numbers, text or dates as an array in its own dtype; text gets a NumPy text dtype.

    Args:
        name: the column or its frame in error messages.
        place: text after the row's number in error messages.
    """
    array = np.asarray(column)
    if array.dtype.kind == "f":
        bad = ~np.isfinite(array)
    else:
        bad = np.asarray(column.isna() if hasattr(column, "isna") else column.is_null())
    if bad.any():
        row = int(np.argwhere(bad)[0, 0])
        raise unusable(name, array[row], f"row {row}{place}")
    if array.dtype.kind != "O":
        return array
    if all(isinstance(item, str) for item in array):
        return array.astype(str)
    for row, item in enumerate(array):
        if not isinstance(item, NUMBERS):
            raise DTypeError(f"{name} is {item!r} at row {row}{place}; expected real numbers.")
    numbers = np.array(array.tolist())
    return numbers.astype(np.float64) if numbers.dtype.kind == "O" else numbers  # decimals and very large integers


def unusable(name: str, value: Any, place: str) -> DataError:
    """Return the error for a number that is missing or not finite."""
    return DataError(f"{name} is {value} at {place}; remove such samples or fill in a number first.")

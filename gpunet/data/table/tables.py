"""Hold a table in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from gpunet.data.table.dates import dates, dates_of_texts
from gpunet.data.table.numerals import numbers, numbers_of_texts
from gpunet.data.table.values import Values, is_date, is_number, texts
from gpunet.errors import ArgumentError, DataError

T = TypeVar("T")


@dataclass(frozen=True, eq=False, repr=False)
class Table:
    """A data frame and where it comes from.

    Attributes:
        frame: the pandas data frame; its column names are text.
        name: for error messages, such as the file's.
        found: see `Dataset`.
        header: whether the file names its columns.
        decimal: the decimal mark of its text; None if no cell has one.
        line: returns the line of the text file on which a row ends; None for other sources.
        blank: the number of empty rows of the file, which the frame lacks.

    Example:
        >>> import pandas as pd
        >>> pd.DataFrame({"size": [1.5, 2.5], "price": [10, 20]}).to_csv("houses.csv", index=False)
        >>> table = gn.data.read_table("houses.csv")
        >>> len(table), table.place(1), table.found
        (2, 'line 3', "separator ',', decimal point, utf-8, header")
    """

    frame: Any
    name: str
    found: str = ""
    header: bool = True
    decimal: str | None = None
    line: Callable[[int], int] | None = None
    blank: int = 0
    _read: dict[tuple[str, ...], Any] = field(default_factory=dict, init=False)  # see _once

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, rows: Any) -> Table:
        """Return the rows at the given positions."""
        return replace(self, frame=self.frame.iloc[rows])

    def without_columns(self) -> Table:
        """Return the rows without their values, which `place` still names."""
        return replace(self, frame=self.frame[[]])

    def texts(self, name: str) -> tuple[np.ndarray, list[str]]:
        """Return a column's codes and its distinct texts; see `values.texts`."""
        return self._once(lambda: texts(self.frame[name]), "text", name)

    def numbers(self, name: str, form: str = "") -> Values:
        """Return a column as numbers; see `numerals.numbers`."""
        if is_number(self.frame[name]):
            return numbers(self.frame[name], form)
        values = self._once(lambda: numbers_of_texts(*self.texts(name), form, self.decimal), "number", name, form)
        return self._once(lambda: values, "number", name, values.form)  # also under an inferred form

    def dates(self, name: str, form: str = "") -> Values | None:
        """Return a column as days, or None if it holds no dates; see `dates.dates`."""
        if is_number(self.frame[name]):
            return None
        if is_date(self.frame[name]):
            return dates(self.frame[name])
        values = self._once(lambda: dates_of_texts(*self.texts(name), form), "date", name, form)
        return values and self._once(lambda: values, "date", name, values.form)

    def _once(self, read: Callable[[], T], *key: str) -> T:
        """Return `read()`, computed once per key, because parsing text is slow."""
        if key not in self._read:
            self._read[key] = read()
        value: T = self._read[key]
        return value

    def place(self, row: int) -> str:
        """Name a row in an error message: by its line, or by its index from 0 on."""
        label = self.frame.index[row]
        return f"row {label}" if self.line is None else f"line {self.line(int(label))}"


def as_table(value: Any) -> Table:
    """Return a data frame of pandas, polars or pyarrow as a table, and a table unchanged."""
    if isinstance(value, Table):
        return value
    frame = value.to_pandas() if hasattr(type(value), "to_pandas") else value
    if not hasattr(type(frame), "iloc") or not hasattr(frame, "columns"):
        raise ArgumentError(f"expected a data frame or a table, got {type(value).__name__}.")
    return of_frame(frame, "the data frame")


def of_frame(frame: Any, name: str) -> Table:
    """Return a pandas data frame as a table; raise `DataError` if two columns have the same name."""
    frame = frame.rename(columns=str)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataError(f"{name}: two columns are named {twice!r}; rename one.")
    return Table(frame.reset_index(drop=True), name)

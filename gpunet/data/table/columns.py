"""Describe a column: its role, its statistics over the training rows, its features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np

from gpunet.data.table.numerals import canonical
from gpunet.data.table.tables import Table
from gpunet.data.table.values import Values

Role: TypeAlias = Literal["number", "category", "date", "ignored"]

MOST_ONE_HOT = 8
"""Maximum number of categories that are one-hot encoded; with more, the feature is an index into an embedding."""

LEAST_ROWS = 2
"""Minimum training rows of a category with an embedding of its own; rarer ones share that of unknown values."""

YEAR = 365.2425


@dataclass(frozen=True)
class Column:
    """An input column of a table.

    Attributes:
        why: the reason for the role, in a few words.
        form: how text is parsed: the decimal mark and unit of numbers, or the format of dates; "" for other dtypes.
        missing: number of training rows without a value.
        fill: the number, or the date in days since 1970, that replaces a missing value.
        indicator: whether an additional feature is 1 where the number or date is missing.
        categories: the known categories, sorted; "" is a missing value, if training rows have one.
        embedded: whether the feature is the index of the category (-1: unknown) instead of one-hot.
        constant: whether all training rows have the same number or date. The feature then is that value for all rows,
            as untrained weights must not affect a prediction.

    Example:
        >>> import pandas as pd
        >>> schema = gn.data.TableSchema.fit(pd.DataFrame({"size": [1.5, np.nan, 3.5], "y": [0, 1, 0]}))
        >>> column = schema.columns[0]
        >>> column.name, column.role, column.missing, column.fill
        ('size', 'number', 1, 2.5)
    """

    name: str
    role: Role = "number"
    why: str = ""
    form: str = ""
    missing: int = 0
    fill: float = 0.0
    indicator: bool = False
    categories: tuple[str, ...] = ()
    embedded: bool = False
    constant: bool = False

    @property
    def feature_names(self) -> list[str]:
        """One name per feature."""
        if self.role == "ignored":
            return []
        if self.role == "category":
            return [self.name] if self.embedded else [f"{self.name}={text or '(missing)'}" for text in self.categories]
        names = [self.name] if self.role == "number" else [f"{self.name} {part}" for part in ("days", "sin", "cos")]
        return names + [f"{self.name} missing"] * self.indicator

    def fitted(self, table: Table, rows: Any, center: Callable[[np.ndarray], Any]) -> Column:
        """Return the column with the statistics of its training rows.

        Args:
            rows: the positions of the training rows, or a slice.
            center: computes the fill value from the values that are not missing.
        """
        if self.role == "ignored":
            return replace(self, missing=int(table.frame[self.name].iloc[rows].isna().sum()))
        if self.role == "category":
            codes, distinct = table.texts(self.name)
            return self._with_categories(codes[rows], distinct)
        values = self.read(table).numbers[rows]
        there = values[~np.isnan(values)]
        missing = len(values) - len(there)
        if not len(there):
            return replace(self, role="ignored", why="has no value in the training rows", missing=missing)
        constant = bool((there == there[0]).all())
        if constant and not missing:
            return replace(self, role="ignored", why="has one value in the training rows")
        return replace(self, missing=missing, fill=float(center(there)), indicator=missing > 0, constant=constant)

    def _with_categories(self, codes: np.ndarray, distinct: list[str]) -> Column:
        counts = np.bincount(codes + 1, minlength=len(distinct) + 1)
        rows = dict(zip(["", *distinct], counts.tolist(), strict=True))
        known = sorted(text for text, count in rows.items() if count)
        if len(known) == 1:
            return replace(self, role="ignored", why="has one value in the training rows", missing=rows[""])
        embedded = len(known) > MOST_ONE_HOT
        if embedded:
            known = [text for text in known if rows[text] >= LEAST_ROWS]
            embedded = len(known) > MOST_ONE_HOT
        return replace(self, missing=rows[""], categories=tuple(known), embedded=embedded)

    def read(self, table: Table) -> Values:
        """Return the values of a number or date column."""
        if self.role == "number":
            return table.numbers(self.name, self.form or ".")
        read = table.dates(self.name, self.form)
        if read is None and table.frame[self.name].isna().all():
            return Values(np.full(len(table), np.nan), np.empty(0, np.int64), "")
        return read or Values(np.zeros(len(table)), np.arange(len(table)), "")

    def indices(self, table: Table) -> np.ndarray:
        """Return the category of each row as an index, int64 (n,); -1 for an unknown one."""
        codes, distinct = table.texts(self.name)
        index = {canonical(text): i for i, text in enumerate(self.categories)}
        index |= {text: i for i, text in enumerate(self.categories)}
        known = [index.get(text, index.get(canonical(text), -1)) for text in distinct]
        indices: np.ndarray = np.array([*known, index.get("", -1)])[codes]
        return indices

    def features(self, values: np.ndarray) -> np.ndarray:
        """Return the features float64 (n, k) of what `read` or `indices` returned."""
        if self.embedded:
            return values[:, None].astype(np.float64)
        if self.role == "category":
            one_hot: np.ndarray = values[:, None] == np.arange(len(self.categories))
            return one_hot.astype(np.float64)
        missing = np.isnan(values)
        filled = np.where(missing | self.constant, self.fill, values)
        parts = [filled]
        if self.role == "date":
            angle = 2 * np.pi * _days_of_the_year(filled) / YEAR
            parts += [np.sin(angle), np.cos(angle)]
        return np.column_stack(parts + [missing] * self.indicator)


def _days_of_the_year(days: np.ndarray) -> np.ndarray:
    """Convert days since 1970 to days of the year, from 0 on."""
    whole = np.floor(days).astype("datetime64[D]")
    return np.asarray(days - whole.astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64))

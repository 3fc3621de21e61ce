"""A column of a table: its role, what the training rows told of it, and the features that it becomes."""

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
"""So many categories become a feature (0 or 1) each; more become an index, for a table of vectors."""

LEAST_ROWS = 2
"""Training rows of which a category with a vector has one; rarer ones train the vector of the unknown."""

YEAR = 365.2425


@dataclass(frozen=True)
class Column:
    """An input column of a table.

    Attributes:
        name: as the header has it.
        role: what it is taken for.
        why: the reason, in a few words.
        form: how text is read: the decimal mark and the unit of a number, or the format of a date; "" where none is.
        missing: training rows without a value.
        fill: of a number or a date (in days since 1970), what stands for a missing value.
        indicator: of a number or a date, whether one more feature is 1 where the value is missing.
        categories: the known ones, sorted; "" is the missing value, where training rows have it.
        embedded: whether the feature is the index of a category, -1 for an unknown one.
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

    @property
    def feature_names(self) -> list[str]:
        """The features that the column becomes."""
        if self.role == "ignored":
            return []
        if self.role == "category":
            return [self.name] if self.embedded else [f"{self.name}={text or '(missing)'}" for text in self.categories]
        names = [self.name] if self.role == "number" else [f"{self.name} {part}" for part in ("days", "sin", "cos")]
        return names + [f"{self.name} missing"] * self.indicator

    def fitted(self, table: Table, rows: Any, center: Callable[[np.ndarray], Any]) -> Column:
        """Return the column with what its training rows tell.

        Args:
            table: all rows.
            rows: the positions of the training rows, or a slice.
            center: what is filled in for a missing number, of those that are there.
        """
        if self.role == "ignored":
            return replace(self, missing=int(table.frame[self.name].iloc[rows].isna().sum()))
        if self.role == "category":
            codes, distinct = table.texts(self.name)
            return self._with_categories(codes[rows], distinct)
        values = self.read(table).numbers[rows]
        there = values[~np.isnan(values)]
        missing = len(values) - len(there)
        fill = float(center(there)) if len(there) else 0.0
        return replace(self, missing=missing, fill=fill, indicator=missing > 0)

    def _with_categories(self, codes: np.ndarray, distinct: list[str]) -> Column:
        counts = np.bincount(codes + 1, minlength=len(distinct) + 1)
        rows = dict(zip(["", *distinct], counts.tolist(), strict=True))
        known = sorted(text for text, count in rows.items() if count)
        embedded = len(known) > MOST_ONE_HOT
        if embedded:
            known = [text for text in known if rows[text] >= LEAST_ROWS]
            embedded = len(known) > MOST_ONE_HOT
        return replace(self, missing=rows[""], categories=tuple(known), embedded=embedded)

    def read(self, table: Table) -> Values:
        """Return the values of a number or a date, before any is filled in."""
        if self.role == "number":
            return table.numbers(self.name, self.form or ".")
        read = table.dates(self.name, self.form)
        return read or Values(np.zeros(len(table)), np.arange(len(table)), "")

    def indices(self, table: Table) -> np.ndarray:
        """Return the values of a category as indices int64 (n,), -1 where it is not known."""
        codes, distinct = table.texts(self.name)
        index = {text: i for i, text in enumerate(self.categories)}
        known = [index.get(text, index.get(canonical(text), -1)) for text in distinct]
        indices: np.ndarray = np.array([*known, index.get("", -1)])[codes]
        return indices

    def features(self, values: np.ndarray) -> np.ndarray:
        """Return the features (n, k) float64 of the values that `read` or `indices` returned."""
        if self.embedded:
            return values[:, None].astype(np.float64)
        if self.role == "category":
            one_hot: np.ndarray = values[:, None] == np.arange(len(self.categories))
            return one_hot.astype(np.float64)
        missing = np.isnan(values)
        filled = np.where(missing, self.fill, values)
        parts = [filled]
        if self.role == "date":
            angle = 2 * np.pi * _days_of_the_year(filled) / YEAR
            parts += [np.sin(angle), np.cos(angle)]
        return np.column_stack(parts + [missing] * self.indicator)


def _days_of_the_year(days: np.ndarray) -> np.ndarray:
    """Return how many days of its year are over, for days since 1970."""
    whole = np.floor(days).astype("datetime64[D]")
    return np.asarray(days - whole.astype("datetime64[Y]").astype("datetime64[D]").astype(np.int64))

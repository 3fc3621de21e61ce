"""Encode the columns of a table as features, or list all its mismatches with the schema."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpunet.arguments import counted
from gpunet.data.labels import listing
from gpunet.data.table.columns import Column
from gpunet.data.table.dates import example
from gpunet.data.table.inferring import described
from gpunet.data.table.tables import Table
from gpunet.data.table.units import in_unit
from gpunet.data.table.values import LARGEST
from gpunet.errors import DataError, warn


def encoded(table: Table, columns: Sequence[Column], missing: str) -> np.ndarray:
    """Return the features float64 (n, features); see `TableSchema.encode`."""
    problems = []
    lacking = [column.name for column in columns if column.name not in table.frame]
    if lacking:
        problems.append(f"no column {listing(lacking)}; the columns are {listing([*table.frame.columns])}")
    parts = []
    for column in columns:
        if column.name in table.frame:
            values, found = _values(table, column, missing)
            problems += found
            parts.append(column.features(values))
    if problems:
        raise DataError(f"{table.name}: {'; '.join(problems)}.")
    _warn_of_unknown(table, columns)
    return np.concatenate(parts, axis=1)


def complete_rows(table: Table, columns: Sequence[Column]) -> np.ndarray:
    """Return the positions of the rows in which no number or date is missing; warn of the others."""
    whole = np.ones(len(table), bool)
    for column in columns:
        if column.role != "category" and column.name in table.frame:
            whole &= ~np.isnan(column.read(table).numbers)
    if left_out := int(np.sum(~whole)):
        warn(f"{table.name}: left out {left_out:,} of {counted(len(table), 'row')} for lack of a number or a date.")
    return np.flatnonzero(whole)


def _values(table: Table, column: Column, missing: str) -> tuple[np.ndarray, list[str]]:
    """Return the values of a column, and its mismatches with the schema."""
    if column.role == "category":
        return column.indices(table), []
    values, bad, _ = column.read(table)
    problems = []
    if len(bad):
        unit = in_unit(column.form) if column.role == "number" else f" such as {example(column.form)}"
        limit = " up to 1e150" if (np.abs(values[bad]) > LARGEST).any() else ""
        found = described(table, column.name, bad)
        problems.append(f"column {column.name!r} holds a {column.role}{limit}{unit}, not {found}")
    blank = np.setdiff1d(np.flatnonzero(np.isnan(values)), bad)
    if len(blank) and missing in ("drop", "error"):
        first = ", ".join(table.place(row) for row in blank[:3])
        problems.append(f"column {column.name!r} has no value in {first}")
    return values, problems


def _warn_of_unknown(table: Table, columns: Sequence[Column]) -> None:
    """Warn if most values of a category are unknown."""
    for column in columns:
        if column.role == "category":
            unknown = np.flatnonzero(column.indices(table) < 0)
            if len(unknown) > len(table) / 2:
                found, known = described(table, column.name, unknown), listing(column.categories)
                message = f"column {column.name!r}: most values are unknown: {found}; known are {known}."
                warn(f"{table.name}, {message}")

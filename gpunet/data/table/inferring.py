"""Infer the role of a column from its values in the whole table."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import get_args

import numpy as np

from gpunet.arguments import shortened
from gpunet.data.labels import listing
from gpunet.data.table.columns import MOST_ONE_HOT, Column, Role
from gpunet.data.table.numerals import FEW_SLIPS, may_be_numbers
from gpunet.data.table.tables import Table
from gpunet.data.table.units import in_unit
from gpunet.data.table.values import LARGEST, Values, is_categorical, is_date, is_number
from gpunet.errors import ArgumentError, DataError

SAMPLE = 100
"""Number of distinct texts that are parsed as numbers; if none of them is a number, the column holds text or dates."""

LONGEST_VALUE = 20
"""Maximum characters of an example."""

LEAST_IDENTIFIERS = 10
"""Minimum rows of an identifier column: in a smaller table, all values may differ by chance."""

LEAST_RUNNING = 300
"""Minimum rows of consecutive numbers that do not start or end at 0 or 1; fewer may be years."""

_IDENTIFIER = re.compile(r"(?i:(.*[ _.-])?(id|key|no|nr|uuid|index|row)|unnamed: \d+)|.*[a-z](Id|ID|No|Nr)")


def asked_roles(
    table: Table, target: str, roles: Mapping[str, Role], columns: Collection[str], drop: Collection[str]
) -> dict[str, Role]:
    """Return the roles that the user asked for; see `TableSchema.fit`."""
    unknown = [name for name in (target, *roles, *columns, *drop) if name not in table.frame]
    if unknown:
        there = listing([*table.frame.columns])
        raise DataError(f"{table.name}: no column {listing(unknown)}; the columns are {there}.")
    for name, role in roles.items():
        if role not in get_args(Role):
            raise ArgumentError(f"column {name!r}: role {role!r}; use {', '.join(map(repr, get_args(Role)))}.")
    if target in drop:
        raise ArgumentError(f"the target {target!r} cannot be dropped.")
    if target in roles:
        raise ArgumentError(f"the target {target!r} has no role; the task says whether it holds classes or values.")
    left_out = {*drop} | ({*table.frame.columns} - {*columns} if columns else set())
    if both := [name for name, role in roles.items() if name in left_out and role != "ignored"]:
        raise ArgumentError(f"column {listing(both)} has a role, but is not among the columns to learn from.")
    return {**roles, **dict.fromkeys(left_out, "ignored")}


def infer(table: Table, name: str, asked: Role | None = None, *, wanted: bool = False) -> Column:
    """Return a column with its role, but without the statistics of the training rows.

    Args:
        asked: the role that the user requested.
        wanted: whether the user listed the column as a feature; if so, it is not taken for an identifier.
    """
    series = table.frame[name]
    if asked == "ignored":
        return Column(name, "ignored", "as requested")
    if asked == "category":
        return Column(name, "category", f"as requested, {_count(table.texts(name)[1])}")
    if asked is not None:
        form = (table.numbers(name).form or table.decimal or "") if asked == "number" else ""
        return _numeric(table, Column(name, asked, "as requested", form))
    if series.isna().all():
        return Column(name, "ignored", "has no value")
    if is_number(series):
        return _of_numbers(table, Column(name, "number", "numbers", table.decimal or ""), table.numbers(name), wanted)
    if is_date(series):
        return Column(name, "date", "dates")
    if is_categorical(series):
        return Column(name, "category", f"categories, {_count(table.texts(name)[1])}")
    return _of_text(table, name, wanted)


def _of_text(table: Table, name: str, wanted: bool) -> Column:
    codes, distinct = table.texts(name)
    complete = bool((codes >= 0).all())
    if not distinct:
        return Column(name, "ignored", "has no value")
    if len(distinct) == 1 and complete:
        return Column(name, "ignored", f"has one value, {shortened(distinct[0], LONGEST_VALUE)!r}")
    if may_be_numbers(distinct[:SAMPLE]):
        read = table.numbers(name)
        text = slips(read)
        if not len(text):
            example = f"numbers{in_unit(read.form)} such as {shortened(distinct[0], LONGEST_VALUE)!r}"
            example += "; () is negative" * any(")" in text for text in distinct)
            return _of_numbers(table, Column(name, "number", example, read.form), read, wanted)
        if are_few(text, codes):
            remedy = f"correct it, or use --as {name}=category"
            raise unreadable(table, name, text, "a number like most others", remedy)
    days = table.dates(name)
    if days is not None:
        _refuse(table, name, days, f"a date like most others, {days.form}")
        return Column(name, "date", f"dates, {days.form}", days.form)
    rows = len(codes)
    if rows >= LEAST_IDENTIFIERS and len(distinct) > max(rows / 2, MOST_ONE_HOT) and not wanted:
        example = shortened(distinct[0], LONGEST_VALUE)
        what = "all texts differ" if len(distinct) == rows else f"{len(distinct)} texts in {rows} rows"
        return Column(name, "ignored", f"{what}, such as {example!r}")
    return Column(name, "category", _count(distinct))


def slips(read: Values) -> np.ndarray:
    """Return the rows of a number column that hold text; its other bad rows are too large or in another unit."""
    rows: np.ndarray = read.bad[np.isnan(read.numbers[read.bad])]
    return rows


def are_few(rows: np.ndarray, codes: np.ndarray) -> bool:
    """Return whether the text in some rows of a number column is a typing error, not a category."""
    different, distinct = len(set(codes[rows].tolist())), int(codes.max()) + 1
    return len(rows) < len(codes) / 2 and different <= max(FEW_SLIPS * distinct, 1) and different < distinct / 2


def _of_numbers(table: Table, column: Column, values: Values, wanted: bool) -> Column:
    """Return a number column, ignored if it is constant or an identifier."""
    _refuse(table, column.name, values, expected_number(values))
    n = values.numbers
    if not np.isnan(n).any() and (n == n[0]).all():
        return Column(column.name, "ignored", f"has one value, {n[0]:g}")
    identifies = None if wanted else why_identifier(column.name, n)
    return Column(column.name, "ignored", identifies) if identifies else column


def why_identifier(name: str, n: np.ndarray) -> str | None:
    """Return why a column of numbers `n` (NaN: missing) is an identifier, or None if it is not."""
    if len(n) < LEAST_IDENTIFIERS or not (n == np.floor(n)).all():
        return None
    steps = np.diff(n)
    if abs(steps[0]) == 1 and (steps == steps[0]).all() and (len(n) >= LEAST_RUNNING or n.min() in (0, 1)):
        return "consecutive numbers"
    if _IDENTIFIER.fullmatch(name) and np.diff(np.sort(n)).all():
        return "all numbers differ, and the name is that of an identifier"
    return None


def expected_number(values: Values) -> str:
    """Return what a number column must hold, for an error message."""
    unit = values.form[1:]
    mixed = (np.abs(values.numbers[values.bad]) <= LARGEST).any()
    return "a finite number up to 1e150" + (f" in the unit of the others ({unit or 'none'})" if mixed else "")


def _numeric(table: Table, column: Column) -> Column:
    """Return a column whose role number or date was requested, with the form of its text."""
    values = column.read(table)
    expected = expected_number(values) if column.role == "number" else "a date"
    _refuse(table, column.name, values, expected)
    form = values.form or column.form
    return Column(column.name, column.role, column.why + in_unit(form) * (column.role == "number"), form)


def _refuse(table: Table, name: str, values: Values, expected: str) -> None:
    if len(values.bad):
        raise unreadable(table, name, values.bad, expected, f"correct it, or use --as {name}=ignore")


def unreadable(table: Table, name: str, rows: np.ndarray, expected: str, remedy: str) -> DataError:
    """Return the error for values that cannot be parsed; it names the first three and their lines."""
    verb = "is" if len(rows) == 1 else "are"
    return DataError(f"{table.name}, column {name!r}: {described(table, name, rows)} {verb} not {expected}; {remedy}.")


def described(table: Table, name: str, rows: np.ndarray) -> str:
    """List the first values and their lines, such as "'x' (line 3), 'y' (line 7) and 2 more"."""
    first = [f"{str(table.frame[name].iloc[row])!r} ({table.place(row)})" for row in rows[:3]]
    return ", ".join(first) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")


def _count(distinct: list[str]) -> str:
    return (
        listing([shortened(text, LONGEST_VALUE) for text in distinct])
        if len(distinct) <= 3
        else f"{len(distinct)} texts"
    )

"""What a column is taken for, by its values in the whole table."""

from __future__ import annotations

import re

import numpy as np

from gpunet.arguments import shortened
from gpunet.data.labels import listing
from gpunet.data.table.columns import MOST_ONE_HOT, Column, Role
from gpunet.data.table.tables import Table
from gpunet.data.table.values import FEW_SLIPS, Values, dates, is_date, is_number, numbers, parse_number, texts
from gpunet.errors import DataError

SAMPLE = 100
"""Distinct texts of a column, of which one at least is a number where most are."""

LONGEST_VALUE = 20
"""Characters of an example."""

LEAST_IDENTIFIERS = 10
"""Rows of a column that is taken for an identifier, at least: a smaller table may have no value twice by chance."""

_IDENTIFIER = re.compile(r"(?i:(.*[ _.-])?(id|key|no|nr|uuid|index|row)|unnamed: \d+)|.*[a-z](Id|ID|No|Nr)")


def infer(table: Table, name: str, asked: Role | None = None) -> Column:
    """Return a column of a table with its role; what the training rows tell is still to come.

    Args:
        table: the table.
        name: the column.
        asked: the role that the user gave it.

    Raises:
        DataError: text among numbers or dates, infinite numbers, or nested values; the message names their lines.
    """
    series = table.frame[name]
    if asked == "ignored":
        return Column(name, "ignored", "as asked")
    if asked == "category":
        return Column(name, "category", f"as asked, {_count(texts(series)[1])}")
    if asked is not None:
        form = (numbers(series, likely=table.decimal).form or table.decimal or "") if asked == "number" else ""
        return _numeric(table, Column(name, asked, "as asked", form))
    if series.isna().all():
        return Column(name, "ignored", "has no value")
    if is_number(series):
        return _of_numbers(table, Column(name, "number", "numbers", table.decimal or ""), numbers(series))
    if is_date(series):
        return Column(name, "date", "dates")
    codes, distinct = texts(series)
    return _of_text(table, name, codes, distinct)


def _of_text(table: Table, name: str, codes: np.ndarray, distinct: list[str]) -> Column:
    series, complete = table.frame[name], bool((codes >= 0).all())
    if not distinct:
        return Column(name, "ignored", "has no value")
    if len(distinct) == 1 and complete:
        return Column(name, "ignored", f"has one value, {shortened(distinct[0], LONGEST_VALUE)!r}")
    if any(parse_number(text, decimal) is not None for text in distinct[:SAMPLE] for decimal in ".,"):
        read = numbers(series, likely=table.decimal)
        text = slips(read)
        if not len(text):
            example = f"numbers such as {shortened(distinct[0], LONGEST_VALUE)!r}"
            return _of_numbers(table, Column(name, "number", example, read.form), read)
        if are_few(text, codes):
            remedy = f"mend it, or say --as {name}=category"
            raise unreadable(table, name, text, "a number, as most are", remedy)
    days = dates(series)
    if days is not None:
        _refuse(table, name, days, f"a date as most are, {days.form}")
        return Column(name, "date", f"dates, {days.form}", days.form)
    rows = len(codes)
    if rows >= LEAST_IDENTIFIERS and len(distinct) > max(rows / 2, MOST_ONE_HOT):
        what = "no text twice" if len(distinct) == rows else f"{len(distinct)} texts in {rows} rows"
        return Column(name, "ignored", f"{what}, as an identifier")
    return Column(name, "category", _count(distinct))


def slips(read: Values) -> np.ndarray:
    """Return the rows of a column of numbers that hold text; other bad ones are too large."""
    rows: np.ndarray = read.bad[np.isnan(read.numbers[read.bad])]
    return rows


def are_few(rows: np.ndarray, codes: np.ndarray) -> bool:
    """Return whether text in some rows of a column of numbers is a slip, and no category among others.

    Args:
        rows: the rows with text.
        codes: the distinct values of all rows, as indices.
    """
    different, distinct = len(set(codes[rows].tolist())), int(codes.max()) + 1
    return len(rows) < len(codes) / 2 and different <= max(FEW_SLIPS * distinct, 1) and different < distinct / 2


def _of_numbers(table: Table, column: Column, values: Values) -> Column:
    """Return a column of numbers, which may be ignored."""
    _refuse(table, column.name, values, "a finite number up to 1e150")
    n = values.numbers
    if np.isnan(n).any():
        return column
    if (n == n[0]).all():
        return Column(column.name, "ignored", f"has one value, {n[0]:g}")
    if len(n) >= LEAST_IDENTIFIERS and (n == np.floor(n)).all():
        if n[0] in (0, 1) and (np.diff(n) == 1).all():
            return Column(column.name, "ignored", "a running number")
        if _IDENTIFIER.fullmatch(column.name) and np.diff(np.sort(n)).all():
            return Column(column.name, "ignored", "no number twice, and the name of an identifier")
    return column


def _numeric(table: Table, column: Column) -> Column:
    """Return a column that is taken for numbers or dates, with the form of its text."""
    values = column.read(table.frame[column.name])
    expected = "a finite number up to 1e150" if column.role == "number" else "a date"
    _refuse(table, column.name, values, expected)
    return Column(column.name, column.role, column.why, values.form or column.form)


def _refuse(table: Table, name: str, values: Values, expected: str) -> None:
    if len(values.bad):
        raise unreadable(table, name, values.bad, expected, f"mend it, or say --as {name}=ignore")


def unreadable(table: Table, name: str, rows: np.ndarray, expected: str, remedy: str) -> DataError:
    """Return the error for values that cannot be read, with the first lines."""
    verb = "is" if len(rows) == 1 else "are"
    return DataError(f"{table.name}, column {name!r}: {described(table, name, rows)} {verb} not {expected}; {remedy}.")


def described(table: Table, name: str, rows: np.ndarray) -> str:
    """Return the first of some values with their lines, such as "'x' (line 3), 'y' (line 7) and 2 more"."""
    first = [f"{str(table.frame[name].iloc[row])!r} ({table.place(row)})" for row in rows[:3]]
    return ", ".join(first) + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")


def _count(distinct: list[str]) -> str:
    return (
        listing([shortened(text, LONGEST_VALUE) for text in distinct])
        if len(distinct) <= 3
        else f"{len(distinct)} texts"
    )

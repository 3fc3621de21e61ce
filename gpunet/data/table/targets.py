"""Read the target column of a table, for training and for evaluation."""

from __future__ import annotations

import re

import numpy as np

from gpunet.data.labels import Task, encode_target, infer_task, listing
from gpunet.data.table.describing import near_duplicates
from gpunet.data.table.inferring import are_few, expected_number, slips, unreadable
from gpunet.data.table.numerals import canonical, is_plain
from gpunet.data.table.tables import Table
from gpunet.data.table.units import in_unit
from gpunet.errors import DataError, warn

_NAME = re.compile(r"0\d+|\d{16,}")
"""Digits that are the name of a class, not a number: 01 is not 1."""

MOST_UNIQUE = 20
"""Maximum number of distinct texts in a target where most texts occur once; more are no classes."""


def new_targets(table: Table, name: str, task: Task | None) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return the targets in a column, and the class names (None for regression).

    Warns:
        GpunetWarning: names of classes differ only in case or blanks.

    Raises:
        DataError: missing targets, text among numbers, a constant target, or unique text; the message names the lines.
    """
    codes, distinct = table.texts(name)
    _check_none_missing(table, name, codes < 0)
    read = table.numbers(name)
    text = slips(read)
    if len(read.bad) and (task == "regression" or not len(text)):
        raise unreadable(table, name, read.bad, expected_number(read), "correct it, or remove the row")
    if not len(text):
        _check_none_missing(table, name, np.isnan(read.numbers))
    if len(text) and task is None and are_few(text, codes):
        raise unreadable(table, name, text, "a number like most others", "correct it, or use --task classification")
    if len(text) and table.dates(name) is not None:
        found = f"holds dates, such as {distinct[0]!r}"
        raise DataError(f"{table.name}: the target {name!r} {found}; choose another target.")
    named = len(text) or (
        (task or infer_task(read.numbers)) == "classification"
        and any(_NAME.fullmatch(text) or not is_plain(text) for text in distinct)
    )
    values = np.array([_truth(text) for text in distinct])[codes] if named else read.numbers
    if len(distinct) == 1:
        raise DataError(f"{table.name}: the target {name!r} is {distinct[0]!r} in all rows; there is nothing to learn.")
    if len(text) and len(distinct) > max(len(codes) / 2, MOST_UNIQUE):
        raise DataError(
            f"{table.name}: the target {name!r} has {len(distinct)} distinct texts in {len(codes)} rows, which are no "
            "classes; choose another target."
        )
    if named and (message := near_duplicates(name, distinct)):
        warn(f"{table.name}: {message}")
    return encode_target(values, task)


def _truth(text: str) -> str:
    """Return one spelling for all spellings of a truth value; other text unchanged."""
    return text.capitalize() if text.lower() in ("true", "false") else text


def known_targets(table: Table, name: str, classes: tuple[str, ...] | None, form: str = "") -> np.ndarray:
    """Return the targets in a column: class indices int64 (n,), or values float64 (n,) if `classes` is None."""
    if classes is None:
        values, bad, _ = table.numbers(name, form or table.decimal or ".")
        missing, expected = np.isnan(values), f"a finite number{in_unit(form)}"
    else:
        codes, distinct = table.texts(name)
        index = {known: i for i, known in enumerate(classes)}
        found = [index.get(text, index.get(canonical(text), -1)) for text in distinct]
        values, missing = np.array([*found, -1])[codes], codes < 0
        bad, expected = np.flatnonzero((values < 0) & ~missing), f"among the classes {listing(classes)}"
    if len(bad):
        raise unreadable(table, name, bad, expected, "correct it, or remove the row")
    _check_none_missing(table, name, missing)
    return values


def _check_none_missing(table: Table, name: str, missing: np.ndarray) -> None:
    """Raise `DataError` if targets are missing."""
    rows = np.flatnonzero(missing)
    if len(rows):
        places = ", ".join(table.place(row) for row in rows[:3])
        more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
        raise DataError(
            f"{table.name}: the target {name!r} has no value in {places}{more}; remove these rows, or choose another "
            "target."
        )

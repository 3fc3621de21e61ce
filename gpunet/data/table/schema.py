"""How the columns of a table become features, at training and again at prediction."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from gpunet.data.labels import listing
from gpunet.data.table.columns import Column, Role
from gpunet.data.table.inferring import described, infer, unreadable
from gpunet.data.table.reading import Table, as_table, read_table
from gpunet.data.table.sniffing import AS_FOUND, ReadOptions
from gpunet.data.table.values import canonical, numbers, texts
from gpunet.errors import ArgumentError, DataError, GpunetWarning
from gpunet.formats import read_as

Missing: TypeAlias = Literal["median", "mean", "drop", "error"]

VERSION = 2
MOST_LINES = 40


@dataclass(frozen=True)
class TableSchema:
    """How the columns of a table become features, so that another table is encoded in the same way.

    A number is one feature, a date three: days since 1970, sine and cosine of the day of the year. A missing one is
    filled in, and one more feature tells that it was missing, where training rows have that. A category of up to 8
    values is a feature (0 or 1) for each; of more, the index of the value, -1 where it is unknown, as
    `gn.EntityEmbedding` takes it; these are the last features. A value in one training row alone counts as unknown
    there, so that the vector of the unknown is trained. Missing text is a category of its own.

    Attributes:
        columns: all columns but the target, in the table's order, also those that are ignored.
        target: the column to predict.
        missing: what is done about missing numbers and dates: their "median" or "mean" is filled in, rows that lack
            one are left out of training ("drop"), or they are refused ("error").
        reading: how text files are read.
    """

    columns: tuple[Column, ...]
    target: str
    missing: Missing = "median"
    reading: ReadOptions = AS_FOUND

    @classmethod
    def fit(
        cls,
        table: Any,
        target: str | None = None,
        rows: np.ndarray | None = None,
        *,
        roles: Mapping[str, Role] | None = None,
        columns: Collection[str] = (),
        drop: Collection[str] = (),
        missing: Missing = "median",
        reading: ReadOptions | None = None,
    ) -> TableSchema:
        """Return the schema of a table: roles by all of its rows, medians and categories by the training rows alone.

        Args:
            table: a `Table`, or a data frame of pandas, polars or pyarrow.
            target: the column to predict; the last one by default.
            rows: the positions of the training rows; all by default.
            roles: the roles of columns that are not to be told by their values.
            columns: the columns to learn from; all by default.
            drop: the columns to ignore.
            missing: see `TableSchema`.
            reading: how the table's file was read.

        Warns:
            GpunetWarning: which columns are ignored, and why.

        Raises:
            ArgumentError: an unknown role or `missing`.
            DataError: a column that is not there, values that cannot be read (the message names their lines), missing
                ones where that is an error, or no column left to learn from.
        """
        table = as_table(table)
        target = table.frame.columns[-1] if target is None else target
        asked = _asked(table, target, roles or {}, columns, drop)
        if missing not in get_args(Missing):
            raise ArgumentError(f"missing={missing!r}: use {', '.join(map(repr, get_args(Missing)))}.")
        inferred = [infer(table, name, asked.get(name)) for name in table.frame.columns if name != target]
        if not any(column.role != "ignored" for column in inferred):
            raise DataError(
                f"{table.name}: no column to learn from beside the target {target!r}"
                + (f" ({_reasons(inferred)})." if inferred else "; the separator may be another one (--sep).")
            )
        _warn(table, [column for column in inferred if column.role == "ignored" and column.name not in asked])
        center = np.mean if missing == "mean" else np.median
        frame = table.frame if rows is None else table.frame.iloc[rows]
        fitted = tuple(column.fitted(frame[column.name], center) for column in inferred)
        return cls(fitted, target, missing, reading or ReadOptions(header=table.header))

    @property
    def features(self) -> list[Column]:
        """The columns that become features, those of embedded categories last."""
        return sorted((c for c in self.columns if c.role != "ignored"), key=lambda c: c.embedded)

    @property
    def feature_names(self) -> list[str]:
        """The name of each feature, in the order of the columns of X."""
        return [name for column in self.features for name in column.feature_names]

    @property
    def category_sizes(self) -> list[int]:
        """How many categories each of the last features has an index of; they are not standardised."""
        return [len(column.categories) for column in self.features if column.embedded]

    def read(self, path: str | Path) -> np.ndarray:
        """Return the samples of a table's file, or of standard input ("-"): float64 (n, features).

        Columns are found by name, in any order; columns that the schema doesn't know, and the target, are ignored.
        Raises as `read_table` and `encode` do.
        """
        return self.encode(self.open(path))

    def read_labelled(self, path: str | Path, classes: tuple[str, ...] | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples of a table's file, as `read` does, and its targets.

        Args:
            path: a file that has the target's column too.
            classes: the class names, for targets int64 (n,) that index them; None for regression: float64 (n,).

        Raises:
            DataError: as for `read`, or a target that is missing or not among the classes.
        """
        table = self.open(path, [] if classes is None else [self.target])
        if self.target not in table.frame:
            raise DataError(f"{table.name}: no column {self.target!r}, the target; evaluating needs it.")
        table = table.take(self.complete(table)) if self.missing == "drop" else table
        return self.encode(table), self.targets(table, classes)

    def open(self, path: str | Path, as_text: Collection[str] = ()) -> Table:
        """Return the table in a file, or in standard input ("-"), as `encode` takes it.

        Args:
            path: as for `read_table`.
            as_text: columns that keep the text of their cells.
        """
        text = [column.name for column in self.columns if column.role == "category"]
        names = [column.name for column in self.columns]
        return read_table(path, self.reading, text=[*text, *as_text], names=names)

    def encode(self, table: Any) -> np.ndarray:
        """Return the samples of a table or data frame: float64 (n, features).

        Raises:
            DataError: everything in which the table does not fit: columns that are missing, values that are no numbers
                or dates, with their lines, and missing ones where the schema allows none.
        """
        table = as_table(table)
        lacking = [column.name for column in self.features if column.name not in table.frame]
        problems = []
        if lacking:
            there = listing([*table.frame.columns])
            problems.append(f"no column {listing(lacking)}; the columns are {there}")
        X = np.empty((len(table), len(self.feature_names)))
        first = 0
        for column in self.features:
            width = len(column.feature_names)
            if column.name in table.frame:
                values, found = self._values(table, column)
                problems += found
                X[:, first : first + width] = column.features(values)
            first += width
        if problems:
            raise DataError(f"{table.name}: {'; '.join(problems)}.")
        return X

    def _values(self, table: Table, column: Column) -> tuple[np.ndarray, list[str]]:
        """Return the values of a column, and what does not fit about them."""
        series = table.frame[column.name]
        if column.role == "category":
            return column.indices(series), []
        values, bad, _ = column.read(series)
        problems = []
        if len(bad):
            problems.append(f"column {column.name!r} holds a {column.role}, not {described(table, column.name, bad)}")
        missing = np.flatnonzero(np.isnan(values))
        if len(missing) and self.missing in ("drop", "error"):
            first = ", ".join(table.place(row) for row in np.setdiff1d(missing, bad)[:3])
            if first:
                problems.append(f"column {column.name!r} has no value in {first}")
        return values, problems

    def complete(self, table: Any) -> np.ndarray:
        """Return the positions of the rows that lack no number and no date."""
        table = as_table(table)
        whole = np.ones(len(table), bool)
        for column in self.features:
            if column.role != "category" and column.name in table.frame:
                whole &= ~np.isnan(column.read(table.frame[column.name]).numbers)
        return np.flatnonzero(whole)

    def targets(self, table: Table, classes: tuple[str, ...] | None) -> np.ndarray:
        """Return the targets of a table: indices of their classes, int64 (n,), or values float64 (n,).

        Raises:
            DataError: targets that are missing, no finite numbers or of no known class; the message names their lines.
        """
        name, series = self.target, table.frame[self.target]
        if classes is None:
            values, bad, _ = numbers(series)
            missing = np.isnan(values)
        else:
            codes, distinct = texts(series)
            index = {known: i for i, known in enumerate(classes)}
            found = [index.get(text, index.get(canonical(text), -1)) for text in distinct]
            values, missing = np.array([*found, -1])[codes], codes < 0
            bad = np.flatnonzero((values < 0) & ~missing)
        if len(bad):
            problem = "is not a finite number" if classes is None else f"is not among the classes {listing(classes)}"
            raise unreadable(table, name, bad, problem, "mend it, or leave out the row")
        check_no_target_missing(table, name, missing)
        return values

    def describe(self) -> str:
        """Return a table for people: each column with its role, why, and how many values are missing."""
        shown, more = self.columns[:MOST_LINES], Counter(column.role for column in self.columns[MOST_LINES:])
        rows: list[tuple[str, str, str, str]] = [("column", "role", "why", "missing")]
        rows += [(c.name, c.role, _reason(c, self.missing), str(c.missing or "")) for c in shown]
        rows.append((self.target, "target", "", ""))
        cells = [[_shortened(name, 24), role, _shortened(why, 60), missing] for name, role, why, missing in rows]
        widths = [max(map(len, cells_of)) for cells_of in zip(*cells, strict=True)]
        lines = ["  ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)).rstrip() for line in cells]
        if more:
            lines.insert(-1, f"and {', '.join(f'{count} {role}' for role, count in more.items())}")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a dictionary that `json.dumps` takes."""
        return {"version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TableSchema:
        """Return the schema that `to_json` wrote, also after a trip through JSON text.

        Raises:
            ArgumentError: one of another version.
            ValueError: one of another format.
        """
        if data.get("version") != VERSION:
            raise ArgumentError(f"its table schema is of version {data.get('version', 1)}, not {VERSION}; train again.")
        return read_as(cls, {name: value for name, value in data.items() if name != "version"}, "schema")


def check_no_target_missing(table: Table, name: str, missing: np.ndarray) -> None:
    """Raise `DataError` where targets are missing."""
    rows = np.flatnonzero(missing)
    if len(rows):
        places = ", ".join(table.place(row) for row in rows[:3])
        more = f" and {len(rows) - 3} more" if len(rows) > 3 else ""
        raise DataError(
            f"{table.name}: the target {name!r} has no value in {places}{more}; leave out such rows, or choose another "
            "target."
        )


def _asked(
    table: Table, target: str, roles: Mapping[str, Role], columns: Collection[str], drop: Collection[str]
) -> dict[str, Role]:
    """Return the roles that were asked for by column."""
    unknown = [name for name in (target, *roles, *columns, *drop) if name not in table.frame]
    if unknown:
        there = listing([*table.frame.columns])
        raise DataError(f"{table.name}: no column {listing(unknown)}; the columns are {there}.")
    for name, role in roles.items():
        if role not in get_args(Role):
            raise ArgumentError(f"column {name!r}: role {role!r}; use {', '.join(map(repr, get_args(Role)))}.")
    if target in drop:
        raise ArgumentError(f"the target {target!r} cannot be dropped.")
    left_out: set[str] = set(drop) | (set(table.frame.columns) - {*columns} if columns else set())
    return {**roles, **dict.fromkeys(left_out, "ignored")}


def _warn(table: Table, ignored: list[Column]) -> None:
    if ignored:
        text = f"{table.name}: ignored columns: {_reasons(ignored)}. To use one, give it a role (--as NAME=category)."
        warnings.warn(text, GpunetWarning, stacklevel=3)


def _reasons(columns: list[Column]) -> str:
    more = f" and {len(columns) - 10} more" if len(columns) > 10 else ""
    return "; ".join(f"{column.name!r} ({column.why})" for column in columns[:10]) + more


def _reason(column: Column, missing: Missing) -> str:
    """Return why a column has its role, and what becomes of it."""
    if column.role == "category":
        how = "embedded" if column.embedded else "one-hot"
        return f"{column.why}; {how}"
    filled = column.indicator and missing in ("median", "mean")
    return f"{column.why}; missing: {missing} and indicator" if filled else column.why


def _shortened(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"

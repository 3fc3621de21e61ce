"""How the columns of a table become features, at training and again at prediction."""

from __future__ import annotations

import json
import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from gpunet.data.labels import listing
from gpunet.data.table.columns import Column, Role
from gpunet.data.table.describing import described_columns, ignored_columns
from gpunet.data.table.inferring import asked_roles, described, infer
from gpunet.data.table.reading import is_parquet, read_table
from gpunet.data.table.sniffing import AS_FOUND, ReadOptions
from gpunet.data.table.tables import Table, as_table
from gpunet.data.table.targets import known_targets
from gpunet.errors import ArgumentError, DataError, GpunetWarning
from gpunet.formats import read_as

Missing: TypeAlias = Literal["median", "mean", "drop", "error"]

VERSION = 2


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
        reading: how text files are read, by the decimal mark of the training file.
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
            ArgumentError: an unknown role or `missing`, or a role for a column that is not learned from.
            DataError: a column that is not there, values that cannot be read (the message names their lines), missing
                ones where that is an error, or no column left to learn from.
        """
        table = as_table(table)
        target = table.frame.columns[-1] if target is None else target
        asked = asked_roles(table, target, roles or {}, columns, drop)
        if missing not in get_args(Missing):
            raise ArgumentError(f"missing={missing!r}: use {', '.join(map(repr, get_args(Missing)))}.")
        inferred = [infer(table, name, asked.get(name)) for name in table.frame.columns if name != target]
        if not any(column.role != "ignored" for column in inferred):
            raise DataError(
                f"{table.name}: no column to learn from but the target {target!r}"
                + (f"; {ignored_columns(inferred)}" if inferred else "; the separator may be another one (--sep).")
            )
        ignored = [column for column in inferred if column.role == "ignored" and column.name not in asked]
        if ignored:
            warnings.warn(f"{table.name}: {ignored_columns(ignored)}", GpunetWarning, stacklevel=2)
        center = np.mean if missing == "mean" else np.median
        taken = slice(None) if rows is None else rows
        fitted = tuple(column.fitted(table, taken, center) for column in inferred)
        schema = cls(fitted, target, missing, reading or ReadOptions(decimal=table.decimal, header=table.header))
        if not schema.feature_names:
            raise DataError(f"{table.name}: no text comes in two training rows, and there are no other columns.")
        return schema

    @classmethod
    def of_numbers(cls, table: Table, target: str = "") -> TableSchema:
        """Return the schema of a table of numbers, whose columns but the target are features as they are."""
        columns = tuple(Column(name) for name in table.frame.columns if name != target)
        return cls(columns, target, "error")

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
        return self.encode(table), known_targets(table, self.target, classes)

    def open(self, path: str | Path, as_text: Collection[str] = ()) -> Table:
        """Return the table in a file, or in standard input ("-"), as `encode` takes it.

        Args:
            path: as for `read_table`.
            as_text: columns that keep the text of their cells.
        """
        text = [column.name for column in self.columns if column.role == "category"]
        names = [column.name for column in self.columns]
        reading = AS_FOUND if is_parquet(path) else replace(self.reading, decimal=None)
        return read_table(path, reading, text=[*text, *as_text], names=names, likely_decimal=self.reading.decimal)

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
        if column.role == "category":
            return column.indices(table), []
        values, bad, _ = column.read(table)
        problems = []
        if len(bad):
            unit = f" in {column.form[1:]}" if column.role == "number" and column.form[1:] else ""
            found = described(table, column.name, bad)
            problems.append(f"column {column.name!r} holds a {column.role}{unit}, not {found}")
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
                whole &= ~np.isnan(column.read(table).numbers)
        return np.flatnonzero(whole)

    def describe(self) -> str:
        """Return a table for people: each column with its role, why, and how many values are missing."""
        return described_columns(self.columns, self.target, self.missing)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as JSON, which `from_json` reads."""
        schema: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {"version": VERSION, **schema}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TableSchema:
        """Return the schema that `to_json` wrote.

        Raises:
            ArgumentError: one of another version.
            ValueError: something is missing, unknown or of another type.
        """
        if data.get("version") != VERSION:
            raise ArgumentError(f"its table schema is of version {data.get('version', 1)}, not {VERSION}; train again.")
        return read_as(cls, {name: value for name, value in data.items() if name != "version"}, "schema")

"""Encode the columns of a table as features, in the same way at training and prediction."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from gpunet.data.table.columns import Column, Role
from gpunet.data.table.dates import doubt
from gpunet.data.table.describing import described_columns, ignored_columns, near_duplicates
from gpunet.data.table.encoding import complete_rows, encoded
from gpunet.data.table.inferring import asked_roles, infer
from gpunet.data.table.parquet import is_parquet
from gpunet.data.table.reading import read_table
from gpunet.data.table.tables import Table, as_table
from gpunet.data.table.targets import known_targets
from gpunet.data.table.text_format import AS_FOUND, ReadOptions
from gpunet.errors import ArgumentError, DataError, warn
from gpunet.formats import read_as

Missing: TypeAlias = Literal["median", "mean", "drop", "error"]

VERSION = 2


@dataclass(frozen=True)
class TableSchema:
    """How the columns of a table are encoded as features.

    - A number is one feature. A date is three: days since 1970, sine and cosine of the day of the year. If training
      rows lack a value, an additional feature is 1 where it is missing.
    - A category with up to 8 values is one-hot encoded. With more values it is one feature, an index for
      `gn.EntityEmbedding`. These features come last. The index of an unknown value is -1; so is that of a value with
      only one training row, so that the embedding of unknown values is trained.
    - Missing text is a category of its own.

    Attributes:
        columns: all columns but the target, in the order of the table, ignored ones included.
        target: the column to predict.
        missing: "median" or "mean" of the training rows replaces missing numbers and dates; "drop" removes their rows
            from training; "error" rejects them.
        reading: the format of text files.
        target_form: the target's `Column.form`.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"color": ["red", "blue", "red", "blue"], "y": [0, 1, 0, 1]})
        >>> schema = gn.data.TableSchema.fit(frame, target="y")
        >>> schema.feature_names, schema.encode(frame[:1])
        (['color=blue', 'color=red'], array([[0., 1.]]))
    """

    columns: tuple[Column, ...]
    target: str
    missing: Missing = "median"
    reading: ReadOptions = AS_FOUND
    target_form: str = ""

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
        """Infer roles from all rows, fill values and categories from the training rows.

        Args:
            table: a `Table`, or a data frame of pandas, polars or pyarrow.
            target: the column to predict; by default the last one.
            rows: the positions of the training rows; by default all.
            roles: the roles of columns, instead of the inferred ones.
            columns: the columns to learn from; by default all.
            missing: see `TableSchema`.

        Warns:
            GpunetWarning: columns are ignored, dates are ambiguous, or texts differ only in case or blanks; the message
                says which and why.

        Raises:
            ArgumentError: an unknown role or `missing`, or a role for an ignored column.
            DataError: an unknown column, unreadable values (the message names their lines), or no column to learn from.
        """
        table = as_table(table)
        target = table.frame.columns[-1] if target is None else target
        asked = asked_roles(table, target, roles or {}, columns, drop)
        if missing not in get_args(Missing):
            raise ArgumentError(f"missing={missing!r}: use {', '.join(map(repr, get_args(Missing)))}.")
        center = np.mean if missing == "mean" else np.median
        taken = slice(None) if rows is None else rows
        fitted = tuple(
            infer(table, name, asked.get(name), wanted=name in columns).fitted(table, taken, center)
            for name in table.frame.columns
            if name != target
        )
        if all(column.role == "ignored" for column in fitted):
            raise DataError(
                f"{table.name}: no column to learn from but the target {target!r}"
                + (f"; {ignored_columns(fitted)}" if fitted else "; the separator may be another one (--sep).")
            )
        ignored = [column for column in fitted if column.role == "ignored" != asked.get(column.name)]
        messages = [ignored_columns(ignored)] if ignored else []
        for column in fitted:
            if column.role == "date" and (what := doubt(table.texts(column.name)[1], column.form)):
                messages.append(f"column {column.name!r}: {what}.")
        named = [column.name for column in fitted if column.role == "category"]
        messages += filter(None, (near_duplicates(name, table.texts(name)[1]) for name in named))
        for message in messages:
            warn(f"{table.name}: {message}")
        form = table.numbers(target).form
        found = ReadOptions(decimal=table.decimal, header=table.header)
        schema = cls(fitted, target, missing, reading or found, form)
        if not schema.feature_names:
            raise DataError(f"{table.name}: no text occurs in two training rows, and there are no other columns.")
        return schema

    @classmethod
    def of_numbers(cls, table: Table, target: str = "") -> TableSchema:
        """Return a schema in which each column but the target is one unchanged feature."""
        columns = tuple(Column(name) for name in table.frame.columns if name != target)
        return cls(columns, target, "error")

    @property
    def features(self) -> list[Column]:
        """The columns that are not ignored; embedded categories come last."""
        return sorted((c for c in self.columns if c.role != "ignored"), key=lambda c: c.embedded)

    @property
    def feature_names(self) -> list[str]:
        """The name of each feature, in the order of the columns of X."""
        return [name for column in self.features for name in column.feature_names]

    @property
    def category_sizes(self) -> list[int]:
        """The number of categories of each embedded feature; these features are not standardised."""
        return [len(column.categories) for column in self.features if column.embedded]

    def read(self, path: str | Path) -> np.ndarray:
        """Return the samples float64 (n, features) in a file, or in standard input ("-").

        Columns are found by name, in any order; unknown columns and the target are ignored. Errors as for `read_table`
        and `encode`.
        """
        return self.encode(self.open(path))

    def read_labelled(self, path: str | Path, classes: tuple[str, ...] | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples in a file, like `read`, and its targets; warn of rows that are left out.

        Args:
            classes: the class names, for targets that are class indices int64 (n,); None for float64 values (n,).

        Raises:
            DataError: as for `read`, or a target is missing or not among the classes.
        """
        table, y = self.open_labelled(path, classes)
        return self.encode(table), y

    def open_labelled(self, path: str | Path, classes: tuple[str, ...] | None) -> tuple[Table, np.ndarray]:
        """Return the table in a file, for `encode`, and its targets; arguments and errors as for `read_labelled`."""
        table = self.open(path, [] if classes is None else [self.target])
        if self.target not in table.frame:
            raise DataError(f"{table.name}: no column {self.target!r}, the target; evaluating needs it.")
        table = table.take(self.complete(table)) if self.missing == "drop" else table
        return table, known_targets(table, self.target, classes, self.target_form)

    def open(self, path: str | Path, as_text: Collection[str] = ()) -> Table:
        """Return the table in a file, or in standard input ("-"), for `encode`.

        Args:
            as_text: columns to read as text.
        """
        text = [column.name for column in self.columns if column.role == "category"]
        names = [column.name for column in self.columns]
        known = AS_FOUND if is_parquet(path) else ReadOptions(header=self.reading.header)
        return read_table(path, known, text=[*text, *as_text], names=names, likely=self.reading)

    def encode(self, table: Any) -> np.ndarray:
        """Return the samples float64 (n, features) of a table or data frame.

        Warns:
            GpunetWarning: most values of a category are unknown.

        Raises:
            DataError: the table does not match; the message lists all missing columns, unreadable values with their
                lines, and missing values if the schema allows none.
        """
        return encoded(as_table(table), self.features, self.missing)

    def complete(self, table: Any) -> np.ndarray:
        """Return the positions of the rows in which no number or date is missing.

        Warns:
            GpunetWarning: the number of other rows.
        """
        return complete_rows(as_table(table), self.features)

    def describe(self) -> str:
        """Return a table for the terminal: each column's role, the reason, and the number of missing values."""
        return described_columns(self.columns, self.target, self.missing)

    def to_json(self) -> dict[str, Any]:
        """Return the schema as JSON for `from_json`."""
        schema: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return {"version": VERSION, **schema}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TableSchema:
        """Return the schema that `to_json` wrote.

        Another version raises `ArgumentError`, a wrong field `ValueError`.
        """
        if data.get("version") != VERSION:
            raise ArgumentError(f"its table schema is of version {data.get('version', 1)}, not {VERSION}; train again.")
        return read_as(cls, {name: value for name, value in data.items() if name != "version"}, "schema")

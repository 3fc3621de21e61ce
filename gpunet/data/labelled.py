"""A table with its target, of which data sets are made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gpunet.data.dataset import Dataset
from gpunet.data.labels import Task, encode_target, infer_task, listing
from gpunet.data.table.columns import Role
from gpunet.data.table.inferring import unreadable
from gpunet.data.table.reading import Table, read_table
from gpunet.data.table.schema import Missing, TableSchema, check_no_target_missing
from gpunet.data.table.sniffing import AS_FOUND, ReadOptions
from gpunet.data.table.values import numbers, texts
from gpunet.errors import DataError


@dataclass(frozen=True)
class TableOptions:
    """How a table is read, and what its columns are taken for; see `ReadOptions` and `TableSchema.fit`."""

    reading: ReadOptions = AS_FOUND
    columns: Sequence[str] = ()
    drop: Sequence[str] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    missing: Missing = "median"


@dataclass(frozen=True, eq=False, repr=False)
class LabelledTable:
    """A table with its target, of which data sets are made: one for each division into parts.

    Attributes:
        table: all rows.
        target: the name of the target's column.
        y: the targets, as in a `Dataset`.
        classes: the class names; None for regression.
        options: what the columns are taken for.
    """

    table: Table
    target: str
    y: np.ndarray
    classes: tuple[str, ...] | None
    options: TableOptions

    @classmethod
    def read(
        cls, source: str | Path, target: str | None, task: Task | None, options: TableOptions | None = None
    ) -> LabelledTable:
        """Read a table's file and its target.

        Args:
            source: as for `read_table`.
            target: the column to predict; the last one by default.
            task: what the target is; as `gpunet.data.load` decides by default.
            options: how the table is read; by default as its file shows.

        Raises:
            DataError: a file that cannot be read; a target that is not there, lacks values, or is always the same.
        """
        options = options or TableOptions()
        text = [name for name, role in options.roles.items() if role == "category"]
        table = read_table(source, options.reading, text=text)
        target = table.frame.columns[-1] if target is None else target
        if target not in table.frame:
            raise DataError(f"{table.name}: no column {target!r}; the columns are {listing([*table.frame.columns])}.")
        y, classes = _targets(table, target, task)
        whole = cls(table, target, y, classes, options)
        return whole._complete() if options.missing == "drop" else whole

    def dataset(self, train_rows: np.ndarray | None = None) -> Dataset:
        """Return all rows as features, by the statistics of the training rows; all rows by default.

        Raises as `TableSchema.fit` does.
        """
        schema = self._schema(train_rows)
        name = Path(self.table.name).name.split(".")[0]
        return Dataset(schema.encode(self.table), self.y, self.classes, name, schema, found=self.table.found)

    def _schema(self, train_rows: np.ndarray | None) -> TableSchema:
        o = self.options
        reading = ReadOptions(o.reading.sep, o.reading.decimal, o.reading.encoding, self.table.header)
        return TableSchema.fit(
            self.table,
            self.target,
            train_rows,
            roles=o.roles,
            columns=o.columns,
            drop=o.drop,
            missing=o.missing,
            reading=reading,
        )

    def _complete(self) -> LabelledTable:
        """Return the rows that lack no number."""
        rows = self._schema(None).complete(self.table)
        if not len(rows):
            raise DataError(f"{self.table.name}: every row lacks a number or a date; with 'drop' none is left.")
        return LabelledTable(self.table.take(rows), self.target, self.y[rows], self.classes, self.options)


def _targets(table: Table, name: str, task: Task | None) -> tuple[np.ndarray, tuple[str, ...] | None]:
    """Return the targets and the class names of a table."""
    series = table.frame[name]
    codes, distinct = texts(series)
    check_no_target_missing(table, name, codes < 0)
    read = numbers(series)
    slips = len(set(codes[read.bad].tolist()))
    is_text = slips > 0
    if task == "regression" and slips:
        raise unreadable(table, name, read.bad, "is not a finite number", "regression needs numbers")
    if slips and task is None and slips < len(distinct) / 2:
        raise unreadable(
            table, name, read.bad, "is not a finite number, as most are", "mend it, or say --task classification"
        )
    values = np.array(distinct)[codes] if is_text and task != "regression" else read.numbers
    if len(distinct) == 1:
        raise DataError(f"{table.name}: the target {name!r} is {distinct[0]!r} in all rows; there is nothing to learn.")
    if is_text and (task or infer_task(values)) == "classification" and len(distinct) > max(len(codes) / 2, 20):
        raise DataError(
            f"{table.name}: the target {name!r} has {len(distinct)} distinct texts in {len(codes)} rows, which are no "
            "classes; choose another target."
        )
    return encode_target(values, task)

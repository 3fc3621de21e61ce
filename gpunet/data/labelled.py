"""A table with its target, of which data sets are made."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gpunet.data.dataset import Dataset
from gpunet.data.labels import Task, listing
from gpunet.data.table.columns import Role
from gpunet.data.table.inferring import why_identifier
from gpunet.data.table.reading import read_table
from gpunet.data.table.schema import Missing, TableSchema
from gpunet.data.table.sniffing import AS_FOUND, ReadOptions
from gpunet.data.table.tables import Table
from gpunet.data.table.targets import new_targets
from gpunet.errors import DataError, GpunetWarning


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

        Warns:
            GpunetWarning: the target looks like an identifier.

        Raises:
            DataError: a file that cannot be read; a target that is not there, lacks values, or is always the same.
        """
        options = options or TableOptions()
        text = [name for name, role in options.roles.items() if role == "category"]
        table = read_table(source, options.reading, text=text)
        target = table.frame.columns[-1] if target is None else target
        if target not in table.frame:
            raise DataError(f"{table.name}: no column {target!r}; the columns are {listing([*table.frame.columns])}.")
        y, classes = new_targets(table, target, task)
        if classes is None and (why := why_identifier(target, y)):
            message = f"{table.name}: the target {target!r} looks like an identifier ({why}); another one may be meant."
            warnings.warn(message, GpunetWarning, stacklevel=2)
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
        reading = ReadOptions(o.reading.sep, self.table.decimal, o.reading.encoding, self.table.header)
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
        """Return the rows that lack no number and no date."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GpunetWarning)  # which `dataset` gives
            rows = self._schema(None).complete(self.table)
        if not len(rows):
            raise DataError(f"{self.table.name}: every row lacks a number or a date; with 'drop' none is left.")
        return LabelledTable(self.table.take(rows), self.target, self.y[rows], self.classes, self.options)

"""Read a table with its target column; encode it once the training rows are known."""

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
from gpunet.data.table.tables import Table
from gpunet.data.table.targets import new_targets
from gpunet.data.table.text_format import AS_FOUND, ReadOptions
from gpunet.errors import DataError, GpunetWarning, warn


@dataclass(frozen=True)
class TableOptions:
    """How to read a table and use its columns; see `ReadOptions` and `TableSchema.fit`.

    Example:
        >>> import pandas as pd
        >>> pd.DataFrame({"id": [7, 8], "size": [1.5, 2.5], "price": [10.5, 20.5]}).to_csv("houses.csv", index=False)
        >>> options = gn.data.TableOptions(drop=["id"])
        >>> gn.data.load("houses.csv", target="price", table=options).schema.feature_names
        ['size']
    """

    reading: ReadOptions = AS_FOUND
    columns: Sequence[str] = ()
    drop: Sequence[str] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    missing: Missing = "median"


@dataclass(frozen=True, eq=False, repr=False)
class LabelledTable:
    """A table with its target column, before the schema is fitted to the training rows.

    Attributes:
        y: the targets, as in a `Dataset`.
        classes: the class names; None for regression.

    Example:
        >>> import pandas as pd
        >>> pd.DataFrame({"size": [1.0, np.nan, 5.0], "price": [10.5, 20.5, 15.5]}).to_csv("houses.csv", index=False)
        >>> table = gn.data.LabelledTable.read("houses.csv", target="price", task="regression")
        >>> table.dataset(train_rows=np.array([0, 1])).X  # the median is that of the training rows
        array([[1., 0.],
               [1., 1.],
               [1., 0.]])
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
        """Read the file of a table and its target column.

        Args:
            source: see `read_table`.
            target: the column to predict; by default the last one.
            task: by default inferred as in `gpunet.data.load`.

        Warns:
            GpunetWarning: the target looks like an identifier, or rows are left out.

        Raises:
            DataError: an unreadable file; an unknown or constant target, or one with missing values.
        """
        options = options or TableOptions()
        text = [name for name, role in options.roles.items() if role == "category"]
        table = read_table(source, options.reading, text=[*text, -1 if target is None else target])
        target = table.frame.columns[-1] if target is None else target
        if target not in table.frame:
            raise DataError(f"{table.name}: no column {target!r}; the columns are {listing([*table.frame.columns])}.")
        y, classes = new_targets(table, target, task)
        if classes is None and (why := why_identifier(target, y)):
            warn(
                f"{table.name}: the target {target!r} looks like an identifier ({why}); check that it is the column to "
                "predict."
            )
        if options.missing == "drop":
            table = _complete(table, target, options)
            y, classes = new_targets(table, target, task)
        return cls(table, target, y, classes, options)

    def dataset(self, train_rows: np.ndarray | None = None) -> Dataset:
        """Encode all rows by the schema of the training rows (by default all rows); errors as for `TableSchema.fit`."""
        schema = _schema(self.table, self.target, self.options, train_rows)
        name = Path(self.table.name).name.split(".")[0]
        X, rows = schema.encode(self.table), self.table.without_columns()
        return Dataset(X, self.y, self.classes, name, schema, found=self.table.found, rows=rows)


def _schema(table: Table, target: str, options: TableOptions, train_rows: np.ndarray | None = None) -> TableSchema:
    reading = ReadOptions(options.reading.sep, table.decimal, options.reading.encoding, table.header)
    return TableSchema.fit(
        table,
        target,
        train_rows,
        roles=options.roles,
        columns=options.columns,
        drop=options.drop,
        missing=options.missing,
        reading=reading,
    )


def _complete(table: Table, target: str, options: TableOptions) -> Table:
    """Return the rows in which no number and no date is missing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GpunetWarning)  # `dataset` warns
        schema = _schema(table, target, options)
    rows = schema.complete(table)
    if not len(rows):
        raise DataError(f"{table.name}: a number or date is missing in every row; missing='drop' leaves none.")
    return table.take(rows)

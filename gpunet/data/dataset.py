"""Hold samples, their targets, and the schema that encodes new rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from gpunet.arguments import counted
from gpunet.data.labels import Task
from gpunet.data.table.schema import TableSchema
from gpunet.data.table.tables import Table


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples with their targets.

    Attributes:
        X: features (n, features...): uint8 from IDX files, else float32 or float64.
        y: class indices int64 (n,), or regression targets (n,) or (n, targets), float32 or float64.
        classes: the class names by index; None for regression.
        schema: how a table's columns become features; None for other sources.
        test: the source's own test part, such as that of MNIST.
        found: the inferred format of a table's file, in one line.
        rows: the table without its columns, which names the rows in error messages; None for other sources.

    Example:
        >>> data = gn.data.Dataset(np.zeros((4, 2)), np.array([0, 1, 0, 1]), classes=("no", "yes"))
        >>> data
        <Dataset: 4 rows of shape (2,) in float64, 2 classes>
        >>> data.task, len(data.take([0, 1]))
        ('classification', 2)
    """

    X: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...] | None = None
    name: str = ""
    schema: TableSchema | None = None
    test: Dataset | None = None
    found: str = ""
    rows: Table | None = None

    def __len__(self) -> int:
        return len(self.X)

    def __repr__(self) -> str:
        what = f"values of shape {self.y.shape[1:]}" if self.classes is None else f"{len(self.classes)} classes"
        test = f", {counted(len(self.test), 'test row')}" if self.test is not None else ""
        name = f" {self.name!r}" if self.name else ""
        rows = counted(len(self), "row")
        return f"<Dataset{name}: {rows} of shape {self.X.shape[1:]} in {self.X.dtype}, {what}{test}>"

    @property
    def task(self) -> Task:
        """The targets' task: "classification" or "regression"."""
        return "regression" if self.classes is None else "classification"

    def take(self, indices: ArrayLike) -> Dataset:
        """Return a copy of the samples at `indices`, without a test part."""
        taken = np.asarray(indices)
        rows = None if self.rows is None else self.rows.take(taken)
        return replace(self, X=self.X[taken], y=self.y[taken], test=None, rows=rows)

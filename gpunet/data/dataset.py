"""A data set: samples, their targets, and what is needed to read more of the same."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from gpunet.data.labels import Task
from gpunet.data.table.schema import TableSchema


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Samples with their targets, on the host.

    Attributes:
        X: (n, features...), uint8 from IDX files, else float64 unless the source's dtype fits into float32.
        y: class indices int64 (n,), or for regression values (n,) or (n, targets) of such a dtype.
        classes: the class names in the order of their indices; None for regression.
        name: what to call it, such as "digits".
        schema: how the columns of a table became features; None where there were no named columns.
        test: the test part that the source itself sets apart, as MNIST does.
        found: how a table's file was read, in one line.
    """

    X: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...] | None = None
    name: str = ""
    schema: TableSchema | None = None
    test: Dataset | None = None
    found: str = ""

    def __len__(self) -> int:
        return len(self.X)

    def __repr__(self) -> str:
        what = f"values of shape {self.y.shape[1:]}" if self.classes is None else f"{len(self.classes)} classes"
        test = f", {len(self.test):,} test rows" if self.test is not None else ""
        name = f" {self.name!r}" if self.name else ""
        return f"<Dataset{name}: {len(self):,} rows of shape {self.X.shape[1:]} in {self.X.dtype}, {what}{test}>"

    @property
    def task(self) -> Task:
        """Whether the targets are classes or values."""
        return "regression" if self.classes is None else "classification"

    def take(self, indices: ArrayLike) -> Dataset:
        """Return the samples at `indices`, copied, as a data set without a test part."""
        rows = np.asarray(indices)
        return replace(self, X=self.X[rows], y=self.y[rows], test=None)

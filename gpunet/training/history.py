"""What training has measured, epoch by epoch."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable

from gpunet.errors import ArgumentError, MissingPackageError, StateError

Row = dict[str, float | int]

_NOT_PLOTTED = {"epoch", "lr", "seconds"}  # how the training went, not how good the model is


class History:
    """The rows of an ended or interrupted training, one per epoch; `history["loss"]` is a column.

    Columns have the names of what was measured: "loss", "accuracy", the same on the validation data as "val_loss",
    "val_accuracy", and "lr", "seconds".

    Args:
        epochs: rows to begin with.

    Attributes:
        epochs: the rows, oldest first.
        stopped: why training ended early ("early stopping", "interrupted", "non-finite loss", "error"); None if it did
            not.
    """

    def __init__(self, epochs: Iterable[Row] = ()):
        self.epochs = list(epochs)
        self.stopped: str | None = None

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in the order in which they first came."""
        return list(dict.fromkeys(name for row in self.epochs for name in row))

    @property
    def last(self) -> Row:
        """The row of the last epoch; `StateError` before the first."""
        if not self.epochs:
            raise StateError("the history is empty; train at least one epoch first.")
        return self.epochs[-1]

    def __len__(self) -> int:
        return len(self.epochs)

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    def __getitem__(self, column: str) -> list[float]:
        """Return one column, a number per epoch; NaN where an epoch has none.

        Raises:
            ArgumentError: no epoch has that column; the message lists the columns.
        """
        if column not in self:
            raise ArgumentError(f"the history has no column {column!r}; it has {', '.join(self.columns) or 'none'}.")
        return [float(row.get(column, math.nan)) for row in self.epochs]

    def __repr__(self) -> str:
        parts = [f"{len(self)} epoch{'' if len(self) == 1 else 's'}"]
        if self.epochs:
            parts.append("last: " + ", ".join(f"{name}={value:.4g}" for name, value in self.last.items()))
        if self.stopped:
            parts.append(f"stopped: {self.stopped}")
        return f"<History: {'; '.join(parts)}>"

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Write a PNG picture: a panel each for the loss and the metrics, training and validation in one.

        Raises:
            StateError: there is no epoch to draw.
            MissingPackageError: matplotlib is not installed.
        """
        measured = dict.fromkeys(name.removeprefix("val_") for name in self.columns)
        names = [name for name in measured if name not in _NOT_PLOTTED]
        if not names:
            raise StateError("the history has nothing to plot; train at least one epoch first.")
        try:
            from matplotlib.figure import Figure
        except ImportError:
            raise MissingPackageError("plot needs matplotlib: pip install 'matplotlib>=3.8'") from None
        figure = Figure(figsize=(5 * len(names), 3.5), layout="constrained")
        for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
            for column, label in ((name, "training"), (f"val_{name}", "validation")):
                if column in self:
                    axes.plot(range(1, len(self) + 1), self[column], marker=".", label=label)
            axes.set(xlabel="epoch", title=name)
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.legend()
        figure.savefig(path, format="png")

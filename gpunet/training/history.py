"""The history of a training: one row of measurements per epoch."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator

from gpunet import html
from gpunet.arguments import counted
from gpunet.attributes import Strict
from gpunet.errors import ArgumentError, StateError
from gpunet.training.plots import figure

Row = dict[str, float | int]

MOST_ROWS = 20
"""Maximum rows in a notebook; a longer history shows only its first and last rows."""


class History(Strict):
    """The measurements of a training, one row per epoch; `history["loss"]` is a column.

    Columns are "epoch", "loss", metrics such as "accuracy", those of the validation data such as "val_loss", "lr" and
    "seconds".

    Attributes:
        epochs: the rows, oldest first.
        stopped: why training ended early: "early stopping", "interrupted", "non-finite loss" or "error"; else None.

    Example:
        >>> history = gn.History([{"loss": 2.0, "accuracy": 0.5}, {"loss": 1.0, "accuracy": 0.75}])
        >>> history["loss"], history.last
        ([2.0, 1.0], {'loss': 1.0, 'accuracy': 0.75})
        >>> history
        <History: 2 epochs; last: loss=1, accuracy=0.75>
    """

    def __init__(self, epochs: Iterable[Row] = ()):
        self.epochs = list(epochs)
        self.stopped: str | None = None

    @property
    def columns(self) -> list[str]:
        """The names of all columns, in the order of their first appearance."""
        return list(dict.fromkeys(name for row in self.epochs for name in row))

    @property
    def last(self) -> Row:
        """The row of the last epoch; raises `StateError` before the first."""
        if not self.epochs:
            raise StateError("the history is empty; train at least one epoch first.")
        return self.epochs[-1]

    def __len__(self) -> int:
        return len(self.epochs)

    def __iter__(self) -> Iterator[Row]:
        """Iterate over the rows; `pandas.DataFrame(history)` is a table of them."""
        return iter(self.epochs)

    def __contains__(self, column: object) -> bool:
        return column in self.columns

    def __getitem__(self, column: str) -> list[float]:
        """Return one column, a number per epoch; NaN for epochs without it.

        Raises `ArgumentError` if no epoch has it.
        """
        if column not in self:
            raise ArgumentError(f"the history has no column {column!r}; it has {', '.join(self.columns) or 'none'}.")
        return [float(row.get(column, math.nan)) for row in self.epochs]

    def to_dict(self) -> dict[str, list[float]]:
        """Return all columns by name."""
        return {column: self[column] for column in self.columns}

    def __repr__(self) -> str:
        parts = [counted(len(self), "epoch")]
        if self.epochs:
            parts.append("last: " + ", ".join(f"{name}={value:.4g}" for name, value in self.last.items()))
        if self.stopped:
            parts.append(f"stopped: {self.stopped}")
        return f"<History: {'; '.join(parts)}>"

    def _repr_html_(self) -> str:
        cells = [[_cell(row.get(name, "")) for name in self.columns] for row in self.epochs]
        if len(cells) > MOST_ROWS:
            half = MOST_ROWS // 2
            cells[half:-half] = [["…"] * len(self.columns)]
        return html.table(self.columns, cells, repr(self))

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Plot loss and metrics to a PNG file: a panel for each, with training and validation curves.

        Needs matplotlib, and at least one epoch.
        """
        figure({"": self.to_dict()}).savefig(path, format="png")


def _cell(value: float | str) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)

"""Compute and check the batch sizes of an epoch."""

from __future__ import annotations

import numpy as np

from gpunet.arguments import counted
from gpunet.errors import ArgumentError, DataError
from gpunet.training.given import FitOptions
from gpunet.training.protocol import Training


class RowBatches:
    """The batches of a `fit` over a known number of rows.

    Args:
        shape: the shape of the features (rows, features...).

    Attributes:
        rows: number of rows of an epoch.
        position: where the first epoch begins.

    Raises:
        ArgumentError: see `check_batches`.
    """

    def __init__(self, training: Training, shape: tuple[int, ...], options: FitOptions):
        self._training, self._options, self.rows = training, options, shape[0]
        self.position = check_batches(training, shape, options.batch_size, options.drop_last)

    def end(self, position: int) -> int:
        """Return the last row, exclusive, of an epoch that resumes at `position`."""
        left = self.rows - position
        return self.rows - left % self._options.batch_size if self._options.drop_last else self.rows

    def total(self) -> int:
        """Return the number of rows of all epochs of the `fit`."""
        return self.end(self.position) - self.position + (self._options.epochs - 1) * self.end(0)

    def order(self) -> np.ndarray:
        """Return the order (rows,) of the rows in the current epoch."""
        return self._training.order(self.rows, self._options.shuffle)


def batch_sizes(rows: int, position: int, batch_size: int, drop_last: bool = False) -> set[int]:
    """Return the batch sizes of an epoch that resumes at `position`, and of a complete epoch."""
    sizes = set()
    for left in (rows - position, rows):
        sizes |= {batch_size} if left >= batch_size else set()
        sizes |= {left % batch_size} if not drop_last else set()
    return sizes - {0}


def parts_of(rows: int, size: int) -> list[slice]:
    """Split the rows of a batch into parts of `size` rows; the last may have fewer."""
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def check_batches(training: Training, shape: tuple[int, ...], batch_size: int, drop_last: bool) -> int:
    """Check all batch sizes of a `fit`; return the position at which its first epoch begins.

    Raises:
        ArgumentError: there is no batch, or one has fewer rows than the model or the ranks need.
    """
    rows, *of_row = shape
    position = first_row(training, rows)
    sizes = batch_sizes(rows, position, batch_size, drop_last)
    if drop_last and rows < batch_size:
        raise ArgumentError(
            f"fit: with drop_last there is no batch of {batch_size} in {rows} rows; use a smaller batch_size."
        )
    least = training.model.least_rows(tuple(of_row))
    if min(sizes) < least:
        done = f", {position} of them completed," if position else ""
        remedy = "drop_last=True, or another batch_size"
        if rows < least:
            remedy = "more rows"
        elif batch_size < least:
            remedy = f"a batch_size of at least {least}"
        raise ArgumentError(
            f"fit: a batch of {min(sizes)}, but the model needs at least {least} rows per batch, for example for batch "
            f"norm. The data has {counted(rows, 'row')}{done} in batches of {batch_size}; use {remedy}."
        )
    for count in sizes:
        training.ranks.rows(count)
    return position


def first_row(training: Training, rows: int | None) -> int:
    """Return the position of an interrupted epoch, or 0.

    If `rows`, the length of an epoch, is None, the data is assumed to be the same.

    Raises:
        DataError: the interrupted epoch had another number of rows.
    """
    if training.history.stopped == "error" and rows != training.rows:  # other data after an error: start a new epoch
        return 0
    if not training.position or rows in (None, training.rows):
        return training.position
    had = training.rows or "batches of an iterable"
    raise DataError(f"X: {counted(rows, 'row')}, but the interrupted epoch had {had}. Give the same data.")

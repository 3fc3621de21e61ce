"""How many rows the batches of a training have, and whether it can take such batches."""

from __future__ import annotations

from gpunet.errors import ArgumentError, DataError
from gpunet.training.protocol import Training


def batch_sizes(rows: int, position: int, batch_size: int, drop_last: bool = False) -> set[int]:
    """Return the sizes of the batches of an epoch that resumes at row `position` and of a whole epoch."""
    sizes = set()
    for left in (rows - position, rows):
        sizes |= {batch_size} if left >= batch_size else set()
        sizes |= {left % batch_size} if not drop_last else set()
    return sizes - {0}


def end_of_epoch(rows: int, position: int, batch_size: int, drop_last: bool) -> int:
    """Return the row at which an epoch ends that resumes at row `position`."""
    return rows - (rows - position) % batch_size if drop_last else rows


def parts_of(rows: int, size: int) -> list[slice]:
    """Return the rows of a batch that goes through the model in parts of so many rows; the last may have fewer."""
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]


def check_batches(training: Training, shape: tuple[int, ...], batch_size: int, drop_last: bool) -> int:
    """Return the rows done of the epoch that `fit` begins with, after a look at all batches from there on.

    Args:
        training: what is trained.
        shape: of the features, (rows, ...).
        batch_size: as for `Trainer.fit`.
        drop_last: likewise.

    Raises:
        ArgumentError: there is no batch, or one with fewer rows than the model or the ranks need.
        DataError: another number of rows than in the epoch that was interrupted.
    """
    rows, *of_row = shape
    position = first_row(training, rows)
    sizes = batch_sizes(rows, position, batch_size, drop_last)
    if drop_last and rows < batch_size:
        raise ArgumentError(f"fit: drop_last leaves no batch of {batch_size} in {rows} rows; choose a smaller one.")
    least = training.model.least_rows(tuple(of_row))
    if min(sizes) < least:
        done = f"of which {position} are done, " if position else ""
        do = "drop_last=True, or another batch_size"
        if rows < least:
            do = "more rows"
        elif batch_size < least:
            do = f"a batch_size of {least} or more"
        raise ArgumentError(
            f"fit: a batch of {min(sizes)}, but the model needs {least} rows or more, as batch norm does. There are "
            f"{rows} rows, {done}in batches of {batch_size}; give {do}."
        )
    for count in sizes:
        training.ranks.rows(count)
    return position


def first_row(training: Training, rows: int | None) -> int:
    """Return where an epoch over so many rows begins: after an interruption of the same data where that was.

    Args:
        training: what is trained.
        rows: of the epoch; None: not known, so that the data is taken for the same.

    Raises:
        DataError: another number of rows than in the epoch that was interrupted.
    """
    if training.history.stopped == "error" and rows != training.rows:  # what fails need not be given again
        return 0
    if not training.position or rows in (None, training.rows):
        return training.position
    had = training.rows or "batches of an iterable"
    raise DataError(f"X: {rows} rows; the epoch that was interrupted had {had}. Give the same data.")

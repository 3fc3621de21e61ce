"""Training data that is not in memory: batches that come one by one and are checked when they come."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunet.data.checks import as_dtype, check_row_weights
from gpunet.data.iterables import length, numbered
from gpunet.errors import DataError, located
from gpunet.training.batch_sizes import check_batches, end_of_epoch, first_row
from gpunet.training.examples import check_examples
from gpunet.training.given import Asked, MappedExamples
from gpunet.training.protocol import Training


class Stream(ABC):
    """The batches of an epoch as the layers and the loss take them.

    Args:
        training: what they are for; it says how many raw batches are one.
        classes: the names that text labels are looked up in.

    Attributes:
        classes: as given.
        rows: rows of an epoch; 0: not known before it has ended.
        position: rows done of the epoch that begins.
        counted: all targets and, if there are any, row weights, where the loss counts them.
    """

    rows = position = 0
    counted: Sequence[np.ndarray] = ()

    def __init__(self, training: Training, classes: tuple[str, ...] | None):
        self._model, self._loss, self._accumulate = training.model, training.loss, training.accumulate
        self.classes = classes
        self._kinds: list[Any] | None = None
        self._begun: Iterator[list[np.ndarray]] | None = None

    def begin(self) -> list[np.ndarray]:
        """Load and check the first batch of the epoch that begins; return its arrays.

        They are none where all rows are done. Errors are those of `batches`.
        """
        batches = self.batches(self.position)
        first = list(itertools.islice(batches, 1))
        self._begun = itertools.chain(first, batches)
        return first[0] if first else []

    def batches(self, position: int) -> Iterator[list[np.ndarray]]:
        """Yield the batches of an epoch of which so many rows are done: features, targets, maybe row weights.

        Raises:
            DataError: batches that cannot be used, that differ in the shape or the dtype of their rows, or that are
                fewer than the iterable says.
            Exception: what the iterable raises.
        """
        begun, self._begun = self._begun, None
        return begun or self._joined(position)

    def _joined(self, position: int) -> Iterator[list[np.ndarray]]:
        batches = self._checked(position)
        if self._accumulate == 1:
            yield from batches
        while group := list(itertools.islice(batches, self._accumulate)):
            yield [np.concatenate(arrays) for arrays in zip(*group, strict=True)]

    @abstractmethod
    def raw(self, position: int) -> Iterator[tuple[int, Sequence[Any]]]:
        """Yield the raw batches that are left after so many rows, each with its number."""

    @abstractmethod
    def total(self, position: int, count: int, epochs: int) -> int:
        """Return the rows of some epochs, the first of which resumes at `position` with a batch of `count`.

        0 where that is not known.
        """

    def _checked(self, position: int) -> Iterator[list[np.ndarray]]:
        for number, parts in self.raw(position):
            with located(f"batch {number}: "):
                arrays = self._arrays(*parts)
            yield arrays

    def _arrays(self, X: Any, y: Any, weight: Any = None) -> list[np.ndarray]:
        """Return a batch as arrays."""
        arrays = list(check_examples(self._model, self._loss, X, y, self.classes))
        if weight is not None:
            self._loss.require_weight()
            weight = check_row_weights(weight, len(arrays[0]))
            arrays.append(as_dtype(weight, self._model.dtype, "weight"))
        kinds = [(a.shape[1:], a.dtype) for a in arrays]
        self._kinds = self._kinds or kinds
        if kinds != self._kinds:
            was, now = (", ".join(f"{shape} {dtype}" for shape, dtype in of) for of in (self._kinds, kinds))
            raise DataError(f"rows of {now}, where those of the first batch are {was}; all must be alike.")
        least = self._model.least_rows(arrays[0].shape[1:])
        if len(arrays[0]) < least:
            raise DataError(
                f"{len(arrays[0])} row(s), but the model needs {least} or more in a batch, as batch norm does; let the "
                "iterable leave out a smaller last batch (a DataLoader: drop_last=True)."
            )
        return arrays


class IterableStream(Stream):
    """An iterable of batches (X, y) or (X, y, weight), iterated once an epoch."""

    def __init__(self, training: Training, source: Iterable[Any]):
        super().__init__(training, training.model.classes)
        self.position = first_row(training, None)
        self._source, self._length = source, length(source)

    def total(self, position: int, count: int, epochs: int) -> int:
        batches = self._length or 0
        return max(count * batches // max(min(batches, self._accumulate), 1) * epochs - position, 0)

    def raw(self, position: int) -> Iterator[tuple[int, Sequence[Any]]]:
        done = 0
        for number, parts in numbered(self._source):
            if done < position:
                done += len(parts[0])
            else:
                _check_position(done, position)
                yield number, parts
        _check_position(done, position)


class MappedStream(Stream):
    """Memory-mapped rows in batches, as `Trainer.fit` was asked for."""

    def __init__(self, training: Training, examples: MappedExamples, asked: Asked):
        super().__init__(training, examples.classes)
        self._data, self._batch_size, self._drop_last = examples.rows, asked.batch_size, asked.drop_last
        self.counted, shape = examples.counted, examples.rows.shape
        self.rows, self.position = shape[0], check_batches(training, shape, asked.batch_size, asked.drop_last)
        self._order = partial(training.order, self.rows, asked.shuffle)

    def _end(self, position: int) -> int:
        return end_of_epoch(self.rows, position, self._batch_size, self._drop_last)

    def total(self, position: int, count: int, epochs: int) -> int:
        return self._end(position) - position + (epochs - 1) * self._end(0)

    def raw(self, position: int) -> Iterator[tuple[int, Sequence[Any]]]:
        order = self._order()[: self._end(position)]
        for number, start in enumerate(range(position, len(order), self._batch_size), 1):
            yield number, self._data.take(order[start : start + self._batch_size])


def _check_position(done: int, position: int) -> None:
    if done != position:
        raise DataError(
            f"{position} rows of the epoch that was interrupted are done, and batches of the iterable end after "
            f"{done}. Give the same batches."
        )

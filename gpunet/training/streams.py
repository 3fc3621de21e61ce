"""Training data that is not in memory: batches that are loaded and checked one by one."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from gpunet.data.checks import as_dtype, check_row_weights
from gpunet.data.iterables import length, numbered
from gpunet.errors import DataError, located
from gpunet.training.batch_sizes import RowBatches, first_row
from gpunet.training.examples import check_examples
from gpunet.training.given import FitOptions, MappedExamples
from gpunet.training.protocol import Training


class Stream(ABC):
    """The batches of an epoch, checked and converted for the layers and the loss.

    A batch joins `accumulate` raw batches.

    Attributes:
        rows: number of rows of an epoch; 0 if unknown until its end.
        position: where the next epoch begins.
        counted: all targets and, if there are any, row weights, if the loss's `counts_targets` is True.
    """

    rows = position = 0
    counted: Sequence[np.ndarray] = ()

    def __init__(self, training: Training, classes: tuple[str, ...] | None):
        self._model, self._loss, self._accumulate = training.model, training.loss, training.accumulate
        self.classes = classes
        self._kinds: list[Any] | None = None
        self._begun: Iterator[list[np.ndarray]] | None = None

    def begin(self) -> list[np.ndarray]:
        """Load and check the next epoch's first batch; return its arrays, or [] if no rows are left.

        Errors as for `batches`.
        """
        batches = self.batches(self.position)
        first = list(itertools.islice(batches, 1))
        self._begun = itertools.chain(first, batches)
        return first[0] if first else []

    def batches(self, position: int) -> Iterator[list[np.ndarray]]:
        """Yield the batches of an epoch from a position on; also raises any error of an iterable.

        Raises:
            DataError: a batch cannot be used, rows differ in shape or dtype, or there are fewer batches than the
                iterable's length.
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
        """Yield the raw batches from a position on, each with its number."""

    @abstractmethod
    def total(self, position: int, count: int, epochs: int) -> int:
        """Return the number of rows of `epochs` epochs; 0 if unknown.

        The first epoch resumes at `position` with a batch of `count` rows.
        """

    def _checked(self, position: int) -> Iterator[list[np.ndarray]]:
        for number, parts in self.raw(position):
            with located(f"batch {number}: "):
                arrays = self._arrays(*parts)
            yield arrays

    def _arrays(self, X: Any, y: Any, weight: Any = None) -> list[np.ndarray]:
        """Check a batch and return its arrays."""
        arrays = list(check_examples(self._model, self._loss, X, y, self.classes))
        if weight is not None:
            self._loss.require_weight()
            weight = check_row_weights(weight, len(arrays[0]))
            arrays.append(as_dtype(weight, self._model.dtype, "weight"))
            with np.errstate(over="ignore"):
                if not np.isfinite(arrays[-1].sum()):
                    raise DataError(f"weight: the sum overflows in {self._model.dtype}; scale the weights.")
        kinds = [(a.shape[1:], a.dtype) for a in arrays]
        self._kinds = self._kinds or kinds
        if kinds != self._kinds:
            was, now = (", ".join(f"{shape} {dtype}" for shape, dtype in of) for of in (self._kinds, kinds))
            raise DataError(f"rows of {now}, but the first batch has rows of {was}; all rows must be alike.")
        least = self._model.least_rows(arrays[0].shape[1:])
        if len(arrays[0]) < least:
            raise DataError(
                f"{len(arrays[0])} row(s), but the model needs at least {least} per batch, for example for batch norm; "
                "drop a smaller last batch (in a DataLoader: drop_last=True)."
            )
        return arrays


class IterableStream(Stream):
    """An iterable of batches (X, y) or (X, y, weight), iterated once per epoch."""

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
    """Batches of memory-mapped rows."""

    def __init__(self, training: Training, examples: MappedExamples, options: FitOptions):
        super().__init__(training, examples.classes)
        self._data, self._batch_size, self.counted = examples.rows, options.batch_size, examples.counted
        self._rows = RowBatches(training, examples.rows.shape, options)
        self.rows, self.position = self._rows.rows, self._rows.position

    def total(self, position: int, count: int, epochs: int) -> int:
        return self._rows.total()

    def raw(self, position: int) -> Iterator[tuple[int, Sequence[Any]]]:
        order = self._rows.order()[: self._rows.end(position)]
        for number, start in enumerate(range(position, len(order), self._batch_size), 1):
            yield number, self._data.take(order[start : start + self._batch_size])


def _check_position(done: int, position: int) -> None:
    if done != position:
        raise DataError(
            f"the interrupted epoch has {position} completed rows, but a batch of the iterable ends after {done}. Give "
            "the same batches."
        )

"""Supply the data of an epoch, portion by portion: arrays in memory, or batches that are loaded while steps run."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from gpunet.data.iterables import check_iterable
from gpunet.data.mapped import is_mapped
from gpunet.errors import ArgumentError, DataError
from gpunet.training.batch_sizes import RowBatches
from gpunet.training.batches import Batches
from gpunet.training.given import FitOptions, check_mapped, check_training
from gpunet.training.loading import loads
from gpunet.training.parts import check_validation
from gpunet.training.protocol import Training
from gpunet.training.step import StepCache
from gpunet.training.streams import IterableStream, MappedStream, Stream


@dataclass(frozen=True)
class Portion:
    """A part of an epoch whose data is ready for steps.

    Attributes:
        batches: supplies the rows of each step.
        count: rows per step; the last may have fewer.
        end: the position in the epoch after this portion.
        order: for each position in the epoch, the row's index in `arrays`.
    """

    batches: Batches
    count: int
    end: int
    arrays: Sequence[np.ndarray]
    order: Sequence[int] | np.ndarray


class Feed(Protocol):
    """The data of one `fit`.

    Attributes:
        arrays: empty if they are not all in memory.
        rows: number of rows of an epoch, 0 if unknown.
        position: where the first epoch begins.
        validation: see `Examples`.
        for_loss: the arrays for `Loss.begin`: all rows if they are in memory, else the first batch, with all targets if
            the loss's `counts_targets` is True.
    """

    rows: int
    position: int
    validation: Any
    classes: tuple[str, ...] | None

    @property
    def arrays(self) -> Sequence[np.ndarray]: ...

    @property
    def for_loss(self) -> Sequence[np.ndarray]: ...

    def total(self) -> int:
        """Return the number of rows that `fit` will train on, 0 if unknown."""

    def load(self) -> None:
        """Copy the data to the model's device."""

    def portions(self, position: int) -> Generator[Portion]:
        """Yield the portions of an epoch from a position on."""

    def release(self) -> None:
        """Release the data in host memory."""


def feed_for(training: Training, steps: StepCache, X: Any, y: Any, options: FitOptions) -> Feed:
    """Check the arguments of `Trainer.fit` and return its feed; call `Loss.begin` before a training's first step."""
    feed: Feed
    if y is None:
        feed = _iterable_feed(training, steps, X, options)
    elif training.ranks.size == 1 and is_mapped(X, y):
        feed = _mapped_feed(training, steps, X, y, options)
    else:
        feed = ArrayFeed(training, steps, X, y, options)
    if training.epoch == training.position == 0:
        x, target, *weights = feed.for_loss
        outputs = training.model.output_shape(x.shape[1:])
        training.loss.begin(target, weights[0] if weights else None, feed.classes, outputs)
    norms = training.loss.norms(*feed.arrays[1:]) if feed.arrays else None
    if norms is not None and not norms.any():
        raise DataError("y: all rows have weight zero, by class_weight or sample_weight; give at least one a weight.")
    return feed


class ArrayFeed:
    """The feed for arrays in memory; an epoch is one portion."""

    _batches: Batches

    def __init__(self, training: Training, steps: StepCache, X: Any, y: Any, options: FitOptions):
        examples = check_training(
            training.model,
            training.loss,
            X,
            y,
            validation=options.validation,
            sample_weight=options.sample_weight,
            seed=training.seed,
        )
        self._training, self._steps, self._options = training, steps, options
        self.arrays, self.validation, self.classes = examples.arrays, examples.validation, examples.classes
        self.for_loss = self.arrays
        self._rows = RowBatches(training, self.arrays[0].shape, options)
        self.rows, self.position = self._rows.rows, self._rows.position

    def total(self) -> int:
        return self._rows.total()

    def load(self) -> None:
        self._batches = self._steps.load(self.arrays)

    def portions(self, position: int) -> Generator[Portion]:
        order, end = self._rows.order(), self._rows.end(position)
        count = self._options.batch_size * self._training.accumulate
        self._batches.begin(*self._training.ranks.order(order, position, end, count))
        yield Portion(self._batches, count, end, self.arrays, order)

    def release(self) -> None:
        self._batches.release()


class StreamFeed:
    """The feed for batches that are loaded while steps run."""

    arrays: Sequence[np.ndarray] = ()

    def __init__(self, training: Training, steps: StepCache, stream: Stream, validation: Any, epochs: int):
        self._training, self._steps, self._stream, self.validation = training, steps, stream, validation
        self.rows, self.position, self.classes = stream.rows, stream.position, stream.classes
        first = stream.begin()
        self.for_loss: Sequence[np.ndarray] = [*first[:1], *(stream.counted or first[1:])]
        self._total = stream.total(self.position, len(first[0]) if first else 0, epochs)
        self._batches: Batches | None = None

    def total(self) -> int:
        return self._total

    def load(self) -> None:
        """Do nothing: `portions` loads each portion."""

    def portions(self, position: int) -> Generator[Portion]:
        with closing(loads(self._stream.batches(position))) as coming:
            for load in coming:
                self._batches = batches = self._steps.load(load.arrays)
                batches.begin(np.arange(len(load.arrays[0])), 0)
                order = range(-position, load.rows)
                position += load.rows
                yield Portion(batches, load.count, position, load.arrays, order)
        self._training.rows = self._stream.rows or position

    def release(self) -> None:
        if self._batches is not None:
            self._batches.release()


def _iterable_feed(training: Training, steps: StepCache, X: Any, options: FitOptions) -> StreamFeed:
    check_iterable(X, "fit")
    if options.sample_weight is not None:
        raise ArgumentError("fit: sample_weight works only with arrays; let the iterable yield (X, y, weight).")
    if isinstance(options.validation, int | float | np.floating):
        raise ArgumentError(
            "fit: cannot hold out a fraction of an iterable; give validation data (X, y), or an iterable of batches."
        )
    if training.ranks.size > 1:
        raise ArgumentError("fit: distributed training needs arrays, not an iterable of batches.")
    if hasattr(X, "__next__") and options.epochs > 1:
        raise ArgumentError(
            f"fit: {options.epochs} epochs, but X is a generator or another iterator, which can be iterated only once; "
            "give a list, a DataLoader, or another object whose __iter__ returns a new iterator."
        )
    if training.loss.counts_targets and training.epoch == training.position == 0:
        raise ArgumentError(
            f"fit: {training.loss!r} counts the labels of all rows, which is not possible for an iterable; give a "
            "weight for each class."
        )
    model, loss, validation = training.model, training.loss, options.validation
    if validation is not None:
        validation = check_validation(model, loss, validation, model.classes)
    return StreamFeed(training, steps, IterableStream(training, X), validation, options.epochs)


def _mapped_feed(training: Training, steps: StepCache, X: Any, y: Any, options: FitOptions) -> StreamFeed:
    examples = check_mapped(
        training.model,
        training.loss,
        X,
        y,
        validation=options.validation,
        sample_weight=options.sample_weight,
        seed=training.seed,
    )
    return StreamFeed(training, steps, MappedStream(training, examples, options), examples.validation, options.epochs)

"""The cache of a trainer's recorded steps."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np

from gpunet.data.checks import host_array
from gpunet.device import Array
from gpunet.errors import ShapeError, warn
from gpunet.training.batch_sizes import parts_of
from gpunet.training.batches import Batches
from gpunet.training.explain import Explanation
from gpunet.training.protocol import Training
from gpunet.training.step.inputs import Inputs
from gpunet.training.step.interfaces import Source
from gpunet.training.step.step import Step

MOST_STEPS = 4
"""Maximum cached steps. An epoch needs two: one for the batch size, and one for a smaller last batch."""

KIND = operator.attrgetter("shape", "dtype", "dtype.num")
"""The part of the cache key for an array. `dtype.num` raises AttributeError for columns of data frames."""


class StepCache:
    """The recorded steps of a training, by the kind of their batches, and the data that they read.

    A step is recorded again if something that it depends on has changed.
    """

    def __init__(self, training: Training):
        self._training = training
        self._steps: dict[Hashable, Step] = {}
        self._batches: Batches | None = None
        self._warned = False

    def find(self, kind: Hashable) -> Step | None:
        """Return the step for a kind of batch, or None if there is none or it is out of date."""
        step = self._steps.get(kind)
        return step if step is not None and step.is_current else None

    def make(self, kind: Hashable, count: int, source: Callable[[int], Source]) -> Step:
        """Make the step for a kind of batch.

        Args:
            kind: the cache key.
            count: number of rows of the global batch.
            source: returns a source of batches with the given number of rows on this rank.
        """
        training = self._training
        training.attach()
        own = training.ranks.rows(count)
        if len(self._steps) >= MOST_STEPS:
            self._steps.clear()
        step = self._steps[kind] = Step(training, source(own.stop - own.start), count, self._warn)
        return step

    def run(self, given: Sequence[Array]) -> Array:
        """Run a step on a batch; see `Trainer.step`."""
        try:
            kind = tuple(map(KIND, given))
        except AttributeError:  # lists, data frames
            given = [host_array(a, name) for name, a in zip(("X", "y", "weight"), given, strict=False)]
            kind = tuple(map(KIND, given))
        step = self._steps.get(kind)
        if step is None or not step.is_current:
            step = self._first_of(kind)
        if step.device.xp is np:  # half a microsecond faster than `activate`, which does nothing
            return self._run(step, given)
        with step.device.activate():
            return self._run(step, given)

    def _run(self, step: Step, given: Sequence[Array]) -> Array:
        if step.shares:
            step.weigh(self._training.loss.norms(*given[1:]))
            given = given if step.share is None else [a[step.share.own] for a in given]
        assert isinstance(step.source, Inputs)
        step.source.give(step, given)
        step.run()
        return step.value

    def _first_of(self, kind: tuple[Any, ...]) -> Step:
        training = self._training
        if kind[0][0] == () or len({shape[:1] for shape, *_ in kind}) > 1:
            found = ", ".join(f"{name} {shape}" for name, (shape, *_) in zip(("X", "y", "weight"), kind, strict=False))
            raise ShapeError(f"step: X, y and weight need the same number of rows; the shapes are {found}.")
        count = kind[0][0][0]
        if len(kind) > 2:
            training.loss.require_weight()
        if training.ranks.size > 1 and not self._steps:
            training.attach()
            training.ranks.begin(training)
        kinds = [(shape[1:], dtype) for shape, dtype, _ in kind]
        part = math.ceil(count / training.accumulate)
        return self.make(kind, count, lambda rows: Inputs(training.model, training.loss, kinds, parts_of(rows, part)))

    def load(self, arrays: Sequence[np.ndarray]) -> Batches:
        """Load data that `Model.check` returned; return its batches.

        Reuses the object of the last call if possible, because recorded steps refer to it.
        """
        model = self._training.model
        dtype = model.dtype if model.index_range is None else arrays[0].dtype
        like = model.device, arrays, dtype, model.input_scaler
        if self._batches is None or not self._batches.takes(*like):
            self._steps.clear()  # before the upload: the steps use memory and refer to the old data
            if self._batches is not None:
                self._batches.free()
            self._batches = Batches(*like)
        self._batches.load(arrays)
        self._training.running.to(model.device)
        return self._batches

    def explanations(self) -> list[Explanation]:
        """Return descriptions of the recorded steps."""
        described = (step.describe() for step in self._steps.values())
        return [explanation for explanation in described if explanation is not None]

    def _warn(self, message: str) -> None:
        """Warn, once per training, that steps fall back to another executor."""
        if not self._warned and self._training.ranks.main:
            self._warned = True
            warn(message)

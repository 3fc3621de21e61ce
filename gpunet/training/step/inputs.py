"""The batches that `Trainer.step` is given, as a step reads them: in place where it can, else copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet import native
from gpunet.device import Array, aligned, on_device, to_host
from gpunet.errors import DTypeError
from gpunet.losses import Loss
from gpunet.models import Model
from gpunet.recording import recorded
from gpunet.tape import Tape
from gpunet.training.step.eager import EagerExecutor
from gpunet.training.step.graph import GraphExecutor
from gpunet.training.step.host import NativeExecutor, NumpyExecutor
from gpunet.training.step.step import Step

MOST_RESIDENT = 16
"""Batches on a GPU that have a graph each; all others are copied to one place."""


class Inputs:
    """The batch of a step.

    - An eager step reads arrays of its device, converted where they are of another dtype.
    - A native step reads C-contiguous arrays of its dtypes in place; others, and a NumPy step, read a copy.
    - A graph names its arrays, and launching it costs less than a copy. So batches that are on the GPU already, and
      C-contiguous, have a graph each, up to MOST_RESIDENT, which keeps them there.

    Args:
        model: the model to train.
        loss: what the targets are for.
    """

    def __init__(self, model: Model, loss: Loss):
        self._model, self._loss = model, loss
        self._indices = model.index_range is not None
        self.advances: Sequence[Array] = ()
        self.recordable = True
        self._arrays: Sequence[Array] = ()
        self._fixed: list[Array] = []
        self._reads_in_place: NativeExecutor | None = None
        self._resident: dict[Any, Sequence[Array]] = {}

    def load(self, tape: Tape) -> Sequence[Array]:
        """Return the batch."""
        return [recorded(a) for a in self._arrays]

    def add(self, value: Array, prediction: Array, target: Array, tape: Tape) -> None:
        """Do nothing: a single step has no metrics."""

    def give(self, step: Step, given: Sequence[Array]) -> None:
        """Let the next run of the step read a batch.

        Args:
            step: the step.
            given: features, targets and, if there are any, row weights; arrays of any device,
                with the same shapes and dtypes in every step.

        Raises:
            DataError: indices or labels in host memory that are out of range.
        """
        if self._indices:
            self._model.check_given(given[0])
        if step.executor is self._reads_in_place:
            self._loss.check_given(step.prediction, given[1])
            self._bind(self._reads_in_place, given)
            return
        if isinstance(step.executor, GraphExecutor):
            self._give_on_device(step, step.executor, given)
        elif isinstance(step.executor, NumpyExecutor):
            if not self._fixed:
                self._fixed = [aligned(a.shape, a.dtype, np, zero=True) for a in self._converted(step, given)]
            self._arrays = self._fixed  # a step is recorded over these, also after one that failed
        step.prepare()
        if isinstance(step.executor, EagerExecutor):
            self._arrays = self._converted(step, given)
            return
        self._loss.check_given(step.prediction, given[1])  # as the code does in an eager step
        if isinstance(step.executor, NumpyExecutor):
            self._give_on_host(step.executor, given)

    def _converted(self, step: Step, given: Sequence[Array]) -> list[Array]:
        """Return a batch as the step's code takes it: on its device, floats in the parameters' dtype."""
        for name, a in zip(("X", "y", "weight"), given, strict=False):
            if a.dtype.kind not in "biuf":
                raise DTypeError(f"{name}: dtype {a.dtype} is no real number; convert it, for example to float32.")
        x, target, *weights = given
        device, dtype = step.device, step.store.params.dtype
        target = device.asarray(target)
        if target.dtype.kind == "f":
            target = device.asarray(target, dtype)
        elif device.xp is np:
            target = device.asarray(target, np.int64)
        x = device.asarray(x, None if self._indices else dtype)
        return [x, target, *(device.asarray(weight, dtype) for weight in weights)]

    def _give_on_host(self, executor: NumpyExecutor, given: Sequence[Array]) -> None:
        if isinstance(executor, NativeExecutor) and executor.binds(self._fixed):
            self._reads_in_place = executor
            self._bind(executor, given)
            return
        for fixed, a in zip(self._fixed, given, strict=True):
            _copied(a, fixed)

    def _bind(self, executor: NativeExecutor, given: Sequence[Array]) -> None:
        self._arrays = arrays = list(self._fixed)  # as the code takes them; kept alive
        for position, (a, fixed) in enumerate(zip(given, self._fixed, strict=True)):
            start = native.plain_address(a) if type(a) is np.ndarray and a.dtype == fixed.dtype else None
            if start is None:
                start = native.address(_copied(a, fixed))
            else:
                arrays[position] = a
            executor.bind(position, start)

    def _give_on_device(self, step: Step, executor: GraphExecutor, given: Sequence[Array]) -> None:
        ready = self._converted(step, given)
        if on_device(given[0]) and all(a is own and a.flags.c_contiguous for a, own in zip(ready, given, strict=True)):
            place = tuple(a.data.ptr for a in given)
            if place in self._resident or len(self._resident) < MOST_RESIDENT:
                self._resident[place] = self._arrays = given
                executor.place = place
                return
        if not self._fixed:
            self._fixed = [aligned(a.shape, a.dtype, step.device.xp) for a in ready]
        for fixed, a in zip(self._fixed, ready, strict=True):
            fixed[...] = a
        self._arrays, executor.place = self._fixed, ()


def _copied(a: Array, fixed: np.ndarray) -> np.ndarray:
    fixed[...] = a if type(a) is np.ndarray else to_host(a)
    return fixed

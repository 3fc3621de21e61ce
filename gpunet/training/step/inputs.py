"""The batches of `Trainer.step`, which a step reads in place or from a copy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet import native
from gpunet.device import Array, on_device, pointer, to_host
from gpunet.errors import DTypeError
from gpunet.losses import CrossEntropyLoss, Loss
from gpunet.memory import aligned
from gpunet.models import Model
from gpunet.recording import recorded
from gpunet.tape import Tape
from gpunet.training.batches import Rows
from gpunet.training.step.eager import EagerExecutor
from gpunet.training.step.graph import GraphExecutor
from gpunet.training.step.host import NativeExecutor, NumpyExecutor
from gpunet.training.step.persistent import PersistentExecutor
from gpunet.training.step.step import Step

MOST_RESIDENT = 16
"""Maximum batches on a GPU with their own graph; others are copied to one buffer."""


class InPlace:
    """Make the nodes of a native step read the arrays of a batch in place.

    Args:
        fixed: the arrays with which the step was recorded; batches that kernels cannot read are copied into them.
        places: for each of these arrays, the node arguments that refer to it.
        dtypes: the dtypes of the batches.
    """

    def __init__(
        self,
        executor: NativeExecutor,
        loss: Loss,
        fixed: Sequence[np.ndarray],
        places: Sequence[Any],
        dtypes: Sequence[np.dtype[Any]],
    ):
        self.executor, self._loss, self._fixed = executor, loss, fixed
        self._converts = any(a.dtype != dtype for a, dtype in zip(fixed, dtypes, strict=True))
        self._prediction, target = executor.step.prediction, fixed[1]
        self._has_labels = type(loss) is CrossEntropyLoss and target.ndim == self._prediction.ndim - 1
        labels = target.size if self._has_labels else 0
        self._binding = native.Binding(places, [a.itemsize for a in fixed], labels, self._prediction.shape[-1])

    def give(self, given: Sequence[Array]) -> Sequence[Array]:
        """Bind the arrays to the nodes; return the arrays that the nodes read, which the caller must keep alive.

        Raises:
            DataError: a label is out of range.
        """
        if not self._has_labels:
            self._loss.check_given(self._prediction, given[1])
        if self._converts or not self._binding.bind(given):
            arrays = [
                a if _is_plain(a, fixed) else _copied(a, fixed) for a, fixed in zip(given, self._fixed, strict=True)
            ]
            if not self._binding.bind(arrays):
                self._loss.check_given(self._prediction, given[1])
            given = arrays
        return given


class Inputs:
    """The batch of a step.

    - An eager step reads arrays on its device, converted to its dtypes.
    - A native step reads C-contiguous arrays of its dtypes in place, and copies of others. A NumPy step reads copies.
    - A graph refers to fixed arrays, and launching it is faster than a copy. So each batch that is on the GPU and
      C-contiguous gets its own graph, for up to MOST_RESIDENT batches, which are kept alive.

    Args:
        kinds: shape of a row and dtype of each array of a batch.
        parts: the rows of each forward pass.
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]],
        parts: Sequence[slice],
    ):
        self._model, self._loss, self.kinds, self.parts = model, loss, kinds, parts
        self._indices = model.index_range is not None
        self.advances: Sequence[Array] = ()
        self.recordable = True
        self._arrays: Sequence[Array] = ()
        self._fixed: list[Array] = []
        self._in_place: InPlace | None = None
        self._resident: dict[Any, Sequence[Array]] = {}

    def load(self, part: slice, tape: Tape) -> Sequence[Array]:
        """Return a part of each array."""
        return [recorded(a[part]) for a in self._arrays]

    def rows(self) -> Rows:
        """Return the batch for a kernel that gathers rows itself."""
        return Rows(self._arrays, (None, None), None, None, None)

    def add(self, value: Array, prediction: Array, target: Array, tape: Tape) -> None:
        """Do nothing: a single step has no metrics."""

    def give(self, step: Step, given: Sequence[Array]) -> None:
        """Set the batch of the next run of the step.

        Args:
            given: features, targets and, if there are any, row weights: arrays on any device, with the same shapes and
                dtypes in every step.

        Raises:
            DataError: an index or label in host memory is out of range.
        """
        if self._indices:
            self._model.check_given(given[0])
        if self._in_place is not None and self._in_place.executor is step.executor:
            self._arrays = self._in_place.give(given)
            return
        if isinstance(step.executor, GraphExecutor | PersistentExecutor):
            self._give_on_device(step, step.executor, given)
        elif isinstance(step.executor, NumpyExecutor):
            if not self._fixed:
                self._fixed = [aligned(a.shape, a.dtype, np, zero=True) for a in self._converted(step, given)]
            self._arrays = self._fixed  # a step is always recorded with these arrays, also after an error
        step.prepare()
        if isinstance(step.executor, EagerExecutor):
            self._arrays = self._converted(step, given)
            return
        self._loss.check_given(step.prediction, given[1])  # an eager step checks in the loss itself
        if isinstance(step.executor, NumpyExecutor):
            self._give_on_host(step.executor, given)

    def _converted(self, step: Step, given: Sequence[Array]) -> list[Array]:
        """Return the batch on the step's device, with floats in the parameters' dtype."""
        for name, a in zip(("X", "y", "weight"), given, strict=False):
            if a.dtype.kind not in "biuf":
                raise DTypeError(f"{name}: dtype {a.dtype} is not real; convert it, for example to float32.")
        x, target, *weights = given
        device, dtype = step.device, step.store.params.dtype
        target = device.asarray(target, dtype if target.dtype.kind == "f" else np.int64)
        x = device.asarray(x, None if self._indices else dtype)
        return [x, target, *(device.asarray(weight, dtype) for weight in weights)]

    def _give_on_host(self, executor: NumpyExecutor, given: Sequence[Array]) -> None:
        if isinstance(executor, NativeExecutor):
            places = [executor.places(fixed) for fixed in self._fixed]
            if None not in places:
                self._in_place = InPlace(executor, self._loss, self._fixed, places, [a.dtype for a in given])
                self._arrays = self._in_place.give(given)
                return
        for fixed, a in zip(self._fixed, given, strict=True):
            _copied(a, fixed)

    def _give_on_device(self, step: Step, executor: GraphExecutor | PersistentExecutor, given: Sequence[Array]) -> None:
        ready = self._converted(step, given)
        if on_device(given[0]) and all(a is own and a.flags.c_contiguous for a, own in zip(ready, given, strict=True)):
            place = tuple(pointer(a) for a in given)
            if place in self._resident or len(self._resident) < MOST_RESIDENT:
                self._resident[place] = self._arrays = given
                executor.place = place
                return
        if not self._fixed:
            self._fixed = [aligned(a.shape, a.dtype, step.device.xp) for a in ready]
        for fixed, a in zip(self._fixed, ready, strict=True):
            fixed[...] = a
        self._arrays, executor.place = self._fixed, ()


def _is_plain(a: Array, fixed: np.ndarray) -> bool:
    """Return whether kernels can read `a` in place of `fixed`."""
    return type(a) is np.ndarray and a.dtype == fixed.dtype and a.flags.c_contiguous and a.flags.aligned


def _copied(a: Array, fixed: np.ndarray) -> np.ndarray:
    fixed[...] = a if type(a) is np.ndarray else to_host(a)
    return fixed

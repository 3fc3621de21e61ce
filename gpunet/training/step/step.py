"""A training step for one batch shape, and the executor that runs it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NoReturn

import numpy as np

from gpunet import versions
from gpunet.errors import (
    CompileError,
    DeviceMismatchError,
    DTypeError,
    KernelError,
    OutOfMemoryError,
    ShapeError,
    StateError,
)
from gpunet.layers import Layer
from gpunet.ops import use_kernel
from gpunet.ops._matmul_plan import PRECISIONS, chosen_kernel
from gpunet.recording import OPT_OUT, NotRecordableError
from gpunet.training.explain import Explanation
from gpunet.training.protocol import Training
from gpunet.training.step.executors import KINDS, choose
from gpunet.training.step.interfaces import ExecutorName, Source
from gpunet.training.step.work import Work

CODE_ERRORS = (ShapeError, DTypeError, DeviceMismatchError)
"""Errors that the step's code raises both in a recording and in an eager step."""

MISTAKES = (AttributeError, NameError, TypeError, LookupError, ValueError, NotImplementedError)
"""Errors that may come from a bug in a user's layer or loss, and not from the recording."""


class Step(Work):
    """The training step for one batch shape, with its executor.

    Args:
        training: the training, with its optimizer attached.
        source: the source of the batches.
        count: number of rows of the global batch.
        warn: called with a message if the step falls back to another executor.

    Attributes:
        seconds: host time per step in the last run; None if not measured yet.
        executor: the executor.
        refusal: why the persistent kernel cannot run the step; None if it can or was not considered.
        is_prepared: whether the step is recorded, or has fallen back to eager execution.
    """

    seconds: float | None = None

    def __init__(self, training: Training, source: Source, count: int, warn: Callable[[str], None]):
        super().__init__(training, source, count)
        self._name: ExecutorName = training.executor if source.recordable else "eager"
        self.precision, self._warn = training.precision, warn
        self._params = self.store.params
        self._training, self._settings = training, training.version
        self.refusal: str | None = None
        self.optimizer.prepare()
        self.parts = versions.parts(training, self.loss)
        self._begin(choose(self, self._name))

    def _begin(self, executor: str) -> None:
        """Start with an executor and new buffers; nothing is recorded."""
        self.executor = KINDS[executor](self)
        self.renew_buffers()
        self.is_prepared = False
        self._made_of = self._fingerprint()
        self._checked = versions.latest

    def _fingerprint(self) -> tuple[str | None, list[int]]:
        return chosen_kernel(), [part.version for part in self.parts]

    def _changes(self) -> str:
        """Return which parts the step itself has changed, and what to do, for an error message."""
        changed = [part for part, version in zip(self.parts, self._made_of[1], strict=True) if part.version != version]
        names = ", ".join(dict.fromkeys(type(part).__name__ for part in changed))
        return (
            f"attributes of {names} change in the step; save what backward needs by tape.save(self, x), or {OPT_OUT}."
        )

    @property
    def is_current(self) -> bool:
        """Whether model, loss, optimizer, device and kernel choice have not changed since the step was made."""
        latest = versions.latest
        if self._checked == latest:
            return True
        if self.executor.name == "eager":  # reads everything at each step except the trainer's settings
            return self._params is self.store.params and self._settings == self._training.version
        if self._made_of != self._fingerprint():
            return False
        self._checked = latest
        return True

    def prepare(self) -> None:
        """Record the step, unless it is recorded.

        Raises:
            OutOfMemoryError: the buffers of the step do not fit in memory; the parameters are unchanged.
            StateError: the step cannot be recorded, and the trainer's executor requires it.
            Exception: an error of a user's layer or loss, which an eager step raises too.
        """
        if self.is_prepared:
            return
        try:
            self._refuse_layers_that_opt_out()
            self.executor.record()
            if self._made_of != self._fingerprint():
                raise NotRecordableError(self._changes())
        except MemoryError as error:
            if (self._name, self.executor.name) != ("auto", "persistent"):
                self._raise_out_of_memory(error)
            self._fall_back(NotRecordableError(f"its memory does not fit: {error}"))
        except (KernelError, *CODE_ERRORS):
            self._begin(self.executor.name)
            raise
        except Exception as error:  # from CuPy, the driver, or a user's layer
            if isinstance(error, MISTAKES):
                self._raise_eager_error()
            self._fall_back(error)
        self.is_prepared = True

    def _raise_eager_error(self) -> None:
        """Run the step eagerly without its update and raise its error, if any, which the recording did not cause."""
        name = self.executor.name
        self._begin("eager")
        try:
            with self.unchanged(), np.errstate(all="ignore"):
                self.work()
        except MISTAKES as error:
            raise error from None
        finally:
            self._begin(name)

    def _fall_back(self, error: Exception) -> None:
        """Fall back from the persistent kernel to the graph, or with a warning to NumPy calls or to eager steps.

        Raises:
            StateError: the trainer requires the executor that failed.
        """
        if self._name != "auto":
            raise StateError(f"executor {self.executor.name!r} cannot run the training step: {error}") from error
        if self.executor.name == "persistent":
            self.refusal, other = str(error), "graph"
        elif isinstance(error, CompileError) and self.executor.name == "native":
            self._warn(f"falling back to NumPy steps: {error}")
            other = "numpy"
        else:
            self._warn(f"falling back to eager steps: the training step could not be recorded: {error}")
            other = "eager"
        self._begin(other)
        self.prepare()

    def run(self, steps: int = 1) -> None:
        """Run the step on `steps` consecutive batches; errors as for `prepare`."""
        if not self.is_prepared:
            self.prepare()
        try:
            self.executor.run(steps)
        except NotRecordableError as error:  # detected before the first replay
            self._fall_back(error)
            self.executor.run(steps)
        except MemoryError as error:
            self._raise_out_of_memory(error)
        except BaseException:
            self._begin(self.executor.name)  # the buffers are in an inconsistent state
            raise

    def run_eagerly(self) -> None:
        """Run the Python code of the step once."""
        with self.products():
            self.work()
        self.update()

    def products(self) -> AbstractContextManager[Any]:
        """Return the context manager that selects the kernel of the step's matrix products."""
        if self._params.dtype == np.float32:
            return nullcontext() if self.precision == "float32" else use_kernel(PRECISIONS[self.precision])
        if self.executor.name == "graph" and chosen_kernel() is None:
            return use_kernel("tiled")  # cuBLAS calls cannot be captured
        return nullcontext()

    def describe(self) -> Explanation | None:
        """Return a description of the recorded step; None if it is not recorded."""
        return self.executor.describe() if self.is_prepared else None

    def _refuse_layers_that_opt_out(self) -> None:
        for part in self.parts:
            if self.executor.name != "eager" and isinstance(part, Layer) and not part.recordable:
                raise NotRecordableError(f"{part!r} sets recordable = False.")

    def _raise_out_of_memory(self, error: MemoryError) -> NoReturn:
        needed, free = self.nbytes, self.device.free_bytes()
        self._begin(self.executor.name)
        raise OutOfMemoryError(
            f"{self.device.name}: the buffers of a training step do not fit in memory: {needed / 2**20:,.1f} MiB were "
            f"requested so far, {free / 2**20:,.1f} MiB are free ({error}). Use a smaller batch_size."
        ) from error

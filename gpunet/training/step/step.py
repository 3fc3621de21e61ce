"""A training step for one batch shape, and the executor that runs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any, NoReturn

import numpy as np

from gpunet import versions
from gpunet.device import Array
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
from gpunet.ops._matmul_plan import chosen_kernel
from gpunet.recording import NotRecordableError, recorded
from gpunet.tape import Tape
from gpunet.training.explain import Explanation
from gpunet.training.protocol import Training
from gpunet.training.rank_loss import RankLoss
from gpunet.training.step.executors import KINDS, choose
from gpunet.training.step.gradient_sum import GradientSum
from gpunet.training.step.interfaces import ExecutorName, Source

CODE_ERRORS = (ShapeError, DTypeError, DeviceMismatchError)
"""Errors that the step's code raises whether it is recorded or not."""


class Step:
    """The training step for one batch shape.

    Args:
        training: the model, the loss, the optimizer and the settings; attached.
        source: where the batches come from.
        count: rows of the batch, of all ranks together.
        warn: is called with a message where the step falls back to another executor.

    Attributes:
        ranks: who trains.
        share: the loss over this rank's rows; None where it has all rows.
        shares: what weighs the rows of a rank or of a part, as they count in the batch.
        value, prediction: the loss, (), and the outputs of the last step, or of the last part of its batch, on the
            device; the next one overwrites them.
        seconds: time of a step in the last run, as the host sees it; None: not measured yet.
        executor: what runs it.
        refusal: why the persistent kernel does not run it; None: it does, or nobody asked.
        is_prepared: whether it is recorded, or falls back to eager execution.
    """

    value: Array
    prediction: Array
    seconds: float | None = None

    def __init__(self, training: Training, source: Source, count: int, warn: Callable[[str], None]):
        self.model, self.loss, self.optimizer = training.model, training.loss, training.optimizer
        self.seed, self.source, self.count = training.seed, source, count
        self._name: ExecutorName = training.executor if source.recordable else "eager"
        self.precision, self.ranks, self._warn = training.precision, training.ranks, warn
        self.store, self.device = self.model.store, self.model.device
        self._params = self.store.params
        self._training, self._settings = training, training.version
        self.share: RankLoss | None = None
        self._sum = GradientSum(self.store, source.parts) if len(source.parts) > 1 else None
        self.first_row = 0
        self.reduce: Callable[[], Any] | None = None
        self.refusal: str | None = None
        if self.ranks.size > 1:
            self.loss = self.share = RankLoss(self.loss, count, self.ranks.rows(count), self._params)
            self.first_row = self.share.own.start
            self.reduce = self.ranks.reducer(self.store.grads)
        self.shares = [share for share in (self.share, self._sum) if share is not None]
        self.optimizer.prepare()
        self.parts = versions.parts(training, self.loss)
        self._begin(choose(self, self._name))

    def _begin(self, executor: str) -> None:
        """Begin with an executor and fresh buffers, nothing recorded."""
        self.executor = KINDS[executor](self)
        sizes = {part.stop - part.start for part in self.source.parts}
        self._tapes = {size: Tape(self.seed, self.optimizer.counter) for size in sizes}
        self.is_prepared = False
        self._made_of = self._fingerprint()
        self._checked = versions.latest

    def _fingerprint(self) -> tuple[str | None, list[int]]:
        return chosen_kernel(), [part.version for part in self.parts]

    @property
    def is_current(self) -> bool:
        """Whether nothing that the step was made of has changed since: model, loss, optimizer, device, kernels."""
        latest = versions.latest
        if self._checked == latest:
            return True
        if self.executor.name == "eager":  # it reads everything anew except the trainer's settings
            return self._params is self.store.params and self._settings == self._training.version
        if self._made_of != self._fingerprint():
            return False
        self._checked = latest
        return True

    def prepare(self) -> None:
        """Record the step unless that was done.

        Raises:
            OutOfMemoryError: the buffers of the step do not fit; the parameters are what they were.
            StateError: the step cannot be recorded, and the trainer asks for an executor that needs it.
        """
        if self.is_prepared:
            return
        try:
            self._refuse_layers_that_opt_out()
            self.executor.record()
            if self._made_of != self._fingerprint():
                raise NotRecordableError("a layer, the loss or the optimizer sets attributes while it runs.")
        except MemoryError as error:
            if (self._name, self.executor.name) != ("auto", "persistent"):
                self._raise_out_of_memory(error)
            self._fall_back(NotRecordableError(f"its memory does not fit: {error}"))
        except (KernelError, *CODE_ERRORS):
            self._begin(self.executor.name)
            raise
        except Exception as error:  # CuPy's, the driver's, and those of a user's layer
            self._fall_back(error)
        self.is_prepared = True

    def _fall_back(self, error: Exception) -> None:
        """Fall back: from the persistent kernel to the graph, or with a warning to NumPy calls or to eager steps.

        Raises:
            StateError: the trainer asks for the executor that failed.
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
        except NotRecordableError as error:  # found out before the first replay
            self._fall_back(error)
            self.executor.run(steps)
        except MemoryError as error:
            self._raise_out_of_memory(error)
        except BaseException:
            self._begin(self.executor.name)  # the buffers are those of a step that broke off
            raise

    def gradients(self, tape: Tape, load: Callable[[Tape], Sequence[Array]]) -> tuple[Array, Array, Array]:
        """Run the step on the batch that `load` returns up to its gradients; return the loss, outputs and targets."""
        x, target, *weights = load(tape)
        prediction = self.model.forward(x, tape)
        given = {"weight": weights[0]} if weights else {}  # a loss may do without the parameter
        value, gradient = self.loss.value_and_grad(prediction, target, tape=tape, **given)
        self.loss.require_array(value)
        self.model.backward(gradient, tape, input_gradient=False)
        return value, prediction, target

    def work(self) -> None:
        """Run the step up to its update: gradients, part by part of the batch, and the sums of the metrics."""
        for number, part in enumerate(self.source.parts):
            tape = self._tapes[part.stop - part.start]
            tape.reset(first_row=self.first_row + part.start)
            value, self.prediction, target = self.gradients(tape, partial(self.source.load, part))
            self.value = value
            if self._sum is not None:
                self._sum.add(number, value, tape)
                self.value, value = self._sum.value, recorded(self._sum.of_part)
            self.source.add(value, self.prediction, target, tape)

    def weigh(self, norms: np.ndarray | None) -> None:
        """Let this rank, or the parts of the batch, count as much as their rows add to the mean over the batch.

        Args:
            norms: (rows,), what each row of the batch adds to the denominator; None: all the same.
        """
        for share in self.shares:
            share.weigh(norms)

    def pack(self) -> int:
        """Move the buffers of the step into fixed memory, as `Tape.pack` does; return its size in bytes."""
        return sum(tape.pack() for tape in self._tapes.values())

    def update(self) -> None:
        """Sum the gradients over the ranks and update the parameters."""
        if self.reduce is not None:
            self.reduce()
        self.optimizer.step()

    def run_eagerly(self) -> None:
        """Run the code of the step once."""
        with self.products():
            self.work()
        self.update()

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Restore after the block what a step changes before its update, except the gradients."""
        kept = [(a, a.copy()) for a in (self.store.buffers, *self.source.advances)]
        try:
            yield
        finally:
            for a, before in kept:
                a[...] = before

    def products(self) -> AbstractContextManager[Any]:
        """Return the block in which the matrix products of the step run with the kernel that it asks for."""
        if self._params.dtype == np.float32:
            return use_kernel("mma") if self.precision == "tf32" else nullcontext()
        if self.executor.name == "graph" and chosen_kernel() is None:
            return use_kernel("tiled")  # else cuBLAS computes them, and its calls cannot be captured
        return nullcontext()

    def describe(self) -> Explanation | None:
        """Return what the recorded step consists of; None where it is not recorded."""
        return self.executor.describe() if self.is_prepared else None

    def _refuse_layers_that_opt_out(self) -> None:
        for part in self.parts:
            if self.executor.name != "eager" and isinstance(part, Layer) and not part.recordable:
                raise NotRecordableError(f"{part!r} has recordable = False.")

    def _raise_out_of_memory(self, error: MemoryError) -> NoReturn:
        needed, free = sum(tape.nbytes for tape in self._tapes.values()), self.device.free_bytes()
        self._begin(self.executor.name)
        raise OutOfMemoryError(
            f"{self.device.name}: the buffers of a training step do not fit: {needed / 2**20:,.1f} MiB were needed so "
            f"far, {free / 2**20:,.1f} MiB are free ({error}). Use a smaller batch_size."
        ) from error

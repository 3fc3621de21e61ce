"""The Trainer: settings of a training and its calls.

It is the boundary between a user's host arrays and the device: it checks and moves the data once, gathers batches on
the device, and reads the device once an epoch. `epochs.py` has the loop, `step/` the training step.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from gpunet import random
from gpunet.arguments import whole
from gpunet.device import Array
from gpunet.errors import ArgumentError, DataError, StateError
from gpunet.losses import CrossEntropyLoss, Loss
from gpunet.models import Model
from gpunet.optimizers import Adam, Optimizer
from gpunet.training import checkpoint
from gpunet.training.batches import Batches
from gpunet.training.callbacks import Callback
from gpunet.training.distributed import Ranks
from gpunet.training.epochs import EpochLoop
from gpunet.training.evaluation import Metric, default_metrics, evaluate
from gpunet.training.examples import check_training
from gpunet.training.explain import Explanation
from gpunet.training.history import History
from gpunet.training.running import RunningMeans
from gpunet.training.step import EXECUTORS, ExecutorName, Inputs, StepCache
from gpunet.versions import Versioned

PRECISIONS = ("float32", "tf32")

KIND = operator.attrgetter("shape", "dtype")


class Trainer(Versioned):
    """Trains a model.

    Args:
        model: what to train, on the device where it lives.
        loss: what to minimise; cross-entropy by default.
        optimizer: the update rule; Adam by default.
        callbacks: what happens beside (see `gpunet.training.callbacks`).
        metrics: functions (target, prediction) -> float by name, for `evaluate` and validation. A classifier's
            predictions are its logits, other models' those of `predict`. By default "accuracy", for regression "mae"
            and "r2", for similarity none.
        seed: of the shuffles, the dropout masks and the validation split.
        executor: what runs the training step: "eager", its code; "numpy", its recorded NumPy calls; "native", its
            recorded C++ nodes on all cores (needs a C++ compiler); "graph", on a GPU its kernels in a CUDA graph;
            "auto", the fastest one that there is. Where the step cannot be recorded, "auto" warns and runs it eagerly.
        precision: "float32", or "tf32": on a GPU, float32 products on tensor cores, which round their operands to 10
            bits of mantissa.
        distributed: "mpi": the ranks that `mpiexec -n` started train together, each on its rows of every batch, with
            the numbers of one process; needs mpi4py. Each makes the same model and trainer and calls `fit` with the
            same data. Rank 0 alone validates and calls the callbacks that write. A rank that fails while it trains ends
            all; Ctrl-C ends the training after the epoch.

    Attributes:
        history: what each epoch gave.
        epoch: epochs done.
        position: samples done of an epoch that was interrupted.
        rows: samples of the data last trained on.
        ranks: who trains: this process alone, or with others.
    """

    outside_the_step = frozenset(("history", "epoch", "position", "rows", "running", "callbacks", "metrics"))

    def __init__(
        self,
        model: Model,
        *,
        loss: Loss | None = None,
        optimizer: Optimizer | None = None,
        callbacks: Sequence[Callback] = (),
        metrics: Mapping[str, Metric] | None = None,
        seed: int = 0,
        executor: ExecutorName = "auto",
        precision: Literal["float32", "tf32"] = "float32",
        distributed: Literal["mpi"] | None = None,
    ):
        if executor not in EXECUTORS:
            names = ", ".join(map(repr, EXECUTORS))
            raise ArgumentError(f"Trainer: executor must be one of {names}, got {executor!r}.")
        if precision not in PRECISIONS:
            raise ArgumentError(f"Trainer: precision must be 'float32' or 'tf32', got {precision!r}.")
        if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
            raise ArgumentError(f"Trainer: seed must be a whole number from 0 to 2**64 - 1, got {seed!r}.")
        self.model = model
        self.loss = CrossEntropyLoss() if loss is None else loss
        if isinstance(callbacks, Callback):
            raise ArgumentError("Trainer: callbacks takes a sequence of them, such as [gn.ProgressBar()].")
        if not isinstance(metrics, Mapping | None) or not all(map(callable, (metrics or {}).values())):
            raise ArgumentError(
                "Trainer: metrics takes functions (target, prediction) by name, as in "
                f"{{'accuracy': gn.metrics.accuracy}}, got {metrics!r}."
            )
        optimizer = Adam() if optimizer is None else optimizer
        for name, value, kind in (
            ("model", model, Model),
            ("loss", self.loss, Loss),
            ("optimizer", optimizer, Optimizer),
            *(("callbacks", callback, Callback) for callback in callbacks),
        ):
            if not isinstance(value, kind):
                raise ArgumentError(f"Trainer: {name} takes a `{kind.__name__}`, got {value!r}.")
        self.optimizer = optimizer
        self.ranks = Ranks.join(distributed)
        own = (callback for callback in callbacks if self.ranks.main or callback.on_every_rank)
        self.callbacks = sorted(own, key=lambda callback: callback.order)
        self.metrics = dict(default_metrics(self.loss) if metrics is None else metrics)
        self.seed = int(seed)
        self.history = History()
        self.epoch = 0
        self.position = 0
        self.rows = 0
        self.running = RunningMeans(self.loss.task)
        self.executor = executor
        self.precision = precision
        self._steps = StepCache(self)
        self._batches: Batches | None = None
        self._attached = False

    def attach(self) -> None:
        """Give the model to the optimizer, unless that was done; the first `fit`, `step` or `save` does it.

        Raises:
            ArgumentError: the model has no parameters.
            StateError: the model or the optimizer has been given to another training since.
        """
        if not self._attached:
            if not self.model.parameters():
                raise ArgumentError(f"{self.model!r} has no parameters to train; `leaves` returns none.")
            self.optimizer.attach(self.model)
            self.model.task = self.loss.task
            self._attached = True
        elif not self.optimizer.serves(self.model):
            raise StateError("the model or the optimizer is in another training now; make a new Trainer to go on.")

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        validation: float | tuple[ArrayLike, ArrayLike] | None = None,
        shuffle: bool = True,
        sample_weight: ArrayLike | None = None,
    ) -> History:
        """Train for some epochs more; the first ends the epoch that an interruption left unfinished.

        Ctrl-C ends training after the step that runs; a second Ctrl-C at once.

        Args:
            X: (rows, features...) host data, standardised by the model's scaler if it has one; or integers (rows, ...),
                where the model's first layer takes indices.
            y: (rows, ...) class labels (integers, or names), distributions, or values, as the loss wants them.
            epochs: how many, >= 1.
            batch_size: rows a step, >= 1; at most all rows.
            validation: a share of the rows to hold out (stratified for class labels), or data (X, y).
            shuffle: whether each epoch has an order of its own, a function of the seed and the epoch's number.
            sample_weight: (rows,) weights >= 0 of the rows in the loss.

        Returns:
            The history, also of earlier calls.

        Raises:
            ArgumentError: epochs or batch_size below 1.
            DataError, DTypeError, ShapeError: data that cannot be used; nothing was changed.
        """
        with self.ranks.together():
            epochs, batch_size = whole("fit: epochs", epochs), whole("fit: batch_size", batch_size)
            examples = check_training(
                self.model, self.loss, X, y, validation=validation, sample_weight=sample_weight, seed=self.seed
            )
            rows = len(examples.arrays[0])
            if self.position and rows != self.rows:
                raise DataError(f"X: {rows} rows; the epoch that was interrupted had {self.rows}. Give the same data.")
            self.ranks.check_batches(rows, self.position, batch_size)
            self.attach()
        self.ranks.begin(self, examples.arrays, batch_size=batch_size, epochs=epochs, shuffle=shuffle)
        self.model.classes, self.rows = examples.classes, rows
        norms = self.loss.norms(*examples.arrays[1:]) if self.ranks.size > 1 else None
        with self.model.device.activate(), self.ranks.guard():
            batches = self._load(examples.arrays)
            validation = examples.validation
            loop = EpochLoop(
                self,
                self._steps,
                batches,
                batch_size=batch_size,
                order=partial(self._order, shuffle),
                validate=None if validation is None else partial(self.evaluate, *validation),
                norms=norms,
            )
            try:
                loop.run(epochs)
            finally:
                batches.release()
        return self.history

    def _order(self, shuffle: bool) -> np.ndarray:
        """Return the order of the rows in the epoch that begins or continues, (rows,)."""
        return random.permutation(self.rows, seed=self.seed, epoch=self.epoch) if shuffle else np.arange(self.rows)

    def _load(self, arrays: Sequence[np.ndarray]) -> Batches:
        """Return the batches of the data; the same object as before, which steps know, where it takes such data."""
        if self._batches is None or not self._batches.takes(self.model.device, arrays):
            self._steps.clear()  # before the new data is uploaded: they hold memory, and name the old
            self._batches = Batches(self.model.device, [(a.shape[1:], a.dtype) for a in arrays])
        self._batches.load(arrays)
        self.running.to(self.model.device)
        return self._batches

    def step(self, X: Array, y: Array, weight: Array | None = None) -> Array:
        """Do one training step on one batch, reading nothing back.

        Several ranks are all given the whole batch; with row or class weights they read these.

        On a GPU a recorded step reads C-contiguous arrays of the GPU in place, on the CPU a native step those of host
        memory; all others are copied. On a GPU the trainer keeps the first 16 such batches of each shape. They may be
        written between steps.

        Args:
            X: (rows, features...) ready features: not standardised here, and not searched for NaN; or indices.
            y: targets as the loss takes them, in [0, classes) or in the model's dtype.
            weight: (rows,) row weights.

        Returns:
            The loss, an array of shape () on the device, which the next step overwrites. Of several ranks each has its
            own; their mean, weighted by their rows, is that of the batch.

        Raises:
            DataError: indices in host memory that are out of range.
            ArgumentError: fewer rows than ranks.
        """
        given = [X, y] if weight is None else [X, y, weight]
        try:
            kind = tuple(map(KIND, given))
        except AttributeError:  # lists
            given = list(map(np.asarray, given))
            kind = tuple(map(KIND, given))
        if self.ranks.size > 1 and not len(self._steps):
            self.attach()
            self.ranks.begin(self)
        step = self._steps.find(kind)
        if step is None:
            step = self._steps.make(kind, len(given[0]), lambda rows: Inputs(self.model, self.loss))
        with step.device.activate():
            if step.share is not None:
                step.share.weigh(self.loss.norms(*given[1:]))
                given = [a[step.share.own] for a in given]
            assert isinstance(step.source, Inputs)
            step.source.give(step, given)
            step.run()
        return step.value

    def evaluate(self, X: ArrayLike, y: ArrayLike) -> dict[str, float]:
        """Return the loss and the metrics on raw host data, as {"loss": ..., "accuracy": ...}; NaN for a NaN model.

        Args:
            X: as for `fit`.
            y: as for `fit`.

        Raises:
            DataError, DTypeError, ShapeError: data that cannot be used.
        """
        return evaluate(self.model, self.loss, self.metrics, X, y)

    def explain(self) -> Explanation:
        """Return what the recorded step consists of: the executor, each node with its shapes, and the memory.

        Of several batch shapes it is that of the largest batch.

        Raises:
            StateError: no step was recorded.
        """
        found = self._steps.explanations()
        if not found:
            raise StateError("explain: no step was recorded; train for a step, with an executor other than 'eager'.")
        return max(found, key=lambda explanation: explanation.arena_bytes)

    def predict(self, X: ArrayLike) -> np.ndarray:
        """Return the model's labels or values for raw host data; see `Model.predict`."""
        return self.model.predict(X)

    def stop(self, why: str) -> None:
        """End training: `fit` returns after the epoch, with `why` in `history.stopped`; Ctrl-C comes first there."""
        if self.history.stopped != "interrupted":
            self.history.stopped = why

    def save(self, path: str | Path) -> None:
        """Write the whole training to a file, from which `resume` goes on bit for bit.

        Of several ranks, rank 0 writes; within an epoch all call it.

        Raises:
            ArgumentError: a layer, the loss or the optimizer is your own code, which no file can hold.
            OSError: the file cannot be written; one that was there before is untouched.
        """
        checkpoint.save(self, path)

    @classmethod
    def resume(
        cls,
        path: str | Path,
        *,
        callbacks: Sequence[Callback] = (),
        metrics: Mapping[str, Metric] | None = None,
        distributed: Literal["mpi"] | None = None,
    ) -> Trainer:
        """Return the trainer that `save` wrote, on the current device; `fit` goes on from there.

        Args:
            path: the file.
            callbacks: as for `Trainer`; each takes over the saved state of its kind.
            metrics: as for `Trainer`; functions are not saved.
            distributed: as for `Trainer`; the training may have had any number of ranks.

        Raises:
            FileNotFoundError: there is no such file.
            ModelFileError: the file is truncated, altered, or no checkpoint.
        """
        return checkpoint.load(cls, path, callbacks, metrics, distributed)

    def __getstate__(self) -> Any:
        raise StateError(
            "a Trainer is not pickled or copied: trainer.save(path) writes all of it, and gn.Trainer.resume(path) goes "
            "on from there bit for bit. trainer.model can be pickled and copied."
        )

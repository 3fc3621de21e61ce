"""The Trainer: settings of a training and its calls.

It takes host arrays, checks them and moves them to the device once. `epochs.py` has the loop, `step/` the step.
"""

from __future__ import annotations

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
from gpunet.training.callbacks import Callback
from gpunet.training.distributed import Ranks
from gpunet.training.epochs import EpochLoop
from gpunet.training.evaluation import Evaluation, Metric, default_metrics
from gpunet.training.examples import check_training
from gpunet.training.explain import Explanation
from gpunet.training.history import History
from gpunet.training.running import RunningMeans
from gpunet.training.settings import SETTINGS, check_settings
from gpunet.training.step import ExecutorName, StepCache
from gpunet.versions import Versioned


class Trainer(Versioned):
    """Trains a model.

    Args:
        model: the model, on the device where it lives.
        loss: the loss to minimise; cross-entropy by default.
        optimizer: the update rule; Adam by default.
        callbacks: code to run during training (`gpunet.training.callbacks`).
        metrics: functions (target, prediction) -> float by name, for `evaluate` and validation. A classifier's
            predictions are its logits, other models' those of `predict`. By default "accuracy", for regression "mae"
            and "r2", for similarity none.
        seed: the seed of shuffles, dropout masks and the validation split.
        executor: what runs the training step: "eager", its code; "numpy", its recorded NumPy calls; "native", its
            recorded C++ nodes on all cores (needs a C++ compiler); "graph", on a GPU its kernels in a CUDA graph;
            "persistent", on a GPU one kernel that runs many steps of a small MLP; "auto", the fastest one that there
            is. Where the step cannot be recorded, "auto" warns and runs it eagerly.
        precision: "float32", or "tf32": on a GPU, float32 products on tensor cores, which round their operands to 10
            bits of mantissa.
        distributed: "mpi": the ranks that `mpiexec -n` started train together, each on its rows of every batch, with
            the results of one process; needs mpi4py. Each makes the same model and trainer and calls `fit` with the
            same data. Rank 0 alone validates and calls the callbacks that write. A rank that fails ends all; Ctrl-C
            ends the training after the epoch.

    Attributes:
        history: a row for each epoch.
        epoch: epochs done.
        position: rows done of an epoch that was interrupted.
        rows: rows of the data last trained on.
        ranks: who trains: this process alone, or with others.
    """

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
        self.model = model
        self.loss = CrossEntropyLoss() if loss is None else loss
        optimizer = Adam() if optimizer is None else optimizer
        check_settings(model, self.loss, optimizer, callbacks, metrics, seed, executor, precision)
        self.optimizer = optimizer
        self.ranks = Ranks.join(distributed)
        own = (callback for callback in callbacks if self.ranks.main or callback.on_every_rank)
        self.callbacks = sorted(own, key=lambda callback: callback.order)
        self.metrics = dict(default_metrics(self.loss) if metrics is None else metrics)
        self.seed = int(seed)
        self.history = History()
        self.epoch = self.position = self.rows = 0
        self.running = RunningMeans(self.loss.task)
        self.executor = executor
        self.precision = precision
        self._steps = StepCache(self)
        self._attached = False

    def __setattr__(self, name: str, value: Any) -> None:
        if name in SETTINGS:
            super().__setattr__(name, value)
        else:
            object.__setattr__(self, name, value)

    def attach(self) -> None:
        """Attach the model to the optimizer, unless that was done; the first `fit`, `step` or `save` does it.

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
            raise StateError("the model or the optimizer is in another training now; make a new Trainer to continue.")

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
        """Train for more epochs; the first ends the epoch that an interruption left unfinished.

        Ctrl-C stops training at the end of a step, within some 50 ms; a second Ctrl-C at once.

        Args:
            X: (rows, features...) host data, standardised by the model's scaler if it has one; or integers (rows, ...),
                where the model's first layer takes indices. Integers, and what is standardised, stay in their own dtype
                and are converted batch by batch. A GPU keeps the data; another `fit` uploads what has changed.
            y: (rows, ...) class labels (integers, or names), distributions, or values, as the loss takes them.
            epochs: number of epochs, >= 1.
            batch_size: rows of a step, >= 1; at most all rows.
            validation: a share of the rows to hold out (stratified for class labels), or data (X, y).
            shuffle: whether each epoch has an order of its own, a function of the seed and the epoch's number.
            sample_weight: (rows,) weights >= 0 of the rows in the loss.

        Returns:
            The history, earlier calls included.

        Raises:
            ArgumentError, DataError, DTypeError, ShapeError: unusable arguments or data; nothing was changed.
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
        held_out = examples.validation
        validate = None if held_out is None else Evaluation(self.model, self.loss, self.metrics, *held_out)
        loop = EpochLoop(self, self._steps, batch_size, partial(self._order, shuffle), validate)
        with self.model.device.activate(), self.ranks.guard():
            loop.run(examples.arrays, epochs)
        return self.history

    def _order(self, shuffle: bool) -> np.ndarray:
        """Return the order of the rows in the epoch that begins or continues, (rows,)."""
        return random.permutation(self.rows, seed=self.seed, epoch=self.epoch) if shuffle else np.arange(self.rows)

    def step(self, X: Array, y: Array, weight: Array | None = None) -> Array:
        """Run one training step on one batch, without waiting for the device. Several ranks all get the whole batch.

        A graph reads C-contiguous arrays of its GPU in place, a native step those of host memory; all others are
        copied. They may be written between steps. A graph keeps the first 16 such batches of each shape alive.

        Args:
            X: (rows, features...) ready features: not standardised here, and not searched for NaN; or indices.
            y: targets as the loss takes them, in [0, classes) or in the model's dtype.
            weight: (rows,) row weights.

        Returns:
            The loss, an array of shape () on the device, which the next step overwrites; with several ranks that of
            this rank's rows.

        Raises:
            DataError: indices in host memory that are out of range.
            ArgumentError: fewer rows than ranks.
        """
        return self._steps.run([X, y] if weight is None else [X, y, weight])

    def evaluate(self, X: ArrayLike, y: ArrayLike) -> dict[str, float]:
        """Return {"loss": ..., "accuracy": ...} on data as for `fit`, with its errors; NaN for a NaN model."""
        return Evaluation(self.model, self.loss, self.metrics, X, y)()

    def explain(self) -> Explanation:
        """Return what the recorded step of the largest batch consists of: executor, nodes with their shapes, memory.

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
        """End training after the epoch, with `why` in `history.stopped`, where Ctrl-C has precedence."""
        if self.history.stopped != "interrupted":
            self.history.stopped = why

    def save(self, path: str | Path) -> None:
        """Write the full training state to a file; resuming is bit-for-bit identical. All ranks call it, rank 0 writes.

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
        """Return the trainer that `save` wrote, on the current device; `fit` continues from there.

        Callbacks, metrics and ranks are not in the file: give them again, as for `Trainer`; there may be another number
        of ranks. Each callback takes over the saved state of its kind.

        Raises:
            FileNotFoundError, ModelFileError: there is no such file; it is truncated, altered, or no checkpoint.
        """
        return checkpoint.load(cls, path, callbacks, metrics, distributed)

    def __getstate__(self) -> Any:
        raise StateError(
            "a Trainer cannot be pickled or copied, but its model can; use trainer.save(path), gn.Trainer.resume(path)."
        )

"""The Trainer: settings of a training and its calls.

It takes host arrays, checks them and moves them to the device once. `epochs.py` has the loop, `step/` the step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from numpy.typing import ArrayLike

from gpunet.arguments import whole
from gpunet.attributes import Strict
from gpunet.device import Array
from gpunet.errors import ArgumentError, StateError
from gpunet.habits import answers_habits
from gpunet.losses import Loss
from gpunet.models import Model
from gpunet.optimizers import Optimizer
from gpunet.registry import Custom, checked
from gpunet.training import checkpoint
from gpunet.training.callbacks import Callback
from gpunet.training.distributed import Ranks
from gpunet.training.epochs import EpochLoop
from gpunet.training.evaluation import default_metrics
from gpunet.training.feeds import feed_for
from gpunet.training.given import Asked
from gpunet.training.history import History
from gpunet.training.inspection import Inspection
from gpunet.training.metrics import Metric
from gpunet.training.running import RunningMeans
from gpunet.training.settings import CHECKS, SETTINGS, check_together
from gpunet.training.step import ExecutorName, StepCache


class Trainer(Inspection):
    """Trains a model.

    Args:
        model: the model, on the device where it lives.
        loss: the loss to minimise, or the name of one with its defaults: "cross_entropy" (taken for None), "bce",
            "mse", "huber", "l1", "quantile", "poisson", "cosine_embedding".
        optimizer: the update rule, or likewise "adam" (taken for None), "adamw", "sgd", "rmsprop".
        callbacks: code to run during training (`gpunet.training.callbacks`).
        metrics: functions (target, prediction) -> float by name, for `evaluate` and validation: your own, those of
            `gn.metrics` and of `sklearn.metrics`. A classifier's predictions are its logits, or labels or probabilities
            where a metric takes those (see `gpunet.training.metrics`), other models' those of `predict`. By default
            "accuracy", for regression "mae" and "r2", for similarity none. A metric that callbacks monitor says by its
            attribute `greater_is_better` which way it is better (`gn.metrics.direction`).
        seed: the seed of shuffles, dropout masks and the validation split.
        executor: what runs the training step: "eager", its code; "numpy", its recorded NumPy calls; "native", its
            recorded C++ nodes on all cores (needs a C++ compiler); "graph", on a GPU its kernels in a CUDA graph;
            "persistent", on a GPU one kernel that runs many steps of a small MLP; "auto", the fastest one that there
            is. Where the step cannot be recorded, "auto" warns and runs it eagerly.
        precision: "float32", or "tf32": on a GPU, float32 products on tensor cores, which round their operands to 10
            bits of mantissa.
        ema: the decay, in [0, 1), of a moving average of the weights, as `torch.optim.swa_utils` has it: after each
            step, average += (1 - ema) * (weights - average); the first step's weights begin it, and a step that is not
            applied, as its gradient is not finite, changes nothing. Buffers, such as running statistics, are not
            averaged. Validation, `evaluate` and `predict` go by the average, so the best epoch is its best; `model`
            keeps the weights with which training continues, and `ema_model` returns a model with the average.
        accumulate: how many consecutive batches make a step. The step is that of one batch of all their rows, in the
            memory that one of the batches takes: their gradients are summed, each weighted by its share of the rows.
            Dropout has the masks of the large batch. `optimizer.steps` and schedules count such steps. The last step
            of an epoch may have fewer rows. It works in one process, and without batch norm.
        distributed: "mpi": the ranks that `mpiexec -n` started train together, each on its rows of every batch, with
            the results of one process; needs mpi4py. Each makes the same model and trainer and calls `fit` with the
            same data. Rank 0 alone validates and calls the callbacks that write. A rank that fails ends all; Ctrl-C
            ends the training after the epoch.

    Attributes:
        history: a row for each epoch.
        epoch: epochs done.
        position: rows done of an epoch that was interrupted.
        rows: rows of an epoch of the data last trained on; 0 where an iterable has not shown them yet.
        columns: names of the history's columns in the last `fit`.
        ranks: who trains: this process alone, or with others.
    """

    def __init__(
        self,
        model: Model,
        *,
        loss: Loss | str | None = None,
        optimizer: Optimizer | str | None = None,
        callbacks: Sequence[Callback] = (),
        metrics: Mapping[str, Metric] | None = None,
        seed: int = 0,
        executor: ExecutorName = "auto",
        precision: Literal["float32", "tf32"] = "float32",
        ema: float | None = None,
        accumulate: int = 1,
        distributed: Literal["mpi"] | None = None,
    ):
        self.ranks = Ranks.join(distributed)
        given = {
            "model": model,
            "loss": "cross_entropy" if loss is None else loss,
            "optimizer": "adam" if optimizer is None else optimizer,
            "metrics": metrics,
            "callbacks": callbacks,
            "seed": seed,
            "executor": executor,
            "precision": precision,
            "ema": ema,
            "accumulate": accumulate,
        }
        for name, value in given.items():
            setattr(self, name, value)  # which checks it
        check_together(self)
        self.history = History()
        self.epoch = self.position = self.rows = 0
        self.columns: tuple[str, ...] = ()
        self.running = RunningMeans(self.loss.task)
        self._steps = StepCache(self)
        self._attached = False

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "metrics" and value is None:
            value = default_metrics(self.loss)
        if name in CHECKS:
            value = CHECKS[name](value)
        if name == "callbacks":
            value = [callback for callback in value if self.ranks.main or callback.on_every_rank]
        if name in SETTINGS:
            super().__setattr__(name, value)
        else:
            Strict.__setattr__(self, name, value)

    def attach(self) -> None:
        """Attach the model to the optimizer, unless that was done; the first `fit`, `step` or `save` does it.

        Raises:
            ArgumentError: the model has no parameters, or batch norm with `accumulate`.
            StateError: the model or the optimizer has been given to another training since.
        """
        if not self._attached:
            if not self.model.parameters():
                raise ArgumentError(f"{self.model!r} has no parameters to train; `leaves` returns none.")
            self.optimizer.attach(self.model)
            self.model.store.keep_average(None)
            self.model.task = self.loss.task
            self._attached = True
        elif not self.optimizer.serves(self.model):
            raise StateError("the model or the optimizer is in another training now; make a new Trainer to continue.")
        check_together(self)
        if self.model.store.decay != self.ema:
            self.model.store.keep_average(self.ema)

    @answers_habits
    def fit(
        self,
        X: ArrayLike | Iterable[Any],
        y: ArrayLike | None = None,
        *,
        epochs: int = 10,
        batch_size: int = 32,
        drop_last: bool = False,
        validation: float | tuple[ArrayLike, ...] | Iterable[Any] | None = None,
        shuffle: bool = True,
        sample_weight: ArrayLike | None = None,
    ) -> History:
        """Train for more epochs; the first ends the epoch that an interruption left unfinished.

        Ctrl-C stops training at the end of a step, within some 50 ms; a second Ctrl-C at once.

        What need not be in memory is loaded by a thread while steps run: `np.memmap`s, row by row, and an iterable of
        batches (X, y) or (X, y, weight), such as a PyTorch DataLoader or a list, which each epoch iterates anew. Its
        batches may differ in their number of rows; `batch_size`, `shuffle` and `drop_last` have no effect. An epoch
        that was interrupted resumes after the batches that were done, which are skipped; one in which the iterable
        failed begins anew.

        Args:
            X: (rows, features...) host arrays, lists, or a data frame (pandas, polars, pyarrow) of real numbers,
                standardised by the model's scaler if it has one; or integers (rows, ...), where the model's first layer
                takes indices. Integers, and what is standardised, stay in their own dtype and are converted batch by
                batch. A GPU keeps the data; another `fit` uploads what has changed. Or an iterable of batches.
            y: (rows, ...) class labels (integers, or names), distributions, or values, as the loss takes them; None
                for an iterable, whose names of classes must be those of `model.classes`.
            epochs: number of epochs, >= 1.
            batch_size: rows of a batch, >= 1; at most all rows. `accumulate` batches make a step.
            drop_last: whether an epoch leaves out the rows that do not fill a last batch.
            validation: a share of the rows to hold out, which have their `sample_weight`; class labels are divided
                class by class. Or data, a tuple (X, y) or (X, y, weights). Or an iterable of batches, each (X, y) or
                (X, y, weights), such as a list; all its outputs and targets are in memory at a time. Weights count in
                the loss, not in the metrics.
            shuffle: whether each epoch has an order of its own, a function of the seed and the epoch's number.
            sample_weight: (rows,) weights >= 0 of the rows in the loss.

        Returns:
            The history, earlier calls included.

        Raises:
            ArgumentError, DataError, DTypeError, ShapeError: unusable arguments or data; nothing was changed. Or, of an
                iterable, a batch that cannot be used or is not there; the steps on those before it are done.
            Exception: what an iterable raises, likewise.
        """
        with self.ranks.together():
            epochs, batch_size = whole("fit: epochs", epochs), whole("fit: batch_size", batch_size)
            asked = Asked(epochs, batch_size, drop_last, shuffle, validation, sample_weight)
            feed = feed_for(self, self._steps, X, y, asked)
            self.attach()
        if feed.position != self.position:
            self.position = feed.position
            self.running.reset()
        self.ranks.begin(self, feed.arrays, batch_size=batch_size, epochs=epochs, shuffle=shuffle, drop_last=drop_last)
        with self.model.device.activate(), self.ranks.guard():
            EpochLoop(self, self._steps, feed).run(epochs)
        return self.history

    def step(self, X: Array, y: Array, weight: Array | None = None) -> Array:
        """Run one training step on one batch, without waiting for the device. Several ranks all get the whole batch.

        With `accumulate` the batch goes through the model in so many parts.

        A graph reads C-contiguous arrays of its GPU in place, a native step those of host memory; all others are
        copied. They may be written between steps. A graph keeps the first 16 such batches of each shape alive.

        Args:
            X: (rows, features...) ready features: not standardised here, and not searched for NaN; or indices. Data
                frames are made arrays first.
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

    def stop(self, why: str) -> None:
        """End training after the epoch, with `why` in `history.stopped`, where Ctrl-C has precedence."""
        if self.history.stopped != "interrupted":
            self.history.stopped = why

    @classmethod
    def resume(
        cls,
        path: str | Path,
        *,
        callbacks: Sequence[Callback] = (),
        metrics: Mapping[str, Metric] | None = None,
        distributed: Literal["mpi"] | None = None,
        custom: Custom | None = None,
    ) -> Trainer:
        """Return the trainer that `save` wrote, on the current device; `fit` continues from there.

        Callbacks, metrics and ranks are not in the file: give them again, as for `Trainer`; there may be another number
        of ranks. Each callback takes over the saved state of its kind. `custom` are classes of your own by the names in
        the file, where they are not registered (`gn.register`).

        Raises:
            ArgumentError: `custom` is no mapping.
            FileNotFoundError: there is no such file.
            ModelFileError: it is truncated, altered, no checkpoint, or it names a class that is not known.
        """
        return checkpoint.load(cls, path, callbacks, metrics, distributed, checked(custom))

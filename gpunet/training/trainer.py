"""The Trainer: the settings of a training and its public methods.

`epochs.py` contains the loop over epochs, `step/` the training step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from numpy.typing import ArrayLike

from gpunet.arguments import whole
from gpunet.attributes import Strict
from gpunet.device import Array
from gpunet.errors import ArgumentError, StateError
from gpunet.habits import explains_wrong_arguments
from gpunet.losses import Loss
from gpunet.models import Model
from gpunet.optimizers import Optimizer
from gpunet.training.callbacks import Callback
from gpunet.training.distributed import Ranks
from gpunet.training.epochs import EpochLoop
from gpunet.training.evaluation import default_metrics
from gpunet.training.feeds import feed_for
from gpunet.training.given import FitOptions
from gpunet.training.history import History
from gpunet.training.inspection import Inspection
from gpunet.training.metrics import Metric
from gpunet.training.running import RunningMeans
from gpunet.training.settings import CHECKS, SETTINGS, check_together
from gpunet.training.step import ExecutorName, StepCache


class Trainer(Inspection):
    """Train a model.

    Args:
        model: the model, which is trained on its device.
        loss: the loss, or its name: "cross_entropy" (the default), "bce", "mse", "huber", "l1", "quantile", "poisson"
            or "cosine_embedding".
        optimizer: the update rule, or its name: "adam" (the default), "adamw", "sgd" or "rmsprop".
        callbacks: code to run during training (`gpunet.training.callbacks`).
        metrics: functions (target, prediction) -> float by name, for `evaluate` and validation: your own, or those of
            `gn.metrics` and `sklearn.metrics`. The prediction of a classifier is the logits, or labels or probabilities
            if the metric asks for them (`gpunet.training.metrics`), otherwise the result of `predict`. Default:
            "accuracy"; for regression "mae" and "r2"; for similarity none. A callback can monitor a metric that has the
            attribute `greater_is_better` (`gn.metrics.direction`).
        seed: seed of shuffles, dropout masks and the validation split.
        executor: how to run the training step:
            - "eager": run its Python code;
            - "numpy", "native" (CPU): replay recorded NumPy calls; or C++ nodes on all cores, with a C++ compiler;
            - "graph", "persistent" (GPU): launch its kernels in a CUDA graph; or one kernel for many steps of an MLP;
            - "auto": the fastest that is available; it warns and runs "eager" if the step cannot be recorded.
            NumPy code does not warn; `np.errstate(over="raise")` around `fit` makes it raise on an overflow.
        precision: of the float32 products of training steps on a GPU; `evaluate` and `predict` use "float32":
            - "float32": on its FMA units;
            - "tf32": on its tensor cores, which round the operands to 10 bits of mantissa;
            - "3xtf32": on its tensor cores, by three products of parts of the operands, with the error of float32.
        ema: decay in [0, 1) of a moving average of the weights, as in `torch.optim.swa_utils`: after each applied step,
            average += (1 - ema) * (weights - average), from the weights after the first step. Buffers, such as running
            statistics, are not averaged. Validation, `evaluate` and `predict` use the average; `model` keeps the
            current weights, and `ema_model` returns a model with the average.
        accumulate: number of consecutive batches per step. The step equals that of one batch with all their rows, in
            the memory of one of them. `optimizer.steps` and schedules count these steps. The last step of an epoch may
            have fewer rows. Not supported in distributed training or with batch norm.
        distributed: "mpi" to train with all ranks that `mpiexec -n` started, each on its rows of every batch; needs
            mpi4py. The results are those of one process. All ranks must make the same model and trainer and call `fit`
            with the same data. If a rank fails, all are terminated; Ctrl-C ends the training after the epoch.

    Attributes:
        history: a row for each epoch.
        epoch: number of completed epochs.
        position: number of completed rows of an interrupted epoch.
        rows: number of rows of an epoch in the last `fit`; 0 if an iterable has not been read to its end.
        columns: names of the history's columns in the last `fit`.
        ranks: the processes that train together.

    Example:
        >>> data = gn.data.digits()
        >>> trainer = gn.Trainer(gn.MLP([64, 32, 10]), loss="cross_entropy", optimizer="adam")
        >>> history = trainer.fit(data.X, data.y, epochs=10)
        >>> trainer.evaluate(data.X, data.y)["accuracy"] > 0.9
        True
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
        precision: Literal["float32", "tf32", "3xtf32"] = "float32",
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
            setattr(self, name, value)  # __setattr__ checks it
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
        """Attach the optimizer to the model, unless it is attached; the first `fit`, `step` or `save` calls it.

        Raises:
            ArgumentError: the model has no parameters, or it has batch norm and `accumulate` is above 1.
            StateError: the model or the optimizer now belongs to another training.
        """
        if not self._attached:
            if not self.model.parameters():
                raise ArgumentError(f"{self.model!r} has no parameters to train; its `leaves` must return them.")
            self.optimizer.attach(self.model)
            self.model.store.keep_average(None)
            self.model.task = self.loss.task
            self._attached = True
        elif not self.optimizer.serves(self.model):
            raise StateError("the model or the optimizer now belongs to another training; make a new Trainer.")
        check_together(self)
        if self.model.store.decay != self.ema:
            self.model.store.keep_average(self.ema)

    @explains_wrong_arguments
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
        """Train for `epochs` epochs; the first one completes an interrupted epoch.

        Ctrl-C stops training after the current step, within about 50 ms; a second Ctrl-C stops it immediately.

        Data that is not in memory is loaded by a thread while steps run: `np.memmap`s row by row, and an iterable of
        batches (X, y) or (X, y, weight), such as a PyTorch DataLoader or a list, which is iterated once per epoch. Its
        batches may have different numbers of rows; `batch_size`, `shuffle` and `drop_last` are ignored. An interrupted
        epoch skips its completed batches when it resumes; after an error of the iterable the epoch starts again.

        Args:
            X: features (rows, features...): an array, lists, or a data frame (pandas, polars, pyarrow) of real numbers,
                standardised by the model's `input_scaler`; or integers (rows, ...) if the first layer takes indices;
                or an iterable of batches. A GPU keeps the data; another `fit` uploads only what has changed.
            y: targets (rows, ...) for the loss: class labels (integers or names), distributions, or values; None for an
                iterable, whose class names must be in `model.classes`.
            epochs: number of epochs, >= 1.
            batch_size: rows per batch, >= 1, at most all rows. A step has `accumulate` batches.
            drop_last: whether to skip a last batch with fewer rows.
            validation: a fraction of the rows to hold out, with their `sample_weight`, stratified by class label; or a
                tuple (X, y) or (X, y, weights); or an iterable of such batches, whose outputs and targets must fit in
                memory. Weights apply to the loss, not to the metrics.
            shuffle: whether to shuffle the rows in each epoch; the order is a function of seed and epoch.
            sample_weight: weights (rows,) >= 0 of the rows in the loss.

        Returns:
            The history, including that of earlier calls.

        Raises:
            ArgumentError, DataError, DTypeError, ShapeError: arguments or data cannot be used; nothing has changed.
            Exception: an iterable raised it, or a batch of it cannot be used; the steps before it have been done.
        """
        with self.ranks.together():
            epochs, batch_size = whole("fit: epochs", epochs), whole("fit: batch_size", batch_size)
            options = FitOptions(epochs, batch_size, drop_last, shuffle, validation, sample_weight)
            feed = feed_for(self, self._steps, X, y, options)
            self.attach()
        if feed.position != self.position:
            self.position = feed.position
            self.running.reset()
        self.ranks.begin(self, feed.arrays, batch_size=batch_size, epochs=epochs, shuffle=shuffle, drop_last=drop_last)
        with self.model.device.activate(), self.ranks.guard():
            EpochLoop(self, self._steps, feed).run(epochs)
        return self.history

    def step(self, X: Array, y: Array, weight: Array | None = None) -> Array:
        """Run one training step on one batch, without synchronizing with the device.

        C-contiguous arrays on the GPU, or in host memory for a native step, are read in place; others are copied.
        Arrays may be overwritten between steps. A graph keeps references to 16 batches of each shape. With `accumulate`
        the batch is split into that many parts. In distributed training all ranks must pass the whole batch.

        Args:
            X: prepared features (rows, features...), which are neither standardised nor checked for NaN; or indices.
            y: targets for the loss: labels in [0, classes), or values in the model's dtype.
            weight: row weights (rows,).

        Returns:
            The loss (), on the device, of this rank's rows; the next step overwrites it.

        Raises:
            DataError: an index or label in host memory is out of range.
            ShapeError: the arrays have different numbers of rows.
            ArgumentError: there are fewer rows than ranks.
        """
        return self._steps.run([X, y] if weight is None else [X, y, weight])

    def stop(self, why: str) -> None:
        """End training after the current epoch, with the reason `why` in `history.stopped`.

        The reason "interrupted" ends it after the current step (in distributed training, after the epoch), and is not
        replaced by a later one.
        """
        if self.history.stopped != "interrupted":
            self.history.stopped = why

"""Callbacks that monitor a column of the history: early stopping and checkpoints of the best epoch."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal

from gpunet.arguments import whole
from gpunet.attributes import is_own
from gpunet.device import Array, to_host
from gpunet.errors import ArgumentError
from gpunet.formats import read_as
from gpunet.training import checkpoint
from gpunet.training.callbacks import Callback, restored
from gpunet.training.history import Row
from gpunet.training.metrics import is_greater_better
from gpunet.training.protocol import Training


class Monitor(Callback):
    """Base class of callbacks that monitor one column of the history.

    Args:
        monitor: the column; by default "val_loss" if there is validation data, else "loss".
        min_delta: minimum change that counts as an improvement.
        mode: "min" if smaller values are better, "max" if larger ones are. By default the direction that the metric
            declares (`gpunet.training.metrics`); "min" for a loss.

    Raises:
        ArgumentError: another `mode`. `fit` raises it before the first step if the column will not exist, or if its
            direction is unknown.
    """

    def __init__(self, monitor: str | None = None, min_delta: float = 0.0, mode: Literal["min", "max"] | None = None):
        if mode not in (None, "min", "max"):
            raise ArgumentError(f"{type(self).__name__}: mode must be 'min', 'max' or None, got {mode!r}.")
        self.monitor = monitor
        self.min_delta = min_delta
        self.mode = mode
        self.best = math.nan
        self._greater_is_better = mode == "max"

    @property
    def label(self) -> str:
        return f"{type(self).__name__}({self.monitor})"

    def on_fit_begin(self, trainer: Training, total_rows: int) -> None:
        if trainer.epoch == trainer.position == 0:  # a new training: forget earlier ones
            self.reset()
        if all(is_own(type(callback).__module__) for callback in trainer.callbacks):  # users' callbacks may add columns
            self._column(trainer.columns)  # raises for an unknown column
        self._greater_is_better = self._direction(trainer) if self.mode is None else self.mode == "max"

    def _direction(self, trainer: Training) -> bool:
        """Return whether larger values of the column are better, as declared by its metric."""
        known: dict[str | None, bool | None] = {None: False, "loss": False, "val_loss": False, "accuracy": True}
        metrics = {f"val_{name}": is_greater_better(metric) for name, metric in trainer.metrics.items()}
        greater = (metrics | known).get(self.monitor)
        if greater is None:
            raise ArgumentError(
                f"{type(self).__name__}: unknown whether larger or smaller {self.monitor!r} is better; give mode='max' "
                "or 'min', or set metric.greater_is_better."
            )
        return greater

    def _column(self, columns: Collection[str]) -> str:
        """Return the name of the monitored column."""
        name = self.monitor or ("val_loss" if "val_loss" in columns else "loss")
        if name not in columns:
            hint = "; give fit validation data" if name.startswith("val_") and "val_loss" not in columns else ""
            raise ArgumentError(
                f"{type(self).__name__}: no column {name!r} to monitor; there are {', '.join(columns)}{hint}."
            )
        return name

    def reset(self) -> None:
        """Reset the state before a new training."""
        self.best = math.nan

    def improved(self, row: Row) -> bool:
        """Return whether this epoch is the best so far; if so, store its value in `best`."""
        value = row[self._column(row)]
        sign = -1 if self._greater_is_better else 1
        better = math.isnan(self.best) or sign * (self.best - value) > self.min_delta
        if better and not math.isnan(value):
            self.best = value
            return True
        return False

    def state(self) -> dict[str, Any]:
        return {"best": self.best}

    def restore(self, state: dict[str, Any], trainer: Training) -> None:
        self.best = read_as(float, state["best"], "best")


class EarlyStopping(Monitor):
    """Stop when the monitored column has not improved for `patience` epochs, and restore the best weights.

    A later `fit` counts epochs without an improvement from zero, and keeps the best value.

    Args:
        patience: maximum number of epochs without an improvement, >= 1.
        monitor, min_delta, mode: see `Monitor`.
        restore_best: whether to restore the best epoch's weights when `fit` ends. `Trainer.save` then writes the
            restored weights; to continue a training exactly, resume from the file of a `Checkpoint`.

    Attributes:
        best_weights: the flat parameters of the best epoch so far, or None.
        best_buffers: its flat buffers, such as running statistics.
        best_average: the moving average of its parameters, or None.
        waited: number of epochs since then.

    Example:
        >>> stopping = gn.EarlyStopping(patience=3, monitor="loss")
        >>> trainer = gn.Trainer(gn.MLP([2, 2]), optimizer=gn.SGD(lr=0.0), callbacks=[stopping])
        >>> history = trainer.fit(np.eye(2), np.array([0, 1]), epochs=100)
        >>> len(history), history.stopped
        (4, 'early stopping')
    """

    shown = ("patience", "monitor")

    def __init__(
        self,
        patience: int = 10,
        *,
        monitor: str | None = None,
        min_delta: float = 0.0,
        mode: Literal["min", "max"] | None = None,
        restore_best: bool = True,
    ):
        super().__init__(monitor, min_delta, mode)
        self.patience = whole("EarlyStopping: patience", patience)
        self.restore_best = restore_best
        self.reset()

    def reset(self) -> None:
        super().reset()
        self.best_weights: Array | None = None
        self.best_buffers: Array | None = None
        self.best_average: Array | None = None
        self.waited = 0

    def on_fit_begin(self, trainer: Training, total_rows: int) -> None:
        super().on_fit_begin(trainer, total_rows)
        if self.waited >= self.patience:  # the previous `fit` was stopped
            self.waited = 0

    def on_epoch_end(self, trainer: Training, row: Row) -> None:
        if self.improved(row):
            self.waited = 0
            store = trainer.model.store
            self.best_weights, self.best_buffers = store.params.copy(), store.buffers.copy()
            self.best_average = None if store.average is None else store.average.copy()
            return
        self.waited += 1
        if self.waited >= self.patience:
            trainer.stop("early stopping")

    def on_fit_end(self, trainer: Training) -> None:
        # an interrupted training continues from its last weights
        if self.restore_best and self.best_weights is not None and trainer.history.stopped != "interrupted":
            store = trainer.model.store
            store.device.assign(store.params, self.best_weights)
            store.device.assign(store.buffers, self.best_buffers)
            if self.best_average is not None and store.average is not None:
                store.device.assign(store.average, self.best_average)

    def state(self) -> dict[str, Any]:
        kept = {name: getattr(self, name) for name in ("best_weights", "best_buffers", "best_average")}
        best = {name: to_host(a) for name, a in kept.items() if a is not None}
        return {**super().state(), **best, "waited": self.waited}

    def restore(self, state: dict[str, Any], trainer: Training) -> None:
        super().restore(state, trainer)
        self.waited = read_as(int, state["waited"], "waited")
        store = trainer.model.store
        if "best_weights" in state:
            self.best_weights = restored(state["best_weights"], store.params)
            self.best_buffers = restored(state["best_buffers"], store.buffers)
        if "best_average" in state:
            self.best_average = restored(state["best_average"], store.params)


class Checkpoint(Monitor):
    """Save the whole training to a file, for `Trainer.resume`.

    The file is written every `every` epochs and when training is interrupted; with `best`, after each epoch that is the
    best so far (and when training is interrupted before there is one).

    Args:
        path: the file; "{epoch}" is replaced by the number of completed epochs.
        every: number of epochs between two writes, >= 1.
        monitor, mode: see `Monitor`.

    Example:
        >>> X, y = np.eye(2), np.array([0, 1])
        >>> history = gn.Trainer(gn.MLP([2, 2]), callbacks=[gn.Checkpoint("training.safetensors")]).fit(X, y, epochs=3)
        >>> trainer = gn.Trainer.resume("training.safetensors")
        >>> trainer.epoch
        3
    """

    order = 1  # after the other callbacks, whose state it saves
    on_every_rank = False
    shown = ("path", "every", "monitor")

    def __init__(
        self,
        path: str | Path,
        *,
        every: int = 1,
        best: bool = False,
        monitor: str | None = None,
        mode: Literal["min", "max"] | None = None,
    ):
        super().__init__(monitor, mode=mode)
        self.path = str(path)
        self.every = whole("Checkpoint: every", every)
        self.best_only = best

    def on_fit_begin(self, trainer: Training, total_rows: int) -> None:
        super().on_fit_begin(trainer, total_rows)
        folder = Path(self.path).parent
        if not folder.is_dir():  # raise before the first step, not after the first epoch
            raise ArgumentError(f"Checkpoint: the folder {folder} does not exist; create it first.")
        checkpoint.check(trainer)

    def on_epoch_end(self, trainer: Training, row: Row) -> None:
        due = self.improved(row) if self.best_only else trainer.epoch % self.every == 0
        if due:
            self._write(trainer)

    def on_fit_end(self, trainer: Training) -> None:
        nothing_written = math.isnan(self.best)
        if trainer.history.stopped == "interrupted" and (nothing_written or not self.best_only):
            self._write(trainer)

    def _write(self, trainer: Training) -> None:
        trainer.save(self.path.replace("{epoch}", str(trainer.epoch)))

"""Callbacks: code that runs during training, such as a progress bar or a log.

Checkpoints store their `state`, so that a resumed training behaves like an uninterrupted one.
"""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any, ClassVar, TextIO

import numpy as np

from gpunet.attributes import Strict
from gpunet.device import Array, device_of, to_host
from gpunet.errors import ModelFileError
from gpunet.training.history import Row
from gpunet.training.protocol import Training


class Callback(Strict):
    """Base class of the callbacks; override the methods that you need.

    Attributes:
        order: callbacks of a lower order are called first; those of the same order in the given order.
        on_every_rank: whether all ranks of a distributed training call it; False for rank 0 only, for example to print
            or write files.
        shown: names of the attributes in its `repr`.

    Example:
        >>> class StopBelow(gn.Callback):
        ...     def on_epoch_end(self, trainer, row):
        ...         if row["loss"] < 1:
        ...             trainer.stop("good enough")
        >>> trainer = gn.Trainer(gn.MLP([2, 2]), callbacks=[StopBelow()])
        >>> trainer.fit(np.eye(2), np.array([0, 1]), epochs=10000).stopped
        'good enough'
    """

    order: ClassVar[int] = 0
    on_every_rank: ClassVar[bool] = True
    shown: ClassVar[tuple[str, ...]] = ()

    @property
    def label(self) -> str:
        """The name of the callback's state in a checkpoint."""
        return type(self).__name__

    def on_fit_begin(self, trainer: Training, total_rows: int) -> None:
        """Called before the first epoch; `total_rows` is the number of rows that this `fit` will train on.

        It is an estimate for an iterable of batches, or 0 if the iterable has no length.
        """

    def on_step_end(self, trainer: Training, rows: int) -> None:
        """Called after each step with the number of its rows. Reading an array here synchronizes with the device.

        An override makes each step a separate call; `on_steps_end` is faster.
        """

    def on_steps_end(self, trainer: Training, steps: int, rows: int) -> None:
        """Called after one or more steps with their number and that of their rows; calls `on_step_end` by default.

        The steps between two calls take at most about 50 ms.
        """
        self.on_step_end(trainer, rows)

    def on_epoch_end(self, trainer: Training, row: Row) -> None:
        """Called after each epoch with its row of the history; `trainer.stop(why)` ends the training."""

    def on_fit_end(self, trainer: Training) -> None:
        """Called when `fit` ends, also after an error; `trainer.history.stopped` is the reason of an early end."""

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint: numbers, strings and host arrays by name."""
        return {}

    def restore(self, state: dict[str, Any], trainer: Training) -> None:
        """Restore the state that `state` returned."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.shown)})"


class ProgressBar(Callback):
    """Show a progress bar with the loss, the metrics and samples per second.

    Args:
        file: the output file; standard error by default.

    Example:
        >>> import io
        >>> bar = gn.ProgressBar(file=io.StringIO())
        >>> history = gn.Trainer(gn.MLP([2, 2]), callbacks=[bar]).fit(np.eye(2), np.array([0, 1]), epochs=3)
        >>> "epoch 3" in bar.file.getvalue()
        True
    """

    on_every_rank = False

    def __init__(self, file: TextIO | None = None):
        self.file = file
        self._bar: Any = None

    def on_fit_begin(self, trainer: Training, total_rows: int) -> None:
        from tqdm import tqdm  # this import takes 30 ms

        self._bar = tqdm(total=total_rows or None, unit=" samples", unit_scale=True, file=self.file, dynamic_ncols=True)

    def on_steps_end(self, trainer: Training, steps: int, rows: int) -> None:
        self._bar.update(rows)

    def on_epoch_end(self, trainer: Training, row: Row) -> None:
        shown = [f"{name}={value:.4g}" for name, value in row.items() if name not in ("epoch", "lr", "seconds")]
        self._bar.set_description(f"epoch {row['epoch']}", refresh=False)  # the next update shows both
        self._bar.set_postfix_str(", ".join(shown), refresh=False)

    def on_fit_end(self, trainer: Training) -> None:
        if self._bar is not None:
            self._bar.close()


class Log(Callback):
    """Write the history to a file after each epoch: one JSON object per line, or CSV if the name ends in ".csv".

    An existing file is overwritten.

    Example:
        >>> trainer = gn.Trainer(gn.MLP([2, 2]), callbacks=[gn.Log("history.csv")])
        >>> history = trainer.fit(np.eye(2), np.array([0, 1]), epochs=3)
        >>> np.genfromtxt("history.csv", delimiter=",", names=True)["epoch"]
        array([1., 2., 3.])
    """

    on_every_rank = False
    shown = ("path",)

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def on_fit_begin(self, trainer: Training, total_rows: int) -> None:
        self.path.write_text("", encoding="utf-8")  # fails before the first step if the file cannot be written
        self._add(trainer, trainer.history.epochs)  # the earlier epochs of a resumed training

    def on_epoch_end(self, trainer: Training, row: Row) -> None:
        self._add(trainer, [row])

    def _add(self, trainer: Training, rows: list[Row]) -> None:
        if self.path.suffix == ".csv":
            with open(self.path, "w", encoding="utf-8", newline="") as file:  # rewritten, because columns may be new
                writer = csv.DictWriter(file, trainer.history.columns)
                writer.writeheader()
                writer.writerows(trainer.history.epochs)
            return
        with open(self.path, "a", encoding="utf-8") as file:
            for row in rows:  # JSON has no NaN: write null
                finite = {name: value if math.isfinite(value) else None for name, value in row.items()}
                file.write(json.dumps(finite) + "\n")


class TerminateOnNaN(Callback):
    """Stop when the loss or a weight is not finite, and restore the last finite epoch.

    Weights, the layers' buffers and the optimizer's slots are restored, but not the step count.

    Example:
        >>> trainer = gn.Trainer(gn.MLP([2, 1]), loss="mse", optimizer=gn.SGD(lr=1e10), callbacks=[gn.TerminateOnNaN()])
        >>> history = trainer.fit(np.eye(2), np.array([1.0, 2.0]), epochs=100)  # the training diverges
        >>> history.stopped, bool(np.isfinite(trainer.model.parameters()["0.weight"]).all())
        ('non-finite loss', True)
    """

    order = -1  # before callbacks that store the weights

    def __init__(self) -> None:
        self._finite: list[Array] = []

    def on_fit_begin(self, trainer: Training, total_rows: int) -> None:
        if not (trainer.position and self._finite):  # in an interrupted epoch the weights may not be finite
            self._finite = [a.copy() for a in trainer.model.store.state]

    def on_epoch_end(self, trainer: Training, row: Row) -> None:
        store = trainer.model.store
        finite = store.device.to_host(store.device.xp.isfinite(store.params).all())
        if math.isfinite(row["loss"]) and finite:
            self._finite = [a.copy() for a in store.state]
            return
        for a, last in zip(store.state, self._finite, strict=True):
            a[...] = last
        trainer.stop("non-finite loss")

    def state(self) -> dict[str, Any]:
        return {f"finite{position}": to_host(a) for position, a in enumerate(self._finite)}

    def restore(self, state: dict[str, Any], trainer: Training) -> None:
        likes = trainer.model.store.state if state else ()
        self._finite = [restored(state[f"finite{position}"], like) for position, like in enumerate(likes)]


def restored(saved: np.ndarray, like: Array) -> Array:
    """Return a checkpoint's array on the device of `like`, which must have the same shape and dtype."""
    if (saved.shape, saved.dtype) != (like.shape, like.dtype):
        raise ModelFileError(f"a callback's array is {saved.dtype} {saved.shape}, not {like.dtype} {like.shape}")
    return device_of(like).asarray(saved)

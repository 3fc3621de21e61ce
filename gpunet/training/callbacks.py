"""Callbacks: code that runs during training, such as a progress bar or a log.

A callback is called at the start and end of `fit`, after each step and after each epoch. Its `state` goes into
checkpoints, so that a resumed run continues as if it had not stopped.
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
    """The base of the callbacks: override what you need.

    Attributes:
        order: a trainer calls callbacks of a lower order first, and those of the same order as they were given.
        on_every_rank: whether each rank of a distributed training calls it; False for one that prints or writes, which
            rank 0 alone calls.
        shown: names of the attributes that its `repr` shows.
    """

    order: ClassVar[int] = 0
    on_every_rank: ClassVar[bool] = True
    shown: ClassVar[tuple[str, ...]] = ()

    @property
    def label(self) -> str:
        """What a checkpoint knows the callback by when it gives its state back."""
        return type(self).__name__

    def on_fit_begin(self, trainer: Training, total_rows: int) -> None:
        """Called before the first epoch; `total_rows` samples are to be trained on in this `fit`.

        Of an iterable of batches it is an estimate, and 0 where the iterable does not say its length.
        """

    def on_step_end(self, trainer: Training, rows: int) -> None:
        """Called after each step with the number of its rows. Reading an array here makes the device wait.

        With a callback that overrides this, each step is a call of its own; `on_steps_end` costs less.
        """

    def on_steps_end(self, trainer: Training, steps: int, rows: int) -> None:
        """Called after some steps, run in one call, with the number of their rows; by default `on_step_end`.

        A call takes some 50 ms at most. Where a callback overrides `on_step_end` it is one step.
        """
        self.on_step_end(trainer, rows)

    def on_epoch_end(self, trainer: Training, row: Row) -> None:
        """Called after each epoch with its row of the history; `trainer.stop(why)` ends the training."""

    def on_fit_end(self, trainer: Training) -> None:
        """Called when `fit` ends, however it ends; `trainer.history.stopped` says why if it was early."""

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs: numbers, strings, and host arrays."""
        return {}

    def restore(self, state: dict[str, Any], trainer: Training) -> None:
        """Continue from what `state` returned."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self.shown)})"


class ProgressBar(Callback):
    """A live bar on standard error with the loss, the metrics and samples a second.

    Args:
        file: where to draw it; standard error by default.
    """

    on_every_rank = False

    def __init__(self, file: TextIO | None = None):
        self.file = file
        self._bar: Any = None

    def on_fit_begin(self, trainer: Training, total_rows: int) -> None:
        from tqdm import tqdm  # 30 ms of importing, for who wants a bar

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
    """Write the history to a file as it grows: one JSON object a line, or CSV where the name ends in ".csv".

    Args:
        path: the file; one that is there is replaced by this training's history.
    """

    on_every_rank = False
    shown = ("path",)

    def __init__(self, path: str | Path):
        self.path = Path(path)

    def on_fit_begin(self, trainer: Training, total_rows: int) -> None:
        self.path.write_text("", encoding="utf-8")  # where that fails, it fails before the first step
        self._add(trainer, trainer.history.epochs)  # of a run that is resumed

    def on_epoch_end(self, trainer: Training, row: Row) -> None:
        self._add(trainer, [row])

    def _add(self, trainer: Training, rows: list[Row]) -> None:
        if self.path.suffix == ".csv":
            with open(self.path, "w", encoding="utf-8", newline="") as file:  # anew, as columns may have come
                writer = csv.DictWriter(file, trainer.history.columns)
                writer.writeheader()
                writer.writerows(trainer.history.epochs)
            return
        with open(self.path, "a", encoding="utf-8") as file:
            for row in rows:  # JSON has no NaN
                finite = {name: value if math.isfinite(value) else None for name, value in row.items()}
                file.write(json.dumps(finite) + "\n")


class TerminateOnNaN(Callback):
    """Stop when the loss or a weight is no longer finite, and put the last finite epoch's weights back.

    The layers' buffers and the optimizer's, such as its moments, of that epoch's end come back with them; steps go on
    being counted.
    """

    order = -1  # before those that keep weights of their own

    def __init__(self) -> None:
        self._finite: list[Array] = []

    def on_fit_begin(self, trainer: Training, total_rows: int) -> None:
        if not (trainer.position and self._finite):  # an epoch that was interrupted may have gone wrong already
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
    """Return an array from a checkpoint on the device of `like`.

    Raises:
        ModelFileError: it has another shape or dtype.
    """
    if (saved.shape, saved.dtype) != (like.shape, like.dtype):
        raise ModelFileError(f"a callback's array is {saved.dtype} {saved.shape}, not {like.dtype} {like.shape}")
    return device_of(like).asarray(saved)

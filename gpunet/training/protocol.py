"""The interface of a training for callbacks, checkpoints and ranks; `Trainer` is the only implementation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gpunet.device import Array
from gpunet.losses import Loss
from gpunet.models import Model
from gpunet.optimizers import Optimizer
from gpunet.training.history import History
from gpunet.training.metrics import Metric


class Training(Protocol):
    """A training in progress; settings as for `Trainer`.

    Attributes:
        history: one row per completed epoch.
        epoch: number of completed epochs.
        position: number of completed rows of an unfinished epoch.
        rows: number of rows of the data last trained on.
        columns: the history's columns in the last `fit`.
        running: sums of the metrics of the current epoch.
        version: changes when a setting changes (`gpunet.versions`).
    """

    model: Model
    loss: Loss
    optimizer: Optimizer
    callbacks: list[Any]
    metrics: dict[str, Metric]
    history: History
    seed: int
    precision: Any
    executor: Any
    ema: float | None
    accumulate: int
    epoch: int
    position: int
    rows: int
    columns: tuple[str, ...]
    running: Any
    ranks: Any
    version: int

    def attach(self) -> None:
        """Attach the optimizer to the model, unless it is attached."""

    def step(self, X: Array, y: Array, weight: Array | None = None) -> Array:
        """Run one training step on one batch; return its loss, an array of shape () on the device."""

    def order(self, rows: int, shuffle: bool) -> np.ndarray:
        """Return the order (rows,) of the rows in the current epoch."""

    def stop(self, why: str) -> None:
        """End training after the current epoch, with `why` in `history.stopped`."""

    def save(self, path: str | Path) -> None:
        """Write the training to a file."""

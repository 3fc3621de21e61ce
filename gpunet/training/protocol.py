"""A training as callbacks, checkpoints and ranks see it; `Trainer` is the one implementation."""

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
    """A training that is under way.

    Attributes:
        model: the model that is trained.
        loss: the loss that is minimised.
        optimizer: the update rule.
        callbacks: what is called during training, in the order of the calls.
        metrics: the functions that judge validation data, by name.
        history: the rows of the epochs done.
        seed: the seed of shuffles, dropout masks and the validation split.
        precision: "float32" or "tf32".
        executor: what runs the steps.
        ema: the decay of the moving average of the weights, or None.
        accumulate: how many batches make a step.
        epoch: epochs done.
        position: rows done of an unfinished epoch.
        rows: rows of the data last trained on.
        columns: names of the history's columns in the last `fit`.
        running: the sums of the metrics of the unfinished epoch.
        ranks: who trains.
        version: another number once a setting has changed (`gpunet.versions`).
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
        """Attach the model to the optimizer, unless that was done."""

    def step(self, X: Array, y: Array, weight: Array | None = None) -> Array:
        """Run one training step on one batch; return its loss, an array of shape () on the device."""

    def order(self, rows: int, shuffle: bool) -> np.ndarray:
        """Return the order of the rows in the epoch that begins or continues, (rows,)."""

    def stop(self, why: str) -> None:
        """End training after the epoch, with `why` in `history.stopped`."""

    def save(self, path: str | Path) -> None:
        """Write the training to a file."""

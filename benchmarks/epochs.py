"""Measure the time of epochs within `Trainer.fit`."""

from __future__ import annotations

import time

from gpunet import Callback
from gpunet.training.history import Row
from gpunet.training.protocol import Training


class EpochClock(Callback):
    """Times all epochs of a `fit` except the first, which includes the work that a `fit` does only once.

    `fit` checks the data; on a GPU it also uploads them and captures the step.
    """

    order = 10  # after all other callbacks

    def on_fit_begin(self, trainer: Training, total_rows: int) -> None:
        self._ends: list[float] = []

    def on_epoch_end(self, trainer: Training, row: Row) -> None:
        self._ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """The seconds of all epochs of the last `fit` except the first."""
        return self._ends[-1] - self._ends[0]

"""The time of an epoch within a `Trainer.fit`."""

from __future__ import annotations

import time

from gpunet import Callback
from gpunet.training.history import Row
from gpunet.training.protocol import Training


class EpochClock(Callback):
    """Times the epochs of a `fit` behind its first.

    What a `fit` does once is not part of an epoch: it checks the data, on a GPU it uploads them and captures the step.
    """

    order = 10  # behind all others

    def on_fit_begin(self, trainer: Training, total_rows: int) -> None:
        self._ends: list[float] = []

    def on_epoch_end(self, trainer: Training, row: Row) -> None:
        self._ends.append(time.perf_counter())

    @property
    def seconds(self) -> float:
        """The seconds of all epochs of the last `fit` but its first."""
        return self._ends[-1] - self._ends[0]

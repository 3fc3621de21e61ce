"""The number of completed steps and the learning rates of the next ones, in device memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.device import Array, Device
from gpunet.optimizers.groups import Parts
from gpunet.optimizers.rule import Rule
from gpunet.schedules import ConstantLR

LONGEST_RUN = 1024
"""Maximum number of steps in the table of learning rates that kernels read."""

NEVER = 2**62
"""A step number that no training reaches."""


class Progress:
    """The step number and learning rates in device memory, where a rule's kernels read and advance them.

    The host writes values that the device does not have yet, and never waits for the device.

    Args:
        dtype: dtype of the learning rates.
        before: the progress of the previous step over the same parameters, or None.

    Attributes:
        words: int64 (3,): number of completed steps, their number at the first column of the table, and number of the
            first skipped step (from 1; 0 if none).
        rates: the table of learning rates of the next steps, (len(parts.rates), LONGEST_RUN). Steps before its first
            column use that column.
    """

    def __init__(
        self, optimizer: Rule, device: Device, dtype: np.dtype[Any], parts: Parts, before: Progress | None = None
    ):
        self._counter, self._optimizer, self._device, self._parts = optimizer.counter, optimizer, device, parts
        with device.activate():
            self.words: Array = device.xp.zeros(3, np.int64) if before is None else before.words
            self.words[1:2].fill(0)
            self.rates = device.xp.zeros((len(parts.rates), LONGEST_RUN), dtype)
            self._counter.keep_in(self.words)
        self._begin, self._table = 0, [[0.0]]

    @property
    def first_skipped(self) -> Array:
        """The first skipped step, (1,): from 1, or 0 if none."""
        return self.words[2:]

    def look_ahead(self, steps: int) -> None:
        """Write the learning rates of the next steps, at most LONGEST_RUN, unless the device has them."""
        schedule = self._optimizer.schedule
        if self._begin == NEVER and isinstance(schedule, ConstantLR) and self._table[0][0] == schedule.lr:
            return
        done, constant = self._counter.value, isinstance(schedule, ConstantLR)
        count = 1 if constant else steps
        table = self._parts.table(schedule, range(done, done + count))
        if not constant and self._knows(done, table):
            return
        before, self._begin = self._begin, NEVER if count == 1 else done
        self._table = table
        with self._device.activate():
            for row, rates in enumerate(table):
                if count == 1:
                    self.rates[row, :1].fill(rates[0])
                else:
                    self.rates[row, :count] = self._device.asarray(np.array(rates), self.rates.dtype)
            if self._begin != before:
                self.words[1:2].fill(self._begin)

    def _knows(self, done: int, table: list[list[float]]) -> bool:
        """Return whether the table on the device gives these rates after `done` steps."""
        count = len(table[0])
        if self._begin == NEVER:
            return table == [rates * count for rates in self._table]
        start = done - self._begin
        return start >= 0 and table == [rates[start : start + count] for rates in self._table]

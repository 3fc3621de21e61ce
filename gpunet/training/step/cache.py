"""The recorded steps of a trainer, by the kind of their batches."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable

from gpunet.errors import GpunetWarning
from gpunet.training.explain import Explanation
from gpunet.training.protocol import Training
from gpunet.training.step.step import Source, Step

MOST_STEPS = 4
"""Steps that are kept: an epoch has two, of the batch size and of what is left for its last batch."""


class StepCache:
    """Keeps the steps of a training, and records one again where something that it was made of has changed.

    Args:
        training: whose steps.
    """

    def __init__(self, training: Training):
        self._training = training
        self._steps: dict[Hashable, Step] = {}
        self._warned = False

    def find(self, kind: Hashable) -> Step | None:
        """Return the step for a kind of batch if there is a current one."""
        step = self._steps.get(kind)
        return step if step is not None and step.is_current else None

    def make(self, kind: Hashable, count: int, source: Callable[[int], Source]) -> Step:
        """Make the step for a kind of batch.

        Args:
            kind: what to find it by.
            count: rows of the batch, of all ranks together.
            source: returns where so many rows of this rank come from.
        """
        training = self._training
        training.attach()
        own = training.ranks.rows(count)
        if len(self._steps) >= MOST_STEPS:
            self._steps.clear()
        step = self._steps[kind] = Step(training, source(own.stop - own.start), count, self._warn)
        return step

    def clear(self) -> None:
        """Forget the steps, and the memory that they hold."""
        self._steps.clear()

    def __len__(self) -> int:
        return len(self._steps)

    def explanations(self) -> list[Explanation]:
        """Return what the recorded steps consist of."""
        described = (step.describe() for step in self._steps.values())
        return [explanation for explanation in described if explanation is not None]

    def _warn(self, why: str) -> None:
        """Warn, once for all kinds of batches, that steps are not recorded."""
        if not self._warned and self._training.ranks.main:
            self._warned = True
            warnings.warn(
                f"falling back to eager steps: the training step could not be recorded: {why}",
                GpunetWarning,
                stacklevel=2,
            )

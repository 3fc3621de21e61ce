"""The executor that runs the code of the step each time."""

from __future__ import annotations

from typing import Any


class EagerExecutor:
    """Runs the step's code; needs no recording.

    Args:
        step: the step.
    """

    name = "eager"

    def __init__(self, step: Any):
        self.step = step

    def record(self) -> None:
        """Do nothing."""

    def run(self, steps: int) -> None:
        """Run the step `steps` times."""
        for _ in range(steps):
            self.step.run_eagerly()

    def describe(self) -> None:
        """Return None: nothing was recorded."""

"""The executor that runs the Python code of each step."""

from __future__ import annotations

from typing import Any


class EagerExecutor:
    """Run the step's Python code, without a recording."""

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
        """Return None, because nothing is recorded."""

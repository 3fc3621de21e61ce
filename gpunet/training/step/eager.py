"""The executor that runs the Python code of each step."""

from __future__ import annotations

from typing import Any

import numpy as np


class EagerExecutor:
    """Run the step's Python code, without a recording."""

    name = "eager"

    def __init__(self, step: Any):
        self.step = step

    def record(self) -> None:
        """Do nothing."""

    def run(self, steps: int) -> None:
        """Run the step `steps` times."""
        with np.errstate(all="ignore"):  # a step with a gradient that is not finite is skipped and reported
            for _ in range(steps):
                self.step.run_eagerly()

    def describe(self) -> None:
        """Return None, because nothing is recorded."""

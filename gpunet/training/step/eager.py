"""The executor that runs the Python code of each step."""

from __future__ import annotations

from typing import Any

import numpy as np


def without_warnings() -> np.errstate:
    """Return an `errstate` in which NumPy never warns; other settings of the caller, such as "raise", still hold.

    Trainings that diverge are reported otherwise: a step with a gradient that is not finite is skipped.
    """
    return np.errstate(**{kind: "ignore" for kind, action in np.geterr().items() if action == "warn"})  # type: ignore[arg-type]


class EagerExecutor:
    """Run the step's Python code, without a recording."""

    name = "eager"

    def __init__(self, step: Any):
        self.step = step

    def record(self) -> None:
        """Do nothing."""

    def run(self, steps: int) -> None:
        """Run the step `steps` times."""
        with without_warnings():
            for _ in range(steps):
                self.step.run_eagerly()

    def describe(self) -> None:
        """Return None, because nothing is recorded."""

"""Hand-written NumPy: `benchmarks/numpy_step.py`, which in float64 is the reference for all frameworks."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.frameworks.problem import LR, Problem
from benchmarks.frameworks.steps import Framework
from benchmarks.numpy_step import NumpyStep


class Steps(Framework):
    lr = LR

    def __init__(self, problem: Problem, mode: str, device: str):
        self.batches = problem.batches()
        self.numpy_step = NumpyStep(problem.parameters(), problem.batch, self.lr)

    def step(self, X: Any, y: Any) -> Any:
        return self.numpy_step(X, y)

    def parameters(self) -> list[np.ndarray]:
        return self.numpy_step.parameters

    def wait(self) -> None:
        """NumPy calls are synchronous."""

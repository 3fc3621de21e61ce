"""NumPy by hand: see `benchmarks/numpy_step.py`, also the reference that every framework is checked against."""

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
        self.by_hand = NumpyStep(problem.parameters(), problem.batch, self.lr)

    def step(self, X: Any, y: Any) -> Any:
        return self.by_hand(X, y)

    def parameters(self) -> list[np.ndarray]:
        return self.by_hand.parameters

    def wait(self) -> None:
        """A NumPy call returns when it is done."""

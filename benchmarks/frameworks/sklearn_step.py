"""scikit-learn: `MLPClassifier.partial_fit` on one batch.

The public function closest to a single step; it also checks its input and encodes the labels. scikit-learn's Adam adds
eps before the bias correction of the second moment. With eps multiplied by that correction, its formula is equal to
that of the other frameworks.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.neural_network import MLPClassifier

from benchmarks.frameworks.problem import LR, Problem
from benchmarks.frameworks.steps import Framework

BETA2, EPS = 0.999, 1e-8


class Steps(Framework):
    def __init__(self, problem: Problem, mode: str, device: str):
        self.batches = problem.batches()
        self.classifier = MLPClassifier(
            problem.sizes[1:-1], alpha=0, batch_size=problem.batch, learning_rate_init=LR, shuffle=False
        )
        self.classifier.partial_fit(*self.batches[0], classes=np.arange(problem.sizes[-1]))  # allocates its arrays
        for own, start in zip(self.parameters(), problem.parameters(), strict=True):
            own[...] = start
        self.optimizer = self.classifier._optimizer
        self.optimizer.t = 0
        for moment in (*self.optimizer.ms, *self.optimizer.vs):
            moment[...] = 0

    def step(self, X: Any, y: Any) -> Any:
        self.optimizer.epsilon = EPS * (1 - BETA2 ** (self.optimizer.t + 1)) ** 0.5
        return self.classifier.partial_fit(X, y).loss_

    def parameters(self) -> list[np.ndarray]:
        pairs = zip(self.classifier.coefs_, self.classifier.intercepts_, strict=True)
        return [a for pair in pairs for a in pair]

    def wait(self) -> None:
        """`partial_fit` is synchronous."""

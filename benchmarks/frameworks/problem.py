"""What every framework is given, the same to the bit: a network, its start weights, and its batches."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

LR = 1e-3  # of Adam, with betas 0.9 and 0.999 and eps 1e-8, the default everywhere
BATCHES = 8


class Problem(NamedTuple):
    """A ReLU MLP and the rows of its batches; written as 784-128-10/128."""

    sizes: tuple[int, ...]
    batch: int

    @classmethod
    def parse(cls, text: str) -> Problem:
        """Return the problem that `text` names.

        Raises:
            ValueError: it names none.
        """
        sizes, _, batch = text.partition("/")
        problem = cls(tuple(map(int, sizes.split("-"))), int(batch))
        if len(problem.sizes) < 2 or min(*problem.sizes, problem.batch) < 1 or problem.sizes[-1] < 2:
            raise ValueError(text)
        return problem

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}/{self.batch}"

    def parameters(self) -> list[np.ndarray]:
        """Return the start weights (in, out) and biases (out,) of the layers in turn, float32."""
        rng = np.random.default_rng(1)
        parameters: list[np.ndarray] = []
        for i, j in pairwise(self.sizes):
            parameters += [rng.standard_normal((i, j), np.float32) * np.float32((2 / i) ** 0.5)]
            parameters += [rng.standard_normal(j, np.float32) * np.float32(0.1)]
        return parameters

    def batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return batches: X (batch, in) float32 and labels y (batch,) int64."""
        rng = np.random.default_rng(2)
        X = rng.standard_normal((BATCHES, self.batch, self.sizes[0]), np.float32)
        y = rng.integers(0, self.sizes[-1], (BATCHES, self.batch))
        return list(zip(X, y, strict=True))

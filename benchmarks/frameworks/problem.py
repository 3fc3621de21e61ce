"""The input of every framework, bit for bit: a network, its initial weights, and its batches."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

LR = 1e-3  # for Adam with betas 0.9 and 0.999 and eps 1e-8, the defaults of all frameworks
BATCHES = 8
EPOCH_STEPS, EPOCH_NUMBERS = 64, 2**22  # maximum steps of an epoch, and maximum numbers in its features


class Problem(NamedTuple):
    """A ReLU MLP and its batch size, written as 784-128-10/128."""

    sizes: tuple[int, ...]
    batch: int

    @classmethod
    def parse(cls, text: str) -> Problem:
        """Return the problem written as SIZES/BATCH; raise `ValueError` if `text` is invalid."""
        sizes, _, batch = text.partition("/")
        problem = cls(tuple(map(int, sizes.split("-"))), int(batch))
        if len(problem.sizes) < 2 or min(*problem.sizes, problem.batch) < 1 or problem.sizes[-1] < 2:
            raise ValueError(text)
        return problem

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}/{self.batch}"

    def parameters(self) -> list[np.ndarray]:
        """Return the initial weight (in, out) and bias (out,) of each layer, float32."""
        rng = np.random.default_rng(1)
        parameters: list[np.ndarray] = []
        for i, j in pairwise(self.sizes):
            parameters += [rng.standard_normal((i, j), np.float32) * np.float32((2 / i) ** 0.5)]
            parameters += [rng.standard_normal(j, np.float32) * np.float32(0.1)]
        return parameters

    def batches(self, count: int = BATCHES) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the first `count` batches: X (batch, in) float32 and labels y (batch,) int64."""
        rng = np.random.default_rng(2)
        return [
            (rng.standard_normal((self.batch, self.sizes[0]), np.float32), rng.integers(0, self.sizes[-1], self.batch))
            for _ in range(count)
        ]

    @property
    def epoch(self) -> int:
        """The steps of an epoch: 64, or down to 8 for large batches."""
        return min(max(EPOCH_NUMBERS // (self.batch * self.sizes[0]), BATCHES), EPOCH_STEPS)

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of an epoch, X (rows, in) and y (rows,); they begin with those of `batches()`."""
        X, y = zip(*self.batches(self.epoch), strict=True)
        return np.concatenate(X), np.concatenate(y)

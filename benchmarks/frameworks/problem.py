"""What every framework is given, the same to the bit: a network, its start weights, and its batches."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

LR = 1e-3  # of Adam, with betas 0.9 and 0.999 and eps 1e-8, the default everywhere
BATCHES = 8
EPOCH_STEPS, EPOCH_NUMBERS = 64, 2**22  # an epoch has so many steps, fewer where its features are more numbers


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

    def batches(self, count: int = BATCHES) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the first batches: X (batch, in) float32 and labels y (batch,) int64."""
        rng = np.random.default_rng(2)
        return [
            (rng.standard_normal((self.batch, self.sizes[0]), np.float32), rng.integers(0, self.sizes[-1], self.batch))
            for _ in range(count)
        ]

    @property
    def epoch(self) -> int:
        """The steps of an epoch: 64, or 8 to 63 where the batches are large."""
        return min(max(EPOCH_NUMBERS // (self.batch * self.sizes[0]), BATCHES), EPOCH_STEPS)

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows of an epoch, those of `batches` first: X (rows, in) and y (rows,)."""
        X, y = zip(*self.batches(self.epoch), strict=True)
        return np.concatenate(X), np.concatenate(y)

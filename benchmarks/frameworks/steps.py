"""The interface of every framework's module."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.frameworks.problem import Problem


class Framework(ABC):
    """The training step of a problem in one framework on one device; each module names its subclass `Steps`.

    Args:
        problem: the network, its initial weights and its batches.
        mode: the variant of the framework's step, if it has several.
        device: "cpu", "cuda" or "sim".

    Attributes:
        batches: the batches (X, y), resident on the device.
        epoch: a round has a multiple of this number of steps.
    """

    batches: Sequence[tuple[Any, Any]]
    epoch = 1

    @abstractmethod
    def __init__(self, problem: Problem, mode: str, device: str): ...

    @abstractmethod
    def step(self, X: Any, y: Any) -> Any:
        """Enqueue forward, loss, backward and update for a batch; return the loss on the device."""

    @abstractmethod
    def parameters(self) -> list[np.ndarray]:
        """Return the weight (in, out) and bias (out,) of each layer, on the host."""

    def run(self, order: Sequence[int]) -> Any:
        """Enqueue a step for each of these batches; return the last loss."""
        for i in order:
            loss = self.step(*self.batches[i])
        return loss

    def read(self, loss: Any) -> float:
        """Copy a loss to the host."""
        return float(loss)

    @abstractmethod
    def wait(self) -> None:
        """Wait until all enqueued work is done."""

    def seconds(self, order: Sequence[int]) -> float:
        """Return the wall time of a round, from the first call until all its work is done."""
        began = time.perf_counter()
        self.run(order)
        self.wait()
        return time.perf_counter() - began

"""The shape that the file of every framework has."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.frameworks.problem import Problem


class Framework(ABC):
    """The training step of a problem in one framework, on one device; its file calls it `Steps`.

    Args:
        problem: what to train, from its start weights.
        mode: which way of the framework, where it has several.
        device: "cpu", "cuda" or "sim".

    Attributes:
        batches: the batches (X, y), resident on the device.
        epoch: a round has a multiple of so many steps.
    """

    batches: Sequence[tuple[Any, Any]]
    epoch = 1

    @abstractmethod
    def __init__(self, problem: Problem, mode: str, device: str): ...

    @abstractmethod
    def step(self, X: Any, y: Any) -> Any:
        """Queue forward, loss, backward and update on a batch; return the loss, a number on the device."""

    @abstractmethod
    def parameters(self) -> list[np.ndarray]:
        """Return the weights (in, out) and biases (out,) of the layers in turn, on the host."""

    def run(self, order: Sequence[int]) -> Any:
        """Queue a step on each of these batches, in turn; return the last loss."""
        for i in order:
            loss = self.step(*self.batches[i])
        return loss

    def read(self, loss: Any) -> float:
        """Return a loss on the host."""
        return float(loss)

    @abstractmethod
    def wait(self) -> None:
        """Return when all that was queued is done."""

    def seconds(self, order: Sequence[int]) -> float:
        """Return the wall time of a round: from the first call until all of its work is done."""
        began = time.perf_counter()
        self.run(order)
        self.wait()
        return time.perf_counter() - began

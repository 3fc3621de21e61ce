"""gpunet: `Trainer.step`, recorded and replayed; in mode "eager" its code runs each time.

Mode "fit" is an epoch of `Trainer.fit` over the same batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import gpunet as gn
from benchmarks.frameworks.problem import LR, Problem
from benchmarks.frameworks.steps import Framework


class Steps(Framework):
    def __init__(self, problem: Problem, mode: str, device: str):
        self.device = gn.get_device(device)
        self.host_batches = problem.batches()
        self.batches = [(self.device.asarray(X), self.device.asarray(y)) for X, y in self.host_batches]
        with gn.use_device(self.device):
            model = gn.MLP(problem.sizes)
        for parameter, start in zip(model.parameters().values(), problem.parameters(), strict=True):
            self.device.assign(parameter, start)
        self.trainer = gn.Trainer(model, optimizer=gn.Adam(LR), executor="eager" if mode == "eager" else "auto")
        self.fits = mode == "fit"
        self.data: tuple[Sequence[int], list[np.ndarray]] = [], []

    def step(self, X: Any, y: Any) -> Any:
        return self.trainer.step(X, y)

    def run(self, order: Sequence[int]) -> Any:
        return self.fit(order) if self.fits else super().run(order)

    def fit(self, order: Sequence[int]) -> float:
        """Train for an epoch with these batches as its data, shuffled; return its loss."""
        if self.data[0] is not order:
            self.data = order, [np.concatenate(a) for a in zip(*(self.host_batches[i] for i in order), strict=True)]
        history = self.trainer.fit(*self.data[1], epochs=1, batch_size=len(self.host_batches[0][0]))
        return float(history.epochs[-1]["loss"])

    def parameters(self) -> list[np.ndarray]:
        return [self.device.to_host(a) for a in self.trainer.model.parameters().values()]

    def wait(self) -> None:
        """Wait for all streams of the GPU; on the CPU a call returns when it is done."""
        self.device.synchronize()

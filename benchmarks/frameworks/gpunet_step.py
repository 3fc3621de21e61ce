"""gpunet: `Trainer.step` with the executor "auto", or in modes "eager" and "numpy" with that executor.

Mode "fit" runs epochs of `Trainer.fit`: data is shuffled, the rows of each batch are gathered, the mean loss and the
accuracy of an epoch are read.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gpunet as gn
from benchmarks.epochs import EpochClock
from benchmarks.frameworks.problem import LR, Problem
from benchmarks.frameworks.steps import Framework


class Steps(Framework):
    def __init__(self, problem: Problem, mode: str, device: str):
        self.device = gn.get_device(device)
        self.batches = [(self.device.asarray(X), self.device.asarray(y)) for X, y in problem.batches()]
        with gn.use_device(self.device):
            model = gn.MLP(problem.sizes)
        for parameter, start in zip(model.parameters().values(), problem.parameters(), strict=True):
            self.device.assign(parameter, start)
        self.fits, self.clock = mode == "fit", EpochClock()
        self.trainer = gn.Trainer(
            model,
            optimizer=gn.Adam(LR),
            callbacks=[self.clock],
            executor=mode if mode in ("eager", "numpy") else "auto",
        )
        if self.fits:
            self.batch, self.epoch = problem.batch, problem.epoch
            self.host_batches, self.data = problem.batches(), problem.data()

    def step(self, X: Any, y: Any) -> Any:
        return self.trainer.step(X, y)

    def run(self, order: Sequence[int]) -> Any:
        """In mode "fit", train one epoch on each batch alone; return the last loss."""
        if not self.fits:
            return super().run(order)
        for i in order:
            history = self.trainer.fit(*self.host_batches[i], epochs=1, batch_size=self.batch)
        return history.epochs[-1]["loss"]

    def seconds(self, order: Sequence[int]) -> float:
        """In mode "fit", return the time of epochs with `len(order)` steps in total, after an untimed epoch."""
        if not self.fits:
            return super().seconds(order)
        self.trainer.fit(*self.data, epochs=1 + len(order) // self.epoch, batch_size=self.batch)
        return self.clock.seconds

    def parameters(self) -> list[Any]:
        return [self.device.to_host(a) for a in self.trainer.model.parameters().values()]

    def wait(self) -> None:
        """Wait for all streams of the GPU; on the CPU, calls are synchronous."""
        self.device.synchronize()

"""tinygrad: the whole step in one `TinyJit`, which replays the captured kernels from the third call on."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from tinygrad import Context, Device, Tensor, TinyJit, nn
from tinygrad.helpers import DEV

from benchmarks.frameworks.problem import LR, Problem
from benchmarks.frameworks.steps import Framework


class Steps(Framework):
    def __init__(self, problem: Problem, mode: str, device: str):
        DEV.value = device.upper()
        self.batches = [(Tensor(X).realize(), Tensor(y.astype(np.int32)).realize()) for X, y in problem.batches()]
        self.layers = [nn.Linear(i, j) for i, j in pairwise(problem.sizes)]
        self.own = [a for layer in self.layers for a in (layer.weight, layer.bias)]
        for own, start in zip(self.own, problem.parameters(), strict=True):
            own.assign(Tensor(np.ascontiguousarray(start.T))).realize()
        self.optimizer = nn.optim.Adam(self.own, LR)
        self.train = TinyJit(self.train)

    def train(self, X: Tensor, y: Tensor) -> Tensor:
        self.optimizer.zero_grad()
        for layer in self.layers[:-1]:
            X = layer(X).relu()
        loss = self.layers[-1](X).sparse_categorical_crossentropy(y).backward()
        return loss.realize(*self.optimizer.schedule_step())

    def run(self, order: Any) -> Any:
        with Context(TRAINING=1):
            return super().run(order)

    def step(self, X: Any, y: Any) -> Any:
        return self.train(X, y)

    def read(self, loss: Tensor) -> float:
        return float(loss.item())

    def parameters(self) -> list[np.ndarray]:
        return [a.numpy().T for a in self.own]

    def wait(self) -> None:
        """Wait for all queues of the device."""
        Device[Device.DEFAULT].synchronize()

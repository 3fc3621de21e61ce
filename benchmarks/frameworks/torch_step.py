"""PyTorch: modes "eager", "compiled" (`torch.compile`) and "graphs" (mode="reduce-overhead", CUDA graphs).

Each mode is the fastest implementation that we know. The eager step uses PyTorch's fused Adam. The compiled step is a
single graph with gradients from `torch.func` and Adam written out; compiling `optimizer.step` and the loss separately
was slower than eager.
"""

from __future__ import annotations

import os
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch._dynamo.utils import counters

from benchmarks.frameworks.problem import LR, Problem
from benchmarks.frameworks.steps import Framework

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
COMPILE_MODES = {"compiled": None, "graphs": "reduce-overhead"}


class Steps(Framework):
    def __init__(self, problem: Problem, mode: str, device: str):
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
        self.device = device
        self.batches = [(torch.from_numpy(X).to(device), torch.from_numpy(y).to(device)) for X, y in problem.batches()]
        layers = [layer for i, j in pairwise(problem.sizes) for layer in (nn.Linear(i, j), nn.ReLU())]
        self.model = nn.Sequential(*layers[:-1]).to(device)
        with torch.no_grad():
            for parameter, start in zip(self.model.parameters(), problem.parameters(), strict=True):
                parameter.copy_(torch.from_numpy(start.T))
        self.graphs = mode == "graphs"
        if mode == "eager":
            self.optimizer = torch.optim.Adam(self.model.parameters(), LR, fused=True)
        else:
            self.own = {name: parameter.detach() for name, parameter in self.model.named_parameters()}
            self.means, self.squares = ({name: torch.zeros_like(p) for name, p in self.own.items()} for _ in range(2))
            self.t = torch.zeros((), device=device)
            for a in (*self.own.values(), *self.means.values(), *self.squares.values(), self.t):
                torch._dynamo.mark_static_address(a)  # required for a CUDA graph to write to it
            self.step = torch.compile(self.whole_step, fullgraph=True, mode=COMPILE_MODES[mode])

    def step(self, X: Any, y: Any) -> Any:
        self.optimizer.zero_grad()
        loss = nn.functional.cross_entropy(self.model(X), y)
        loss.backward()
        self.optimizer.step()
        return loss

    def whole_step(self, X: Any, y: Any) -> Any:
        gradients, loss = torch.func.grad_and_value(self.loss)(self.own, X, y)
        self.t.add_(1)
        correct1, correct2 = 1 - BETA1**self.t, 1 - BETA2**self.t
        for name, g in gradients.items():
            m, v = self.means[name], self.squares[name]
            m.mul_(BETA1).add_(g, alpha=1 - BETA1)
            v.mul_(BETA2).addcmul_(g, g, value=1 - BETA2)
            self.own[name].sub_(LR * (m / correct1) / ((v / correct2).sqrt() + EPS))
        return loss

    def loss(self, parameters: dict[str, Any], X: Any, y: Any) -> Any:
        return nn.functional.cross_entropy(torch.func.functional_call(self.model, parameters, X), y)

    def read(self, loss: Any) -> float:
        if self.graphs and counters["inductor"]["cudagraph_skips"]:
            raise RuntimeError("torch.compile did not capture the step in a CUDA graph")
        return float(loss.detach())

    def parameters(self) -> list[np.ndarray]:
        return [parameter.numpy(force=True).T for parameter in self.model.parameters()]

    def wait(self) -> None:
        """Wait for all streams of the GPU; on the CPU, calls are synchronous."""
        if self.device == "cuda":
            torch.cuda.synchronize()

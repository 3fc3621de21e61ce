"""JAX: the whole step in one `jit` with donated state; in mode "scan", an epoch in one `lax.scan`.

The scan does the same work as an epoch of `Trainer.fit`: data is shuffled, the rows of each batch are gathered, the
mean loss and the accuracy are read.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.frameworks.problem import LR, Problem
from benchmarks.frameworks.steps import Framework

BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


def cross_entropy(parameters: Any, X: Any, y: Any) -> Any:
    """Return the loss and the logits."""
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        X = jax.nn.relu(X @ weight + bias)
    logits = X @ parameters[-2] + parameters[-1]
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], axis=1).mean(), logits


def train(state: Any, X: Any, y: Any) -> Any:
    """Return the state after a step, the loss and the logits."""
    t, parameters, means, squares = state
    (loss, logits), gradients = jax.value_and_grad(cross_entropy, has_aux=True)(parameters, X, y)
    t += 1
    means = [BETA1 * m + (1 - BETA1) * g for m, g in zip(means, gradients, strict=True)]
    squares = [BETA2 * v + (1 - BETA2) * g * g for v, g in zip(squares, gradients, strict=True)]
    correct1, correct2 = 1 - BETA1**t, 1 - BETA2**t
    parameters = [
        p - LR * (m / correct1) / (jnp.sqrt(v / correct2) + EPS)
        for p, m, v in zip(parameters, means, squares, strict=True)
    ]
    return (t, parameters, means, squares), loss, logits


def train_step(state: Any, X: Any, y: Any) -> Any:
    """Return the state after a step, and the loss."""
    return train(state, X, y)[:2]


def train_epoch(state: Any, order: Any, X: Any, y: Any) -> Any:
    """Return the state after an epoch, its loss and its accuracy.

    Args:
        state: the state before the epoch.
        order: row indices of each batch (steps, batch).
        X: all rows (rows, in).
        y: their labels (rows,).
    """

    def body(state: Any, rows: Any) -> Any:
        batch, labels = (a.at[rows].get(mode="promise_in_bounds") for a in (X, y))
        state, loss, logits = train(state, batch, labels)
        return state, (loss, (logits.argmax(axis=1) == labels).sum())

    state, (losses, right) = jax.lax.scan(body, state, order)
    return state, losses.mean(), right.sum() / order.size


class Steps(Framework):
    def __init__(self, problem: Problem, mode: str, device: str):
        jax.config.update("jax_default_matmul_precision", "highest")  # by default, float32 products use TF32 on a GPU
        put = partial(jax.device_put, device=jax.devices(device)[0])
        parameters = problem.parameters()
        self.state = put((np.float32(0), parameters, *([np.zeros_like(a) for a in parameters] for _ in range(2))))
        self.scans = mode == "scan"
        if self.scans:
            X, y = problem.data()
            self.data = put(X), put(y.astype(np.int32))
            self.batch, self.epoch = problem.batch, problem.epoch
            self.rng = np.random.default_rng(3)
            self.train_epoch = jax.jit(train_epoch, donate_argnums=0)
        else:
            self.batches = [(put(X), put(y.astype(np.int32))) for X, y in problem.batches()]
            self.train = jax.jit(train_step, donate_argnums=0)

    def step(self, X: Any, y: Any) -> Any:
        self.state, loss = self.train(self.state, X, y)
        return loss

    def run(self, order: Sequence[int]) -> Any:
        """In mode "scan", train one epoch on each batch alone; return the last loss."""
        if not self.scans:
            return super().run(order)
        for i in order:
            loss = self.train_in_order(i * self.batch + self.rng.permutation(self.batch))
        return loss

    def train_in_order(self, rows: np.ndarray) -> float:
        """Train one epoch on the rows in this order; return its loss."""
        order = rows.reshape(-1, self.batch).astype(np.int32)
        self.state, *means = self.train_epoch(self.state, order, *self.data)
        loss, _ = jax.device_get(means)
        return float(loss)

    def seconds(self, order: Sequence[int]) -> float:
        """In mode "scan", return the time of epochs with `len(order)` steps in total, after an untimed epoch."""
        if not self.scans:
            return super().seconds(order)
        rows = len(self.data[0])
        self.train_in_order(self.rng.permutation(rows))
        self.wait()
        began = time.perf_counter()
        for _ in range(len(order) // self.epoch):
            self.train_in_order(self.rng.permutation(rows))
        self.wait()
        return time.perf_counter() - began

    def parameters(self) -> list[np.ndarray]:
        return [np.asarray(a) for a in self.state[1]]

    def wait(self) -> None:
        """Wait for the last state, which depends on all earlier ones."""
        jax.block_until_ready(self.state)

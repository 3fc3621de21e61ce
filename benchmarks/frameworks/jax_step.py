"""JAX: the whole step in one `jit` whose state is donated; as mode "scan", all steps of a round in one `lax.scan`."""

from __future__ import annotations

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
    for weight, bias in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
        X = jax.nn.relu(X @ weight + bias)
    log_p = jax.nn.log_softmax(X @ parameters[-2] + parameters[-1])
    return -jnp.take_along_axis(log_p, y[:, None], axis=1).mean()


def train(state: Any, X: Any, y: Any) -> Any:
    """Return the state after a step, and the loss."""
    t, parameters, means, squares = state
    loss, gradients = jax.value_and_grad(cross_entropy)(parameters, X, y)
    t += 1
    means = [BETA1 * m + (1 - BETA1) * g for m, g in zip(means, gradients, strict=True)]
    squares = [BETA2 * v + (1 - BETA2) * g * g for v, g in zip(squares, gradients, strict=True)]
    correct1, correct2 = 1 - BETA1**t, 1 - BETA2**t
    parameters = [
        p - LR * (m / correct1) / (jnp.sqrt(v / correct2) + EPS)
        for p, m, v in zip(parameters, means, squares, strict=True)
    ]
    return (t, parameters, means, squares), loss


def train_all(state: Any, order: Any, X: Any, y: Any) -> Any:
    """Return the state after a step on each of the batches `order` of the stacked X and y, and the last loss."""

    def body(carry: Any, i: Any) -> Any:
        return train(carry[0], X[i], y[i]), None

    return jax.lax.scan(body, (state, jnp.float32(0)), order)[0]


class Steps(Framework):
    def __init__(self, problem: Problem, mode: str, device: str):
        jax.config.update("jax_default_matmul_precision", "highest")  # else float32 products are TF32 on a GPU
        put = partial(jax.device_put, device=jax.devices(device)[0])
        self.batches = [(put(X), put(y.astype(np.int32))) for X, y in problem.batches()]
        parameters = problem.parameters()
        self.state = put((np.float32(0), parameters, *([np.zeros_like(a) for a in parameters] for _ in range(2))))
        self.train = jax.jit(train, donate_argnums=0)
        self.scans = mode == "scan"
        if self.scans:
            self.stacked = [jnp.stack(a) for a in zip(*self.batches, strict=True)]
            self.train_all = jax.jit(train_all, donate_argnums=0)

    def step(self, X: Any, y: Any) -> Any:
        self.state, loss = self.train(self.state, X, y)
        return loss

    def run(self, order: Sequence[int]) -> Any:
        if not self.scans:
            return super().run(order)
        self.state, loss = self.train_all(self.state, np.asarray(order, np.int32), *self.stacked)
        return loss

    def parameters(self) -> list[np.ndarray]:
        return [np.asarray(a) for a in self.state[1]]

    def wait(self) -> None:
        """Wait for the last state, which comes of all states before it."""
        jax.block_until_ready(self.state)

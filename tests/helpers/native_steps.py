"""Compare training runs of two executors, or of one executor in two ways."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from problems import classification

import gpunet as gn
from gpunet.native import program
from gpunet.training.step import Step

X, Y = classification(80)

TOLERANCE = {"float32": 1e-5, "float64": 1e-11}
"""Maximum difference of two executors, relative to the largest number of an array. NumPy's erf has error 1e-12."""


def make(executor="native", optimizer=None, *, sizes=(5, 16, 8, 3), dtype="float32", seed=3, **options):
    """Return a trainer of a small MLP; `options` are those of the MLP and of the trainer."""
    of_net = {name: options.pop(name) for name in ("dropout", "activation") if name in options}
    model = gn.MLP(sizes, seed=0, **of_net).to(dtype=dtype)
    return gn.Trainer(model, optimizer=optimizer or gn.Adam(0.01), seed=seed, executor=executor, **options)


def fit(trainer, x=X, y=Y, *, batch_size=17, **options):
    return trainer.fit(x, y, batch_size=batch_size, **options)


def bits(trainer):
    """Return copies of all arrays that a step changes: parameters, the optimizer's state, buffers."""
    store = trainer.model.store
    return [a.copy() for a in (store.params, *store.slots.values(), store.buffers)]


def measured(trainer):
    return [{name: value for name, value in row.items() if name != "seconds"} for row in trainer.history.epochs]


def assert_same_bits(first, second):
    assert first.optimizer.steps == second.optimizer.steps
    for a, b in zip(bits(first), bits(second), strict=True):
        np.testing.assert_array_equal(a, b)
    assert measured(first) == measured(second)


def assert_follows(one, other, *, history=True):
    """Check that two training runs agree up to rounding in weights, state and history."""
    assert one.optimizer.steps == other.optimizer.steps
    tolerance = TOLERANCE[one.model.dtype.name]
    for a, b in zip(bits(one), bits(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * np.abs(b).max(initial=0.0))
    if history:
        for name in {"loss", "accuracy"} & one.history.epochs[-1].keys() if len(one.history) else ():
            np.testing.assert_allclose(one.history[name], other.history[name], rtol=10 * tolerance)


@contextmanager
def spied_steps() -> Iterator[list[int]]:
    """Yield a list that records the number of steps of each call."""
    calls: list[int] = []
    real = Step.run

    def run(self, steps=1):
        calls.append(steps)
        real(self, steps)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Step, "run", run)
        yield calls


def use_threads(patch: pytest.MonkeyPatch, threads: int) -> None:
    """Make native programs of any size use `threads` threads."""
    patch.setattr(program, "thread_count", lambda: threads)
    patch.setattr(program, "PARALLEL_FLOPS", 0)

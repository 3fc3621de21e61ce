"""A training step against the same step by hand in NumPy, and an epoch of `Trainer.fit` against its steps."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pytest

import gpunet as gn
from benchmarks.conftest import Compare
from benchmarks.numpy_step import NumpyStep


class Net(NamedTuple):
    sizes: tuple[int, ...]
    batch: int
    batches: int  # of an epoch; a round is an epoch
    limit: float  # of a step against the one by hand

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        rows = self.batch * self.batches
        return rng.standard_normal((rows, self.sizes[0]), np.float32), rng.integers(0, self.sizes[-1], rows)

    def split(self, X: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        return list(zip(np.split(X, self.batches), np.split(y, self.batches), strict=True))


NETS = (
    Net((64, 64, 10), batch=32, batches=200, limit=2.0),
    Net((784, 128, 10), batch=128, batches=40, limit=1.15),
    Net((784, 512, 512, 10), batch=256, batches=10, limit=1.1),
)
EPOCH_LIMIT = 1.1
ROUNDS = 50

nets = pytest.mark.parametrize("net", NETS, ids=str)


@pytest.fixture(autouse=True)
def on_the_cpu() -> Iterator[None]:
    with gn.use_device("cpu"):
        yield


def trainer_of(net: Net, *callbacks: gn.Callback) -> gn.Trainer:
    return gn.Trainer(gn.MLP(net.sizes), optimizer=gn.Adam(1e-3), callbacks=callbacks)


@nets
def test_step_against_numpy_by_hand(compare: Compare, net: Net) -> None:
    trainer = trainer_of(net)
    by_hand = NumpyStep(list(trainer.model.parameters().values()), net.batch, lr=1e-3)
    batches = net.split(*net.data())

    for X, y in batches[:5]:  # equal work?
        assert trainer.step(X, y) == pytest.approx(by_hand(X, y), rel=1e-4)
    for ours, theirs in zip(trainer.model.parameters().values(), by_hand.parameters, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)

    def gpunet_steps() -> None:
        for X, y in batches:
            trainer.step(X, y)

    def numpy_steps() -> None:
        for X, y in batches:
            by_hand(X, y)

    compare(f"step by hand, {net}", gpunet_steps, numpy_steps, rounds=ROUNDS, limit=net.limit, steps=net.batches)


@pytest.mark.parametrize("bar", [False, True], ids=["plain", "progress bar"])
@nets
def test_epoch_against_its_steps(compare: Compare, net: Net, bar: bool) -> None:
    fitted = trainer_of(net, *([gn.ProgressBar(file=io.StringIO())] if bar else []))
    stepped = trainer_of(net)
    X, y = net.data()
    batches = net.split(X, y)

    def epoch() -> None:
        fitted.fit(X, y, epochs=1, batch_size=net.batch)

    def steps() -> None:
        for batch in batches:
            stepped.step(*batch)

    what = f"fit{' with progress bar' if bar else ''}, {net}"
    compare(what, epoch, steps, rounds=ROUNDS, limit=EPOCH_LIMIT, steps=net.batches)

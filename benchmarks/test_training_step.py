"""A training step compared with hand-written NumPy, and an epoch of `Trainer.fit` compared with its nodes alone."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import gpunet as gn
from benchmarks.conftest import Compare
from benchmarks.epochs import EpochClock
from benchmarks.numpy_step import NumpyStep
from gpunet.cli.parts import load_parts
from gpunet.cli.recipe import LEARNING_RATES, open_trainer
from gpunet.cli.run import CHECKPOINT, LOG, Settings
from gpunet.training import Checkpoint, Log
from gpunet.training.given import check_training
from gpunet.training.step.host import NativeExecutor


class Net(NamedTuple):
    sizes: tuple[int, ...]
    batch: int
    batches: int  # batches of an epoch, and steps of a round of `Trainer.step`
    faster: float  # required speedup over the hand-written step
    epochs: int  # epochs of a round of `Trainer.fit`
    rounds: int = 50

    def __str__(self) -> str:
        return f"{'-'.join(map(str, self.sizes))}, batch {self.batch}"

    def data(self) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(0)
        rows = self.batch * self.batches
        return rng.standard_normal((rows, self.sizes[0]), np.float32), rng.integers(0, self.sizes[-1], rows)

    def split(self, X: np.ndarray, y: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        return list(zip(np.split(X, self.batches), np.split(y, self.batches), strict=True))


NETS = (
    Net((64, 64, 10), batch=32, batches=200, faster=2.5, epochs=8),
    Net((784, 128, 10), batch=128, batches=40, faster=1.08, epochs=1),
    Net((784, 512, 512, 10), batch=256, batches=10, faster=1.0, epochs=1, rounds=25),
)
LARGEST = Net((1024, 1024, 1024, 1024), batch=1024, batches=2, faster=1.0, epochs=1, rounds=9)
EPOCH_LIMIT, TRAIN_LIMIT = 1.1, 1.6
EPOCHS, ROUNDS = 30, 25  # for the digits

DIGITS: dict[str, Any] = {  # the defaults of `gpunet train digits`
    "data": "digits",
    "target": None,
    "task": None,
    "hidden": (128,),
    "activation": "relu",
    "dropout": 0.0,
    "label_smoothing": 0.1,
    "epochs": 100,
    "batch_size": 32,
    "optimizer": "Adam",
    "lr": LEARNING_RATES["Adam"],
    "device": "cpu",
    "seed": 0,
}

nets = pytest.mark.parametrize("net", NETS, ids=str)


@pytest.fixture(autouse=True)
def on_the_cpu() -> Iterator[None]:
    with gn.use_device("cpu"):
        yield


def trainer_of(net: Net, *callbacks: gn.Callback) -> gn.Trainer:
    return gn.Trainer(gn.MLP(net.sizes), optimizer=gn.Adam(1e-3), callbacks=callbacks)


@nets
def test_step_against_handwritten_numpy(compare: Compare, net: Net) -> None:
    trainer = trainer_of(net)
    by_hand = NumpyStep(list(trainer.model.parameters().values()), net.batch, lr=1e-3)
    batches = net.split(*net.data())

    for X, y in batches[:5]:  # check that both do equal work
        assert trainer.step(X, y) == pytest.approx(by_hand(X, y), rel=1e-4)
    for ours, theirs in zip(trainer.model.parameters().values(), by_hand.parameters, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)

    def gpunet_steps() -> None:
        for X, y in batches:
            trainer.step(X, y)

    def numpy_steps() -> None:
        for X, y in batches:
            by_hand(X, y)

    limit = round(1 / net.faster, 3)
    compare(f"step by hand, {net}", gpunet_steps, numpy_steps, rounds=net.rounds, limit=limit, steps=net.batches)


@pytest.mark.parametrize("net", [*NETS, LARGEST], ids=str)
def test_epoch_with_progress_bar_against_its_nodes(compare: Compare, net: Net) -> None:
    clock = EpochClock()
    fitted = trainer_of(net, gn.ProgressBar(file=io.StringIO()), clock)
    X, y = net.data()

    def epoch() -> float:
        fitted.fit(X, y, epochs=1 + net.epochs, batch_size=net.batch)
        return clock.seconds

    nodes = Nodes(trainer_of(net), X, y, net.batch)
    what = f"fit with progress bar, {net}"
    compare(
        what,
        epoch,
        lambda: nodes.seconds(net.epochs),
        rounds=net.rounds,
        limit=EPOCH_LIMIT,
        steps=net.epochs * net.batches,
    )


@pytest.mark.parametrize("files", [False, True], ids=["no files", "log and checkpoint"])
def test_epoch_of_gpunet_train_digits_against_its_nodes(compare: Compare, tmp_path: Path, files: bool) -> None:
    settings = Settings(**DIGITS)
    parts = load_parts(settings)
    train, held_out = parts["train"], parts["validation"]
    clock = EpochClock()
    kept = [Log(tmp_path / LOG), Checkpoint(tmp_path / CHECKPOINT)] if files else []
    stopper = gn.EarlyStopping(patience=10**9)  # never stops, so that all rounds have the same length
    callbacks = [gn.ProgressBar(file=io.StringIO()), gn.TerminateOnNaN(), stopper, *kept, clock]
    fitted = open_trainer(settings, tmp_path, train, callbacks, None)
    nodes = Nodes(open_trainer(settings, tmp_path, train, [], None), train.X, train.y, settings.batch_size)

    def epoch() -> float:
        validation = held_out.X, held_out.y
        fitted.fit(train.X, train.y, epochs=1 + EPOCHS, batch_size=settings.batch_size, validation=validation)
        return clock.seconds

    what = f"gpunet train digits, {'with' if files else 'without'} log and checkpoint"
    limit = None if files else TRAIN_LIMIT
    compare(what, epoch, lambda: nodes.seconds(EPOCHS), rounds=ROUNDS, limit=limit, steps=EPOCHS * nodes.steps)


class Nodes:
    """The nodes of an epoch of `fit`, run by the native executor's program without `fit`.

    Args:
        trainer: records the steps; its parameters are meaningless afterwards.
        X: the features for `fit`.
        y: the targets for `fit`.
        batch: the batch size.

    Attributes:
        steps: the number of steps of an epoch.
    """

    def __init__(self, trainer: gn.Trainer, X: np.ndarray, y: np.ndarray, batch: int):
        trainer.fit(X, y, epochs=1, batch_size=batch)
        recorded = {step.count: step.executor for step in trainer._steps._steps.values()}
        if not all(isinstance(executor, NativeExecutor) and executor._program for executor in recorded.values()):
            pytest.skip("the step is not fully native: no C++ compiler, or no BLAS that C++ can call.")
        whole, rest = divmod(len(X), batch)
        calls = [(batch, whole), (rest, 1)]
        self._calls: list[tuple[Any, int]] = [(recorded[rows]._program, steps) for rows, steps in calls if rows]
        self.steps = whole + (rest > 0)
        examples = check_training(trainer.model, trainer.loss, X, y, validation=None, sample_weight=None, seed=0)
        self._trainer, self._batches = trainer, trainer._steps._batches
        self._batches.load(examples.arrays)
        self._order = np.random.default_rng(0).permutation(len(X))

    def seconds(self, epochs: int) -> float:
        """Return the seconds of `epochs` epochs, after one untimed epoch."""
        self._run()
        began = time.perf_counter()
        for _ in range(epochs):
            self._run()
        return time.perf_counter() - began

    def _run(self) -> None:
        self._batches.begin(self._order, 0)
        for program, steps in self._calls:
            program.run(steps)

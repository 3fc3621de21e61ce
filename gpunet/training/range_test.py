"""The learning-rate range test of Smith 2015, https://arxiv.org/abs/1506.01186: which rates a training takes."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gpunet import random
from gpunet.arguments import real, whole
from gpunet.device import to_host
from gpunet.errors import StateError
from gpunet.schedules import Schedule
from gpunet.training.batch_sizes import check_batches
from gpunet.training.given import check_training
from gpunet.training.plots import rates_figure

SMOOTHING = 0.9
"""What the smoothed loss keeps of itself at a step."""

DIVERGED = 3.0
"""How far above its least value, in units of that, the smoothed loss ends the test."""


class RangeTest(NamedTuple):
    """The losses of a training whose learning rate rose from step to step.

    Attributes:
        rates: (steps,) the learning rates.
        losses: (steps,) the loss of each step's batch before the update with that rate.
        smoothed: (steps,) their moving average, without bias to the first.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray

    @property
    def suggestion(self) -> float:
        """A tenth of the rate at which the smoothed loss was least: where it still falls fast, far from diverging."""
        return float(self.rates[self.smoothed.argmin()]) / 10

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Write a PNG picture: the loss over the rate, and the suggestion.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        rates_figure(self.rates, self.losses, self.smoothed, self.suggestion).savefig(path, format="png")

    def __repr__(self) -> str:
        ends = f"from {self.rates[0]:.3g} to {self.rates[-1]:.3g}"
        return f"<RangeTest: {len(self.rates)} rates {ends}; suggestion: {self.suggestion:.2g}>"


@dataclass
class _Rising(Schedule):
    """Rise by the same factor at each step.

    Args:
        lr: the rate of the training, to which the rates of groups of parameters keep their ratio.
        lowest: the rate of the first step.
        highest: that of the last one.
        steps: how many there are.
        begin: the number of the first.
    """

    lr: float
    lowest: float
    highest: float
    steps: int
    begin: int

    def __call__(self, step: int) -> float:
        share = (step - self.begin) / (self.steps - 1)
        return float(self.lowest * (self.highest / self.lowest) ** share)


def find(
    trainer: Any,
    X: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    batch_size: int,
    lowest: float,
    highest: float,
    steps: int,
) -> RangeTest:
    """Run the test on a copy of a trainer; the documentation is at `Trainer.find_lr`."""
    lowest = real("find_lr: lowest", lowest, 0)
    highest, steps = real("find_lr: highest", highest, lowest), whole("find_lr: steps", steps, 2)
    if trainer.ranks.size > 1:
        raise StateError("find_lr is for one process; call it in a trainer without distributed.")
    twin = _twin(trainer)
    arrays, _, classes = check_training(
        twin.model, twin.loss, X, y, validation=None, sample_weight=sample_weight, seed=trainer.seed
    )
    x, target, *weights = arrays
    batch_size = min(whole("find_lr: batch_size", batch_size), len(x))
    check_batches(twin, x.shape, batch_size, drop_last=True)
    if trainer.epoch == trainer.position == 0:
        twin.loss.begin(target, weights[0] if weights else None, classes, twin.model.output_shape(x.shape[1:]))
    base = twin.optimizer.schedule.base_lr
    twin.optimizer.schedule = _Rising(base, lowest, highest, steps, twin.optimizer.steps)
    return _run(twin, arrays, min(batch_size * twin.accumulate, len(x)), steps)


def _run(twin: Any, arrays: Sequence[np.ndarray], count: int, steps: int) -> RangeTest:
    """Train the copy on batches of `count` rows, until its loss diverges or so many steps are done."""
    rates: list[float] = []
    losses: list[float] = []
    smoothed: list[float] = []
    mean = 0.0
    for batch in _batches(len(arrays[0]), count, steps, twin.seed):
        x, *rest = (a[batch] for a in arrays)
        rate = twin.optimizer.lr
        with np.errstate(over="ignore", invalid="ignore"):
            loss = float(to_host(twin.step(twin.model.convert(x), *rest)))
        if not math.isfinite(loss):
            break
        rates.append(rate)
        losses.append(loss)
        mean += (1 - SMOOTHING) * (loss - mean)
        smoothed.append(mean / (1 - SMOOTHING ** len(losses)))
        if smoothed[-1] > min(smoothed) + DIVERGED * abs(min(smoothed)):
            break
    return RangeTest(*map(np.array, (rates, losses, smoothed)))


def _batches(rows: int, count: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Return the rows of each step, all of the same number, in an order of each epoch's own."""
    for step in range(steps):
        epoch, place = divmod(step, rows // count)
        if place == 0:
            order = random.permutation(rows, seed=seed, epoch=epoch)
        yield order[place * count : (place + 1) * count]


def _twin(trainer: Any) -> Any:
    """Return a trainer with a copy of all that steps change in another one."""
    same = {name: getattr(trainer, name) for name in ("seed", "executor", "precision", "accumulate")}
    model, loss, optimizer = map(copy.deepcopy, (trainer.model, trainer.loss, trainer.optimizer))
    twin = type(trainer)(model, loss=loss, optimizer=optimizer, **same)
    twin.attach()
    if trainer.optimizer.serves(trainer.model):
        twin.optimizer.steps = trainer.optimizer.steps
        for name, slot in model.store.slots.items():
            slot[...] = trainer.model.store.slots[name]
    return twin

"""The learning-rate range test of Smith 2015, https://arxiv.org/abs/1506.01186."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gpunet import random
from gpunet.arguments import real, whole
from gpunet.device import to_host
from gpunet.errors import ArgumentError, StateError
from gpunet.schedules import Schedule
from gpunet.training.batch_sizes import check_batches
from gpunet.training.given import check_training
from gpunet.training.plots import rates_figure
from gpunet.training.protocol import Training

SMOOTHING = 0.9
"""Decay of the smoothed loss."""

LEAST_SPREAD = 1e-3
"""Minimum spread of the losses of batches, relative to their mean; smaller changes count as rounding errors."""

DIVERGED = 3.0
"""The test ends when the smoothed loss is this many spreads above the initial mean."""

IMPROVED = 0.1
"""A smoothed loss counts as lower than without training if it is this many spreads below the initial mean."""


class RangeTest(NamedTuple):
    """The losses of a training whose learning rate increased at each step.

    Attributes:
        losses: of each step's batch, before the update, (steps,).
        smoothed: `initial` plus the moving average of how much training changed each batch's loss, (steps,).
        initial: the mean loss of the batches without training.
        spread: the standard deviation of these losses, at least 0.1 % of the mean.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray
    initial: float
    spread: float

    @property
    def improved(self) -> bool:
        """Whether a rate lowered the smoothed loss."""
        return bool(self.initial - self.smoothed.min() > IMPROVED * self.spread)

    @property
    def suggestion(self) -> float:
        """A tenth of the rate with the lowest smoothed loss, but at least the first rate.

        At this rate the loss still falls fast and is far from diverging.

        Raises:
            StateError: no rate lowered the loss.
        """
        if not self.improved:
            raise StateError(
                f"find_lr: no rate lowered the loss: it is {self.initial:.4g} ± {self.spread:.2g} without training, "
                f"and {self.smoothed.min():.4g} at best. Try more steps or other rates."
            )
        return float(max(self.rates[self.smoothed.argmin()] / 10, self.rates[0]))

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Plot the loss over the rate, and the suggestion, to a PNG file; needs matplotlib."""
        suggestion = self.suggestion if self.improved else None
        rates_figure(self.rates, self.losses, self.smoothed, suggestion).savefig(path, format="png")

    def __repr__(self) -> str:
        ends = f"from {self.rates[0]:.3g} to {self.rates[-1]:.3g}"
        result = f"suggestion: {self.suggestion:.2g}" if self.improved else "no rate lowered the loss"
        return f"<RangeTest: {len(self.rates)} rates {ends}; {result}>"


@dataclass
class _ExponentialRise(Schedule):
    """Multiply the rate by the same factor at each step.

    Args:
        lr: the training's rate, which determines the factors of parameter groups.
        lowest: the rate of the first step.
        highest: the rate of the last step.
        steps: number of steps.
        begin: number of the first step.
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
    trainer: Training,
    X: ArrayLike,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    batch_size: int,
    lowest: float,
    highest: float,
    steps: int,
) -> RangeTest:
    """Run the test on a copy of a trainer; see `Trainer.find_lr`."""
    lowest = real("find_lr: lowest", lowest, 0)
    highest, steps = real("find_lr: highest", highest, lowest), whole("find_lr: steps", steps, 2)
    if trainer.ranks.size > 1:
        raise StateError("find_lr works in one process; call it on a trainer without `distributed`.")
    if y is None:
        raise ArgumentError("find_lr: y is missing; give arrays, for example the rows of some batches of an iterable.")
    trained = _copy(trainer)
    base = trained.optimizer.schedule.base_lr
    if not base > 0 and any("lr" in own for own in trained.optimizer.groups.values()):
        raise ArgumentError("find_lr scales the rates of groups with the optimizer's lr; set an lr above 0.")
    arrays, _, classes = check_training(
        trained.model, trained.loss, X, y, validation=None, sample_weight=sample_weight, seed=trainer.seed
    )
    x, target, *weights = arrays
    batch_size = min(whole("find_lr: batch_size", batch_size), len(x))
    check_batches(trained, x.shape, batch_size, drop_last=True)
    untrained = _copy(trainer)
    if trainer.epoch == trainer.position == 0:
        for copied in (untrained, trained):
            outputs = trained.model.output_shape(x.shape[1:])
            copied.loss.begin(target, weights[0] if weights else None, classes, outputs)
    untrained.optimizer.lr = 0.0
    trained.optimizer.schedule = _ExponentialRise(base, lowest, highest, steps, trained.optimizer.steps)
    count = min(batch_size * trained.accumulate, len(x))
    before = np.array([loss for _, loss in _losses(untrained, arrays, count, steps)])
    if not np.isfinite(before).all():
        raise StateError(
            "find_lr: the loss is not finite before the first step, so no rate can be tested. Standardise targets and "
            "features (model.target_scaler, model.input_scaler), and start with finite weights."
        )
    return _run(trained, arrays, count, before)


def _run(training: Training, arrays: Sequence[np.ndarray], count: int, before: np.ndarray) -> RangeTest:
    """Train on batches of `count` rows, until the loss diverges or all steps are done.

    Args:
        before: the loss of each step's batch without training, (steps,).
    """
    initial = float(before.mean())
    spread = max(float(before.std()), LEAST_SPREAD * abs(initial))
    rates: list[float] = []
    losses: list[float] = []
    changes = [0.0]
    for (rate, loss), untrained in zip(_losses(training, arrays, count, len(before)), before, strict=True):
        if not math.isfinite(loss):
            break
        rates.append(rate)
        losses.append(loss)
        changes.append(SMOOTHING * changes[-1] + (1 - SMOOTHING) * (loss - untrained))
        if changes[-1] > max(DIVERGED * spread, -min(changes)):
            break
    return RangeTest(np.array(rates), np.array(losses), initial + np.array(changes[1:]), initial, spread)


def _losses(training: Training, arrays: Sequence[np.ndarray], count: int, steps: int) -> Iterator[tuple[float, float]]:
    """Train on batches of `count` rows; yield the rate and the loss of each step."""
    for batch in _batches(len(arrays[0]), count, steps, training.seed):
        x, *rest = (a[batch] for a in arrays)
        rate = training.optimizer.lr
        yield rate, float(to_host(training.step(training.model.convert(x), *rest)))


def _batches(rows: int, count: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Yield the `count` row indices of each step; every epoch has its own order."""
    for step in range(steps):
        epoch, place = divmod(step, rows // count)
        if place == 0:
            order = random.permutation(rows, seed=seed, epoch=epoch)
        yield order[place * count : (place + 1) * count]


def _copy(trainer: Training) -> Training:
    """Return a new trainer with copies of the model, the loss and the optimizer with its state."""
    same = {name: getattr(trainer, name) for name in ("seed", "executor", "precision", "accumulate")}
    model, loss, optimizer = map(copy.deepcopy, (trainer.model, trainer.loss, trainer.optimizer))
    make: Callable[..., Training] = type(trainer)
    copied = make(model, loss=loss, optimizer=optimizer, **same)
    copied.attach()
    if trainer.optimizer.serves(trainer.model):
        copied.optimizer.steps = trainer.optimizer.steps
        for name, slot in copied.model.store.slots.items():
            slot[...] = trainer.model.store.slots[name]
    return copied

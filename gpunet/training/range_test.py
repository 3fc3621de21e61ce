"""The learning-rate range test of Smith 2015, https://arxiv.org/abs/1506.01186: which rates a training takes."""

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
"""What the smoothed loss keeps of itself at a step."""

LEAST_SPREAD = 1e-3
"""Of the losses of batches, in units of their mean: where all are alike, a smaller change counts as rounding."""

DIVERGED = 3.0
"""How many times this spread the smoothed loss must rise above the mean to end the test."""

IMPROVED = 0.1
"""How many times this spread it must fall below the mean to be lower than without training."""


class RangeTest(NamedTuple):
    """The losses of a training whose learning rate rose from step to step.

    Attributes:
        rates: (steps,) the learning rates.
        losses: (steps,) the loss of each step's batch before the update with that rate.
        smoothed: (steps,) the moving average of what training has changed in the loss of each batch, plus `initial`.
        initial: the mean loss of the batches without training.
        spread: their standard deviation, at least 0.1 % of the mean.
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
        """A tenth of the rate at which the smoothed loss was least, and no less than the first rate.

        The loss still falls fast there, and is far from diverging.

        Raises:
            StateError: no rate lowered the loss.
        """
        if not self.improved:
            raise StateError(
                f"find_lr: no rate lowered the loss: it is {self.initial:.4g} ± {self.spread:.2g} without training, "
                f"and {self.smoothed.min():.4g} at best. Test more steps or other rates."
            )
        return float(max(self.rates[self.smoothed.argmin()] / 10, self.rates[0]))

    def plot(self, path: str | os.PathLike[str]) -> None:
        """Write a PNG picture: the loss over the rate, and the suggestion, if there is one.

        Raises:
            MissingPackageError: matplotlib is not installed.
        """
        suggestion = self.suggestion if self.improved else None
        rates_figure(self.rates, self.losses, self.smoothed, suggestion).savefig(path, format="png")

    def __repr__(self) -> str:
        ends = f"from {self.rates[0]:.3g} to {self.rates[-1]:.3g}"
        result = f"suggestion: {self.suggestion:.2g}" if self.improved else "none lowered the loss"
        return f"<RangeTest: {len(self.rates)} rates {ends}; {result}>"


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
    trainer: Training,
    X: ArrayLike,
    y: ArrayLike | None,
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
    if y is None:
        raise ArgumentError("find_lr: y is missing; it takes arrays, such as the rows of some batches of an iterable.")
    twin = _twin(trainer)
    base = twin.optimizer.schedule.base_lr
    if not base > 0 and any("lr" in own for own in twin.optimizer.groups.values()):
        raise ArgumentError("find_lr: the rates of groups keep their ratio to the optimizer's lr; set one above 0.")
    arrays, _, classes = check_training(
        twin.model, twin.loss, X, y, validation=None, sample_weight=sample_weight, seed=trainer.seed
    )
    x, target, *weights = arrays
    batch_size = min(whole("find_lr: batch_size", batch_size), len(x))
    check_batches(twin, x.shape, batch_size, drop_last=True)
    still = _twin(trainer)
    if trainer.epoch == trainer.position == 0:
        for copied in (still, twin):
            outputs = twin.model.output_shape(x.shape[1:])
            copied.loss.begin(target, weights[0] if weights else None, classes, outputs)
    still.optimizer.lr = 0.0
    twin.optimizer.schedule = _Rising(base, lowest, highest, steps, twin.optimizer.steps)
    count = min(batch_size * twin.accumulate, len(x))
    before = np.array([loss for _, loss in _losses(still, arrays, count, steps)])
    if not np.isfinite(before).all():
        raise StateError(
            "find_lr: the loss is not finite before the first step, so that no rate can be tested. Standardise targets "
            "and features (model.target_scaler, model.input_scaler); begin with weights that are finite."
        )
    return _run(twin, arrays, count, before)


def _run(twin: Training, arrays: Sequence[np.ndarray], count: int, before: np.ndarray) -> RangeTest:
    """Train the copy on batches of `count` rows, until its loss diverges or all steps are done.

    Args:
        twin: the copy.
        arrays: features, targets and, if there are any, row weights.
        count: rows of a batch.
        before: (steps,) the loss of each step's batch without training.
    """
    initial = float(before.mean())
    spread = max(float(before.std()), LEAST_SPREAD * abs(initial))
    rates: list[float] = []
    losses: list[float] = []
    changes = [0.0]
    for (rate, loss), untrained in zip(_losses(twin, arrays, count, len(before)), before, strict=True):
        if not math.isfinite(loss):
            break
        rates.append(rate)
        losses.append(loss)
        changes.append(SMOOTHING * changes[-1] + (1 - SMOOTHING) * (loss - untrained))
        if changes[-1] > max(DIVERGED * spread, -min(changes)):
            break
    return RangeTest(np.array(rates), np.array(losses), initial + np.array(changes[1:]), initial, spread)


def _losses(twin: Training, arrays: Sequence[np.ndarray], count: int, steps: int) -> Iterator[tuple[float, float]]:
    """Train on batches of `count` rows; yield the rate and the loss of each step."""
    for batch in _batches(len(arrays[0]), count, steps, twin.seed):
        x, *rest = (a[batch] for a in arrays)
        rate = twin.optimizer.lr
        with np.errstate(over="ignore", invalid="ignore"):
            yield rate, float(to_host(twin.step(twin.model.convert(x), *rest)))


def _batches(rows: int, count: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Return the rows of each step, all of the same number, in an order of each epoch's own."""
    for step in range(steps):
        epoch, place = divmod(step, rows // count)
        if place == 0:
            order = random.permutation(rows, seed=seed, epoch=epoch)
        yield order[place * count : (place + 1) * count]


def _twin(trainer: Training) -> Training:
    """Return a trainer with a copy of all that steps change in another one."""
    same = {name: getattr(trainer, name) for name in ("seed", "executor", "precision", "accumulate")}
    model, loss, optimizer = map(copy.deepcopy, (trainer.model, trainer.loss, trainer.optimizer))
    make: Callable[..., Training] = type(trainer)
    twin = make(model, loss=loss, optimizer=optimizer, **same)
    twin.attach()
    if trainer.optimizer.serves(trainer.model):
        twin.optimizer.steps = trainer.optimizer.steps
        for name, slot in twin.model.store.slots.items():
            slot[...] = trainer.model.store.slots[name]
    return twin

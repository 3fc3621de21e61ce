"""Learning rate schedules: functions of the training step, which starts at 0.

To write one, derive a class from `Schedule` that stores its constructor arguments as attributes, for example a
dataclass, and define `__call__` (README.md in the folder `optimizers`). To save it in checkpoints, decorate it with
`@gn.register`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from gpunet.arguments import real, whole
from gpunet.attributes import Strict
from gpunet.errors import ArgumentError
from gpunet.formats import read_as
from gpunet.registry import Custom, arguments_of, find, register


class Schedule(Strict):
    """Base class of the schedules: `schedule(step)` is the learning rate of a step."""

    _guide = "help(gn.schedules.Schedule)"

    def __init_subclass__(cls) -> None:
        """Check the signatures of a user's methods."""
        super().__init_subclass__()
        cls._check_method("__call__", "(self, step)", None, None)
        cls._check_method("observe", "(self, value)", None, None)

    def __call__(self, step: int) -> float:
        """Return the learning rate of `step`, counted from 0."""
        raise self._not_implemented("__call__")

    @property
    def base_lr(self) -> float:
        """The attribute `lr`, which the schedule scales; NaN if there is none."""
        return float(getattr(self, "lr", math.nan))

    def observe(self, value: float) -> None:
        """Receive the monitored value, such as the validation loss, once per epoch; most schedules ignore it."""

    def state(self) -> dict[str, Any]:
        """Return the state that `observe` changes, as JSON values."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state that `state` returned."""

    def config(self) -> dict[str, Any]:
        """Return the constructor arguments as JSON values, and the class name as "type"."""
        return {"type": type(self).__name__} | {
            name: value.config() if isinstance(value, Schedule) else value for name, value in arguments_of(self).items()
        }


@register
@dataclass
class ConstantLR(Schedule):
    """The same learning rate at every step.

    Example:
        >>> gn.ConstantLR(0.1)(step=1000)
        0.1
    """

    lr: float

    def __post_init__(self) -> None:
        self.lr = real("lr", self.lr, 0, closed="left")

    def __call__(self, step: int) -> float:
        return self.lr


@register
@dataclass
class StepLR(Schedule):
    """Multiply the learning rate by `gamma` every `step_size` steps, like PyTorch's `StepLR`.

    Example:
        >>> schedule = gn.StepLR(0.5, step_size=10, gamma=0.5)
        >>> [schedule(step) for step in (0, 9, 10, 20)]
        [0.5, 0.5, 0.25, 0.125]
    """

    lr: float
    step_size: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        self.lr = real("lr", self.lr, 0, closed="left")
        self.step_size = whole("step_size", self.step_size)
        self.gamma = real("gamma", self.gamma, 0)

    def __call__(self, step: int) -> float:
        """Return `lr * gamma ** (step // step_size)`."""
        return self.lr * self.gamma ** (step // self.step_size)


@register
@dataclass
class CosineLR(Schedule):
    """Decay from `lr` at step 0 to `min_lr` at step `total_steps` along half a cosine; then stay at `min_lr`.

    The formula is that of SGDR (Loshchilov & Hutter 2017, eq. 5) and of PyTorch's `CosineAnnealingLR`, which rises
    again after `total_steps`.

    Example:
        >>> schedule = gn.CosineLR(1.0, total_steps=100)
        >>> [round(schedule(step), 2) for step in (0, 50, 100)]
        [1.0, 0.5, 0.0]
    """

    lr: float
    total_steps: int
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        self.lr = real("lr", self.lr, 0, closed="left")
        self.total_steps = whole("total_steps", self.total_steps)
        self.min_lr = real("min_lr", self.min_lr, 0, self.lr, closed="both")

    def __call__(self, step: int) -> float:
        """Return `min_lr + (lr - min_lr) * (1 + cos(pi * step / total_steps)) / 2`."""
        done = min(step / self.total_steps, 1.0)
        return self.min_lr + (self.lr - self.min_lr) * (1 + math.cos(math.pi * done)) / 2


@register
@dataclass
class CyclicCosineLR(Schedule):
    """Cosine waves from 0 up to `lr` and back, each twice as long as the previous; 0 from step `total_steps` on.

    The formula is RealMLP's coslog (Holzmüller et al. 2024, arXiv 2407.04491, section 3).

    Example:
        >>> schedule = gn.CyclicCosineLR(1.0, total_steps=30, cycles=2)  # waves of 10 and 20 steps
        >>> [round(schedule(step), 2) for step in (0, 4, 10, 18, 30)]
        [0.0, 1.0, 0.0, 1.0, 0.0]
    """

    lr: float
    total_steps: int
    cycles: int = 4

    def __post_init__(self) -> None:
        self.lr = real("lr", self.lr, 0, closed="left")
        self.total_steps = whole("total_steps", self.total_steps)
        self.cycles = whole("cycles", self.cycles)

    def __call__(self, step: int) -> float:
        """Return `lr * (1 - cos(2 * pi * log2(1 + (2 ** cycles - 1) * step / total_steps))) / 2`."""
        done = min(step / self.total_steps, 1.0)
        return self.lr * (1 - math.cos(2 * math.pi * math.log2(1 + (2**self.cycles - 1) * done))) / 2


@register
@dataclass
class ReduceLROnPlateau(Schedule):
    """Multiply the learning rate by `factor` after more than `patience` epochs without a better observed value.

    Rule and defaults are PyTorch's in the modes "min" and "rel": a value is better if it is below `best * (1 -
    threshold)`, and reductions of 1e-8 or less are skipped.

    Example:
        >>> schedule = gn.ReduceLROnPlateau(1.0, factor=0.5, patience=1)
        >>> for loss in (2.0, 2.0, 2.0):
        ...     schedule.observe(loss)
        >>> schedule(step=0)
        0.5
    """

    lr: float
    factor: float = 0.1
    patience: int = 10
    min_lr: float = 0.0
    threshold: float = 1e-4
    best: float = field(init=False, default=math.inf)
    bad_epochs: int = field(init=False, default=0)
    current_lr: float = field(init=False)

    def __post_init__(self) -> None:
        self.lr = self.current_lr = real("lr", self.lr, 0, closed="left")
        self.factor = real("factor", self.factor, 0, 1)
        self.patience = whole("patience", self.patience, least=0)
        self.min_lr = real("min_lr", self.min_lr, 0, self.lr, closed="both")
        self.threshold = real("threshold", self.threshold, 0, 1, closed="both")

    def __call__(self, step: int) -> float:
        return self.current_lr

    def observe(self, value: float) -> None:
        if value < self.best * (1 - self.threshold):  # not NaN
            self.best, self.bad_epochs = float(value), 0
            return
        self.bad_epochs += 1
        if self.bad_epochs > self.patience:
            self.bad_epochs = 0
            reduced = max(self.current_lr * self.factor, self.min_lr)
            if self.current_lr - reduced > 1e-8:
                self.current_lr = reduced

    def state(self) -> dict[str, Any]:
        best = None if self.best == math.inf else self.best  # JSON has no infinity
        return {"best": best, "bad_epochs": self.bad_epochs, "current_lr": self.current_lr}

    def restore(self, state: dict[str, Any]) -> None:
        self.best = math.inf if state["best"] is None else read_as(float, state["best"], "best")
        self.bad_epochs = whole("bad_epochs", state["bad_epochs"], 0)
        self.current_lr = real("current_lr", state["current_lr"], 0, closed="left")


@register
@dataclass
class LinearWarmup(Schedule):
    """Increase the learning rate linearly to the first value of a schedule, then follow that schedule.

    With n = `warmup_steps`, the rate is `schedule(0) * (step + 1) / n` before step n, and `schedule(step - n)` from it
    on (Goyal et al. 2017, section 2.2).

    Example:
        >>> schedule = gn.LinearWarmup(1.0, warmup_steps=4)
        >>> [schedule(step) for step in range(6)]
        [0.25, 0.5, 0.75, 1.0, 1.0, 1.0]
    """

    schedule: Schedule
    warmup_steps: int

    def __init__(self, schedule: Schedule | float, warmup_steps: int):
        self.schedule = as_schedule(schedule)
        self.warmup_steps = whole("warmup_steps", warmup_steps)

    @property
    def base_lr(self) -> float:
        return self.schedule.base_lr

    def __call__(self, step: int) -> float:
        if step < self.warmup_steps:
            return self.schedule(0) * (step + 1) / self.warmup_steps
        return self.schedule(step - self.warmup_steps)

    def observe(self, value: float) -> None:
        self.schedule.observe(value)

    def state(self) -> dict[str, Any]:
        return self.schedule.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.schedule.restore(state)


def as_schedule(lr: float | Schedule) -> Schedule:
    """Return a schedule unchanged, or a number >= 0 as a `ConstantLR`."""
    return lr if isinstance(lr, Schedule) else ConstantLR(lr)


def learning_rate(schedule: Schedule, step: int) -> float:
    """Return the learning rate of a step; raise `ArgumentError` if the schedule does not return a number >= 0."""
    lr = schedule(step)
    if type(lr) is float and 0 <= lr < math.inf:
        return lr
    return real(f"{type(schedule).__name__}: the learning rate of step {step}", lr, 0, closed="left")


def schedule_from_config(config: dict[str, Any], custom: Custom | None = None) -> Schedule:
    """Return the schedule of a configuration from `Schedule.config`; `custom` maps names to unregistered classes."""
    arguments = {
        name: schedule_from_config(value, custom) if isinstance(value, dict) else value
        for name, value in config.items()
    }
    kind = find(arguments.pop("type", None), Schedule, custom or {})
    try:
        return kind(**arguments)
    except TypeError as error:
        raise ArgumentError(f"schedule config {config} does not match {kind.__name__}: {error}.") from error

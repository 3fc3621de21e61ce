"""The base class of the optimizers: learning rate, state, and a step over the flat buffers of a model."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Iterable
from typing import Any, Self

import numpy as np

from gpunet.arguments import real, whole
from gpunet.device import to_host
from gpunet.errors import ArgumentError, StateError, warn
from gpunet.layers import Layer
from gpunet.layers.store import FlatStore
from gpunet.memory import aligned
from gpunet.optimizers.groups import Groups, Parts, checked
from gpunet.optimizers.rule import Rule
from gpunet.optimizers.step import ArrayStep, DeviceStep, HostStep
from gpunet.registry import arguments_of
from gpunet.schedules import Schedule, as_schedule, learning_rate
from gpunet.tape import StepCounter


class Optimizer(Rule):
    """Base class of the update rules: learning rate, clipping, state, and the step over the flat buffers.

    Settings can be changed between steps. A copy or a pickle keeps them, but is not attached to a model.

    To write a rule, derive a class and define `update_block` (README.md in this folder). On a GPU it runs as array
    code, with a warning, unless the class also defines `kernel` and `kernel_arguments`.

    Args:
        lr: the learning rate, or a schedule (see `gpunet.schedules`).
        clip_norm: maximum L2 norm of the gradient over all parameters; a larger gradient is scaled down in place.
        clip_value: clip each element of the gradient to ± this value, in place.
        groups: "lr" and "weight_decay" of some parameters, by name or pattern, as in `{"*.bias": {"weight_decay": 0},
            "0.*": {"lr": 0.1}}`. A name takes precedence over patterns. A schedule multiplies the rates of groups by
            the same factor as its own `lr`.

    Attributes:
        counter: the number of completed steps, on the host and for kernels.
    """

    outside_the_step = frozenset(("steps", "lr", "schedule", "_given", "_schedule", "_step", "_step_versions"))

    _set_by_init = frozenset(("weight_decay", "clip_norm", "clip_value", "groups", "counter", "_given", "_schedule"))

    def __new__(cls, *given: Any, **named: Any) -> Self:
        """Refuse parameters as the first argument, where PyTorch has them."""
        if given and isinstance(given[0], Iterable | Layer) and not isinstance(given[0], str):
            raise ArgumentError(
                f"{cls.__name__} takes no parameters: a Trainer attaches it to its model, as in gn.Trainer("
                f"model, optimizer=gn.{cls.__name__}(lr=0.001)); without a Trainer, use "
                f"gn.{cls.__name__}(lr=0.001).attach(model)."
            )
        return super().__new__(cls, *given, **named)

    def __init__(
        self,
        lr: float | Schedule,
        *,
        weight_decay: float = 0.0,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        groups: Groups | None = None,
    ):
        self.schedule = as_schedule(lr)
        self.weight_decay = self._real("weight_decay", weight_decay, closed="left")
        self.clip_norm = None if clip_norm is None else self._real("clip_norm", clip_norm)
        self.clip_value = None if clip_value is None else self._real("clip_value", clip_value)
        self.groups = checked(type(self).__name__, groups)
        self.counter = StepCounter()
        self._store: FlatStore | None = None
        self._step: ArrayStep | DeviceStep | None = None
        self._step_versions: tuple[int, int] | None = None

    @property
    def schedule(self) -> Schedule:
        """The schedule of the learning rate, with the state of this training; it can be replaced."""
        return self._schedule

    @schedule.setter
    def schedule(self, schedule: Schedule) -> None:
        self._given = copy.deepcopy(schedule)  # without the state of a training; `attach` starts from it
        self._schedule = copy.deepcopy(schedule)

    @property
    def lr(self) -> float:
        """The learning rate of the next step; setting it replaces the schedule by a constant rate."""
        return learning_rate(self.schedule, self.steps)

    @lr.setter
    def lr(self, lr: float) -> None:
        self.schedule = as_schedule(lr)

    @property
    def steps(self) -> int:
        """The number of completed steps."""
        return self.counter.value

    @steps.setter
    def steps(self, steps: int) -> None:
        self.counter.value = steps

    @property
    def first_skipped(self) -> int | None:
        """The first skipped step, from 1, or None: its gradient was not finite, so it was counted but not applied.

        Only steps since the parameters were last moved count; with a `Trainer`, those of its last epoch.
        """
        return None if self._step is None else int(to_host(self._step.progress.first_skipped)[0]) or None

    def attach(self, model: Layer) -> Self:
        """Attach the optimizer to the parameters of `model`, with new state; return the optimizer itself.

        Raises:
            ArgumentError: `groups` don't match the parameters' names or the schedule, your own schedule does not
                return a number >= 0, or your own rule has no `update_block` that takes its slots. Nothing changes then.
        """
        learning_rate(self._given, 0)
        self._check_update_block()
        Parts(self, model.store)
        if self._store is not None and self._store.optimizer is self:
            self._store.optimizer = None
        self._store, self._step = model.store, None
        self._store.optimizer = self
        self.steps = 0
        self._schedule = copy.deepcopy(self._given)
        device, params = self._store.device, self._store.params
        with device.activate():
            self._store.slots = {
                name: aligned(params.shape, params.dtype, device.xp, zero=True) for name in self.slot_names
            }
        return self

    def _check_update_block(self) -> None:
        """Raise `ArgumentError` if the rule has no `update_block`, or one that does not take its slots."""
        if self.has_own_step:
            return
        if type(self).update_block is Rule.update_block:
            raise ArgumentError(f"{type(self).__name__} does not implement `update_block`; define this method.")
        arguments = ("self", "numbers", "p", "g", "t", "u", *self.slot_names)
        signature = inspect.signature(type(self).update_block)
        try:
            signature.bind(*arguments)
        except TypeError:
            raise ArgumentError(
                f"{type(self).__name__}.update_block must take ({', '.join(arguments)}), because slot_names is "
                f"{self.slot_names!r}, got {signature}."
            ) from None

    def serves(self, model: Layer) -> bool:
        """Return whether the optimizer is attached to `model`."""
        return self._store is model.store and self._store.optimizer is self

    def step(self) -> None:
        """Update the parameters from the gradients.

        Raises:
            StateError: the optimizer is not attached, or its model has become part of another one.
            ArgumentError: as for `attach`.
        """
        self.prepare()()

    def prepare(self) -> ArrayStep | DeviceStep:
        """Return the step over the model's buffers; the same object until the buffers or a setting change."""
        store = self._store
        if store is None or store.optimizer is not self:
            raise StateError(
                f"{type(self).__name__} is not attached to a model, or its model has another optimizer now; call "
                "attach(model) first."
            )
        versions = self.version, store.version
        if self._step is None or self._step_versions != versions:  # attached, moved or changed since the last step
            before = self._step
            progress = before.progress if before is not None and before.params is store.params else None
            self._step = self._kind_of_step(store)(self, store, progress)
            self._step_versions = versions
            if type(self._step) is ArrayStep and type(before) is not ArrayStep:
                warn(
                    f"{type(self).__name__} has no `kernel`: on {store.device.name} its `update_block` runs as array "
                    "code, which is slower."
                )
        return self._step

    def _kind_of_step(self, store: FlatStore) -> type[ArrayStep | DeviceStep]:
        if store.device.xp is np:
            return HostStep
        return ArrayStep if self.kernel_of("kernel") is None else DeviceStep

    @property
    def has_own_step(self) -> bool:
        """Whether a derived class overrides `step`, so that an executor must call it."""
        return type(self).step is not Optimizer.step

    def record_nodes(self) -> bool:
        """Append the native nodes of a CPU step to the recording; return False if the rule has no C++ kernel."""
        kernel, step = self.kernel_of("cpu_kernel"), self.prepare()
        if kernel is None or self.has_own_step or not isinstance(step, HostStep):
            return False
        step.record_nodes(kernel)
        return True

    def _real(self, name: str, value: float, high: float = math.inf, **closed: Any) -> float:
        return real(f"{type(self).__name__}: {name}", value, 0, high, **closed)

    def _eps(self, eps: float) -> float:
        """Check `eps`; replace 0 by the smallest normal number, so that 0 / (0 + eps) is not NaN."""
        return self._real("eps", eps, closed="left") or float(np.finfo(np.float32).tiny)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values."""
        return {**arguments_of(self), "lr": self.schedule.config()}

    def state(self) -> dict[str, Any]:
        """Return the state that a resumed training needs in addition to the slots, as JSON values."""
        return {"steps": self.steps, "schedule": self.schedule.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Restore the state that `state` returned."""
        self.steps = whole("steps", state["steps"], 0)
        self.schedule.restore(state["schedule"])

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "counter": None, "steps": self.steps, "_store": None, "_step": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        steps = state.pop("steps")
        vars(self).update(state)
        self.counter = StepCounter()
        self.steps = steps

    def __repr__(self) -> str:
        return f"{type(self).__name__}(lr={self.lr:g})"

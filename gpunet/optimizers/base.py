"""What all optimizers share: the learning rate, the state, and one step over the flat buffers of a model."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np

from gpunet import native
from gpunet.arguments import real, whole
from gpunet.cuda import Kernel
from gpunet.device import Array, aligned, to_host
from gpunet.errors import ArgumentError, GpunetWarning, StateError
from gpunet.layers import Layer
from gpunet.layers.store import FlatStore
from gpunet.optimizers.groups import Groups, Parts, checked
from gpunet.optimizers.step import ArrayStep, DeviceStep, HostStep
from gpunet.registry import arguments_of
from gpunet.schedules import Schedule, as_schedule
from gpunet.tape import StepCounter
from gpunet.versions import Versioned


class Optimizer(Versioned):
    """What all update rules share: learning rate, clipping, state, and the step over the flat buffers.

    Change `schedule` and other settings as you like between steps.

    A copy or a pickle has the settings; it is attached to no model.

    A rule of your own has an `update_block`. On a GPU it runs as array code, with a warning, unless the rule also has
    a `kernel` and its `kernel_arguments`.

    Args:
        lr: the learning rate, >= 0, or a schedule of it (see `gpunet.schedules`).
        weight_decay: the factor of the decay, >= 0.
        clip_norm: scale the gradient down to this L2 norm, in place, where it is longer (over all parameters); None:
            don't.
        clip_value: clip each element of the gradient to ± this value, in place; None: don't.
        groups: an "lr" or a "weight_decay" of their own for some parameters, by name or pattern, as in
            `{"*.bias": {"weight_decay": 0}, "0.*": {"lr": 0.1}}`. Both are numbers. A name comes before patterns. A
            schedule multiplies the rates of groups by the same factor as its own `lr`.

    Attributes:
        counter: the number of steps done, on the host and for kernels.

    Raises:
        ArgumentError: a value out of its range.
    """

    slot_names: tuple[str, ...] = ()
    """The flat buffers of state that the rule keeps for the parameters."""

    kernel: ClassVar[Kernel | None] = None
    """The rule on a GPU, launched with a thread for every 16 bytes of the parameters, or fewer; None where there is
    `update_block` alone."""

    cpu_kernel: ClassVar[native.Kernel | None] = None
    """The rule in C++ on the CPU, with the arguments of `kernel`; None where there is `update_block` alone."""

    outside_the_step = frozenset(("steps", "lr", "schedule", "_given", "_schedule", "_step", "_step_versions"))

    def __new__(cls, *given: Any, **named: Any) -> Self:
        """Refuse parameters where PyTorch has them, before the learning rate."""
        if given and isinstance(given[0], Iterable | Layer) and not isinstance(given[0], str):
            raise ArgumentError(
                f"{cls.__name__} is made without parameters: a Trainer attaches it to its model, as in gn.Trainer("
                f"model, optimizer=gn.{cls.__name__}(lr=0.001)); by hand, gn.{cls.__name__}(lr=0.001).attach(model)."
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
        """The schedule of the learning rate, with what this training has observed; set another as you like."""
        return self._schedule

    @schedule.setter
    def schedule(self, schedule: Schedule) -> None:
        self._given = copy.deepcopy(schedule)  # what one training observed stays its own
        self._schedule = copy.deepcopy(schedule)

    @property
    def lr(self) -> float:
        """The learning rate of the next step; setting it makes it that of all steps to come."""
        return self.schedule(self.steps)

    @lr.setter
    def lr(self, lr: float) -> None:
        self.schedule = as_schedule(lr)

    @property
    def steps(self) -> int:
        """The number of steps done."""
        return self.counter.value

    @steps.setter
    def steps(self, steps: int) -> None:
        self.counter.value = steps

    @property
    def first_skipped(self) -> int | None:
        """The first step whose gradient was not finite, from 1 on, or None; such a step is counted and not applied.

        It is of the steps since the parameters came where they are, with a `Trainer` of its last epoch. On a GPU this
        waits for the GPU.
        """
        return None if self._step is None else int(to_host(self._step.progress.first_skipped)[0]) or None

    def attach(self, model: Layer) -> Self:
        """Take charge of the parameters of `model`, with fresh state; return the optimizer itself.

        Raises:
            ArgumentError: `groups` don't fit the names of the parameters or the schedule, or a rule of your own has no
                `update_block`; nothing changes then.
        """
        if type(self).update_block is Optimizer.update_block and not self.has_own_step:
            raise ArgumentError(f"{type(self).__name__} has no `update_block`; write its rule (see gn.optimizers).")
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

    def serves(self, model: Layer) -> bool:
        """Say whether the optimizer has the parameters of `model` in its charge."""
        return self._store is model.store and self._store.optimizer is self

    def step(self) -> None:
        """Update the parameters from the gradients.

        Raises:
            StateError: not attached, or the model was built into another one since.
            ArgumentError: as for `attach`.
        """
        self.prepare()()

    def prepare(self) -> ArrayStep | DeviceStep:
        """Return the step over the model's buffers: always the same, unless these or a setting changed since.

        Raises:
            StateError: as for `step`.
        """
        store = self._store
        if store is None or store.optimizer is not self:
            raise StateError(
                f"{type(self).__name__}: attach(model) first: it has no model, or its model has another optimizer now."
            )
        versions = self.version, store.version
        if self._step is None or self._step_versions != versions:  # attached, moved or changed since the last step
            before = self._step
            progress = before.progress if before is not None and before.params is store.params else None
            self._step = self._kind_of_step(store)(self, store, progress)
            self._step_versions = versions
            if type(self._step) is ArrayStep and type(before) is not ArrayStep:
                warnings.warn(
                    f"{type(self).__name__} has no `kernel`: on {store.device.name} its `update_block` runs as array "
                    "code, which is slower.",
                    GpunetWarning,
                    stacklevel=2,
                )
        return self._step

    def _kind_of_step(self, store: FlatStore) -> type[ArrayStep | DeviceStep]:
        if store.device.xp is np:
            return HostStep
        return ArrayStep if self._kernel_of_rule("kernel") is None else DeviceStep

    @property
    def has_own_step(self) -> bool:
        """Whether a derived class has a `step` of its own, which an executor has to call."""
        return type(self).step is not Optimizer.step

    def note_nodes(self) -> bool:
        """Note the native nodes of a step on the CPU where the rule has a kernel; return whether it has one."""
        kernel, step = self._kernel_of_rule("cpu_kernel"), self.prepare()
        if kernel is None or self.has_own_step or not isinstance(step, HostStep):
            return False
        step.note_nodes(kernel)
        return True

    def _kernel_of_rule(self, name: Literal["kernel", "cpu_kernel"]) -> Any:
        """Return the kernel of that name, None where a class derived from the one that has it changes the rule."""
        for own in map(vars, type(self).__mro__):
            if name in own:
                return own[name]
            if "update_block" in own or ("step_numbers" in own and "kernel_arguments" not in own):
                return None
        return None

    def step_numbers(self, lr: float, step: int) -> tuple[float, ...]:
        """Return what changes from step to step in the rule on the CPU; by default the learning rate alone.

        Args:
            lr: the learning rate.
            step: the number of the step, from 1 on.
        """
        return (lr,)

    def update_block(self, numbers: Sequence[Array], p: Array, g: Array, t: Array, u: Array, *slots: Array) -> None:
        """Update a block of the parameters, in NumPy calls that write to `out`.

        On the CPU they are recorded in the first step and replayed in the others. So what changes from step to step
        must be in `numbers`, and the code must not branch on array values.

        Args:
            numbers: `step_numbers`, as arrays of shape ().
            p: (n,) parameters, updated in place.
            g: (n,) gradients, which stay as they are.
            t: (n,) scratch.
            u: (n,) scratch.
            *slots: (n,) the state, in the order of `slot_names`, updated in place.
        """
        raise self._lacks("update_block")

    def most_squares(self, dtype: np.dtype[Any]) -> float:
        """Return the largest sum of the squares of a gradient with which a step is applied; by default any.

        A rule whose state holds squares says from where on they would overflow, and the parameters never move again.
        Gradients that are clipped by their norm never come near it.
        """
        return math.inf

    def kernel_arguments(self, p: Array, g: Array, *slots: Array) -> tuple[Any, ...]:
        """Return the arguments of `kernel` behind those that every rule of `optimizers.cu` begins with.

        Args:
            p: (size,) all parameters.
            g: (size,) their gradients.
            *slots: (size,) the state, in the order of `slot_names`.
        """
        raise self._lacks("kernel_arguments")

    def _decayed(self, p: Array, g: Array, t: Array) -> Array:
        """Return the gradient with the weight decay added: `g` itself, or written to `t`."""
        if not self.weight_decay:
            return g
        np.multiply(p, self.weight_decay, out=t)
        return np.add(t, g, out=t)

    def _real(self, name: str, value: float, high: float = math.inf, **closed: Any) -> float:
        return real(f"{type(self).__name__}: {name}", value, 0, high, **closed)

    def _eps(self, eps: float) -> float:
        """Return what is added to a denominator; 0 becomes the least number that keeps 0 / 0 from being NaN."""
        return self._real("eps", eps, closed="left") or float(np.finfo(np.float32).tiny)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON."""
        return {**arguments_of(self), "lr": self.schedule.config()}

    def state(self) -> dict[str, Any]:
        """Return what a resumed run needs in addition to the slots, as JSON."""
        return {"steps": self.steps, "schedule": self.schedule.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
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

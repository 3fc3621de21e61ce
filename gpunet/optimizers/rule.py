"""The update rule of an optimizer: what a derived class defines."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, ClassVar, Literal

import numpy as np

from gpunet import native
from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.errors import StateError
from gpunet.schedules import Schedule
from gpunet.tape import StepCounter
from gpunet.versions import Versioned


class Rule(Versioned):
    """An update rule, with the settings of the optimizer that a step reads."""

    slot_names: tuple[str, ...] = ()
    """Names of the flat state arrays that the rule needs, such as moments."""

    kernel: ClassVar[Kernel | None] = None
    """The rule as a CUDA kernel, launched with at most one thread per 16 bytes of parameters; None if there is only
    `update_block`."""

    cpu_kernel: ClassVar[native.Kernel | None] = None
    """The rule as a C++ kernel for the CPU, with the arguments of `kernel`; None if there is only `update_block`."""

    counter: StepCounter
    schedule: Schedule
    weight_decay: float
    clip_norm: float | None
    clip_value: float | None

    _guide = "gpunet/optimizers/README.md"

    def __init_subclass__(cls) -> None:
        """Check the signatures of a user's methods; `Optimizer.attach` checks the number of slots."""
        super().__init_subclass__()
        cls._check_method("step_numbers", "(self, lr, step)", None, None, None)
        cls._check_method("update_block", "(self, numbers, p, g, t, u, *slots)", *[None] * 6)

    def step_numbers(self, lr: float, step: int) -> tuple[float, ...]:
        """Return the numbers of `update_block` that change from step to step; `step` counts from 1."""
        return (lr,)

    def update_block(self, numbers: Sequence[Array], p: Array, g: Array, t: Array, u: Array, *slots: Array) -> None:
        """Update a block of the parameters in place, in NumPy calls that write to `out`.

        On the CPU the first step records the calls and the others replay them, so values that change from step to step
        must come from `numbers`, and the code must not branch on array values.

        Args:
            numbers: `step_numbers`, as arrays of shape ().
            p: parameters (n,), updated in place.
            g: gradients (n,), read-only.
            t, u: scratch memory (n,).
            *slots: state arrays (n,) of `slot_names`, updated in place.
        """
        raise self._not_implemented("update_block")

    def most_squares(self, dtype: np.dtype[Any]) -> float:
        """Return the maximum sum of squares of a gradient; a step beyond it is skipped.

        A rule whose state contains squares needs a limit: once they overflow, the parameters never change again.
        """
        return math.inf

    def kernel_arguments(self, p: Array, g: Array, *slots: Array) -> tuple[Any, ...]:
        """Return the arguments of `kernel` after the common ones of all rules in `optimizers.cu`."""
        raise self._not_implemented("kernel_arguments")

    def kernel_of(self, name: Literal["kernel", "cpu_kernel"]) -> Any:
        """Return the kernel of that name; None if a class derived from the kernel's class changes the rule."""
        for own in map(vars, type(self).__mro__):
            if name in own:
                return own[name]
            if "update_block" in own or ("step_numbers" in own and "kernel_arguments" not in own):
                return None
        return None

    def _check_velocity(self, momentum: float) -> None:
        """Refuse a momentum that was 0 in the constructor, so that there is no velocity."""
        if momentum and "velocity" not in self.slot_names:
            raise StateError(f"{type(self).__name__}: momentum was 0 at first; make a new optimizer with momentum.")

    def _decayed(self, p: Array, g: Array, t: Array) -> Array:
        """Return the gradient plus weight decay, written to `t`; `g` itself without weight decay."""
        if not self.weight_decay:
            return g
        np.multiply(p, self.weight_decay, out=t)
        return np.add(t, g, out=t)

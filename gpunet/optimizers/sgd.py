"""Stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet import native
from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.errors import ArgumentError
from gpunet.optimizers.base import Optimizer
from gpunet.optimizers.groups import Groups
from gpunet.schedules import Schedule


class SGD(Optimizer):
    """Stochastic gradient descent: v = momentum·v + g, p -= lr·v; with `nesterov`, p -= lr·(g + momentum·v).

    Args:
        momentum: in [0, 1).
        nesterov: requires momentum > 0.

    Example:
        >>> layer = gn.Linear(1, 1, bias=False)
        >>> layer.params["weight"], layer.grads["weight"] = [[1.0]], [[2.0]]
        >>> gn.SGD(lr=0.1).attach(layer).step()
        >>> layer.params["weight"].round(2)  # 1 - 0.1 · 2
        array([[0.8]], dtype=float32)
    """

    kernel = Kernel("optimizers.cu", "sgd")
    cpu_kernel = native.Kernel("optimizers.cpp", "sgd")

    def __init__(
        self,
        lr: float | Schedule = 1e-2,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
        *,
        clip_norm: float | None = None,
        clip_value: float | None = None,
        groups: Groups | None = None,
    ):
        super().__init__(lr, weight_decay=weight_decay, clip_norm=clip_norm, clip_value=clip_value, groups=groups)
        self.momentum = self._real("momentum", momentum, 1, closed="left")
        self.nesterov = nesterov
        if nesterov and not momentum:
            raise ArgumentError("SGD: nesterov requires momentum > 0.")
        self.slot_names = ("velocity",) if momentum else ()

    def update_block(self, numbers: Sequence[Array], p: Array, g: Array, t: Array, u: Array, *slots: Array) -> None:
        (lr,) = numbers
        g = self._decayed(p, g, t)
        if self.momentum:
            self._check_velocity(self.momentum)
            (velocity,) = slots
            np.multiply(velocity, self.momentum, out=velocity)
            np.add(velocity, g, out=velocity)
            if self.nesterov:
                np.multiply(velocity, self.momentum, out=u)
                g = np.add(u, g, out=u)
            else:
                g = velocity
        np.multiply(g, lr, out=t)
        np.subtract(p, t, out=p)

    def kernel_arguments(self, p: Array, g: Array, *slots: Array) -> tuple[Any, ...]:
        self._check_velocity(self.momentum)
        velocity = slots[0] if slots else None
        return p, g, velocity, p.size, *self.kernel_settings()

    def kernel_settings(self) -> tuple[Any, ...]:
        """Return the constants of the rule, in the order of the kernels' arguments."""
        return self.momentum, self.weight_decay, self.nesterov

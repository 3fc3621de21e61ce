"""Adam as in scikit-learn, which adds `epsilon` to the root of the uncorrected second moment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpunet.device import Array
from gpunet.optimizers import Adam
from gpunet.schedules import Schedule


@dataclass
class CorrectedRate(Schedule):
    """The learning rate times the bias correction of the second moment: lr·√(1 - β2^t) for step t, from 1."""

    lr: float
    beta_2: float

    def __call__(self, step: int) -> float:
        return self.lr * math.sqrt(1 - self.beta_2 ** (step + 1))


class UncorrectedAdam(Adam):
    """Adam in the form of Kingma and Ba 2015, end of section 2: p -= lr·√(1 - β2^t) / (1 - β1^t) · m / (√v + eps).

    `Adam` divides by √v̂ + eps instead; the difference matters for gradients as small as eps > 0.
    """

    def __init__(self, lr: float, betas: tuple[float, float], eps: float):
        super().__init__(CorrectedRate(lr, betas[1]), betas, eps)

    def step_numbers(self, lr: float, step: int) -> tuple[float, ...]:
        beta1, beta2 = self.betas
        a, r = lr * (1 - beta1) / (1 - beta1**step), math.sqrt(1 - beta2)
        return a / r, self.eps / r, 1.0

    def most_squares(self, dtype: np.dtype[Any]) -> float:
        """Return no limit, because scikit-learn also applies steps whose squares overflow."""
        return math.inf

    def kernel_arguments(self, p: Array, g: Array, *slots: Array) -> tuple[Any, ...]:
        *first, log_beta2, rest1, rest2, eps, weight_decay, decoupled = super().kernel_arguments(p, g, *slots)
        log_beta2 = -math.inf  # makes the kernel's 1 - β2^t equal 1
        return *first, log_beta2, rest1, rest2, eps, weight_decay, decoupled

"""Losses for regression and counts."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.arguments import real
from gpunet.device import Array
from gpunet.errors import DataError
from gpunet.losses.base import Loss
from gpunet.ops import absolute_error, huber, mean_squared_error, poisson_nll
from gpunet.tape import Tape


class MSELoss(Loss):
    """The mean squared error over all elements.

    Example:
        >>> float(gn.MSELoss().value(np.array([[3.0], [1.0]]), np.array([[1.0], [1.0]])))
        2.0
    """

    task = "regression"

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        return mean_squared_error(prediction, target, weight=weight, tape=tape)


class HuberLoss(Loss):
    """The mean Huber loss over all elements: squared error up to `delta` > 0, linear beyond.

    Example:
        >>> float(gn.HuberLoss(delta=1.0).value(np.array([[4.0]]), np.array([[1.0]])))  # 1 · (3 - 1/2)
        2.5
    """

    task = "regression"

    def __init__(self, delta: float = 1.0):
        self.delta = real("HuberLoss: delta", delta, 0)

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        return huber(prediction, target, self.delta, weight=weight, tape=tape)


class L1Loss(Loss):
    """The mean absolute error over all elements; the median of the targets minimises it.

    Example:
        >>> float(gn.L1Loss().value(np.array([[3.0], [1.0]]), np.array([[1.0], [1.0]])))
        1.0
    """

    task = "regression"

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        return absolute_error(prediction, target, weight=weight, tape=tape)


class QuantileLoss(Loss):
    """The mean pinball loss over all elements; the `quantile` of the targets, in (0, 1), minimises it.

    Example:
        >>> low, high = np.array([[1.0]]), np.array([[5.0]])
        >>> loss = gn.QuantileLoss(0.75)
        >>> float(loss.value(low, high)), float(loss.value(high, low))  # a low prediction costs three times as much
        (3.0, 1.0)
    """

    task = "regression"

    def __init__(self, quantile: float = 0.5):
        self.quantile = real("QuantileLoss: quantile", quantile, 0, 1)

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        q = self.quantile
        return absolute_error(prediction, target, above=1 - q, below=q, weight=weight, tape=tape)


class PoissonNLLLoss(Loss):
    """The mean Poisson negative log-likelihood over all elements, without the term log(t!).

    Targets are counts or rates >= 0, which cannot be standardised.

    Args:
        log_input: True if the model outputs the logarithm of the rate; `predict` then returns the rate. False if it
            outputs the rate; its last activation must then be positive, such as `Softplus`.
        eps: added to the rate before the logarithm, > 0; unused with `log_input`.

    Example:
        >>> float(gn.PoissonNLLLoss().value(np.array([[0.0]]), np.array([[3.0]])))  # exp(0) - 3 · 0
        1.0
    """

    scalable = False

    def __init__(self, log_input: bool = True, eps: float = 1e-8):
        self.log_input = bool(log_input)
        self.eps = real("PoissonNLLLoss: eps", eps, 0, closed="left" if log_input else "neither")
        self.task = "counts" if log_input else "regression"

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        return poisson_nll(prediction, target, log_input=self.log_input, eps=self.eps, weight=weight, tape=tape)

    def check_target(self, target: Any, output_shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        y = super().check_target(target, output_shape, dtype)
        if (y < 0).any():
            raise DataError("y: PoissonNLLLoss needs targets >= 0.")
        return y

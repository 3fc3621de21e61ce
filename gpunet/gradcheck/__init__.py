"""Check the gradients of layers, losses and activations, including your own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from gpunet.errors import ArgumentError
from gpunet.gradcheck.activation import check_activation
from gpunet.gradcheck.differences import random_batch
from gpunet.gradcheck.layer import LayerCheck
from gpunet.gradcheck.loss import LossCheck
from gpunet.gradcheck.report import GradientReport
from gpunet.layers import Layer
from gpunet.losses import Loss
from gpunet.ops.activations import ActivationFunction
from gpunet.versions import parts

__all__ = ["GradientReport", "check_gradients"]


def check_gradients(
    subject: Layer | Loss | ActivationFunction,
    x: tuple[int, ...] | ArrayLike | None = None,
    target: ArrayLike | None = None,
    *,
    seed: int = 0,
) -> GradientReport:
    """Check the gradients of a layer, model, loss or activation in float64.

    - A layer or model is checked on its device: the gradients of the input and of all parameters, in a copy with
      slightly changed parameters, so that initial ones and zeros cannot hide errors.
    - A loss is checked on the current device, also with row weights.
    - CUDA expressions of activations, also inside a layer, are compared with the NumPy code on the current GPU, or on
      the simulated GPU if the current device is the CPU.

    Args:
        x: a batch for a layer (required), or predictions for a loss; or the shape of a random array.
        target: targets of a loss; by default random ones for its task.

    Raises:
        GradientError: a gradient is wrong; the message names the parameter and the element.
        CompileError: a CUDA expression does not compile.

    Example:
        >>> gn.check_gradients(gn.Linear(3, 2), x=(4, 3))
        Linear(3, 2): correct on cpu: weight, bias, the input
    """
    rng = np.random.default_rng(seed)
    if isinstance(subject, Loss):
        return LossCheck(subject, x, target, rng)()
    if isinstance(subject, ActivationFunction):
        return check_activation(subject, 3 * rng.standard_normal(100) if x is None else random_batch(x, rng))
    if not isinstance(subject, Layer):
        raise ArgumentError(f"check_gradients takes a layer, model, loss or activation, got {subject!r}.")
    if x is None:
        raise ArgumentError(f"check_gradients: {subject!r} needs a batch `x`, or the shape of one, such as (4, 5).")
    inside = [part for part in parts(subject) if isinstance(part, ActivationFunction) and not part.is_own_code]
    activations = [check_gradients(function, seed=seed) for function in inside]
    report = LayerCheck(subject, x, rng)()
    unchecked = (what for activation in activations for what in activation.unchecked)
    checked = (activation.subject for activation in activations)
    return replace(report, checked=(*report.checked, *checked), unchecked=tuple(unchecked))

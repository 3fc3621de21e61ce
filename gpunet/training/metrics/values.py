"""Regression metrics of finite values (n,) or (n, outputs); (n,) and (n, 1) are equivalent."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from gpunet.training.metrics.checks import paired_outputs
from gpunet.training.metrics.declared import direction


@direction(greater_is_better=False)
def mean_absolute_error(target: ArrayLike, prediction: ArrayLike) -> float:
    """Return the mean of `|target - prediction|` over samples and outputs.

    Example:
        >>> gn.metrics.mean_absolute_error([1.0, 2.0], [1.0, 4.0])
        1.0
    """
    t, p = paired_outputs(target, prediction)
    return float(np.abs(t - p).mean())


@direction(greater_is_better=False)
def root_mean_squared_error(target: ArrayLike, prediction: ArrayLike) -> float:
    """Return the root of the mean of `(target - prediction)²` over samples, averaged over the outputs.

    Example:
        >>> gn.metrics.root_mean_squared_error([0.0, 0.0], [1.0, 7.0])  # √25
        5.0
    """
    t, p = paired_outputs(target, prediction)
    return float(np.sqrt(((t - p) ** 2).mean(axis=0)).mean())


@direction(greater_is_better=True)
def r2_score(target: ArrayLike, prediction: ArrayLike) -> float:
    """Return the coefficient of determination R², `1 - ss_residual / ss_total`, averaged over the outputs.

    For an output with a constant target it is 1 if the prediction is perfect, else 0. For a single sample it is NaN.

    Example:
        >>> gn.metrics.r2_score([1.0, 3.0], [1.0, 3.0]), gn.metrics.r2_score([1.0, 3.0], [2.0, 2.0])
        (1.0, 0.0)
    """
    t, p = paired_outputs(target, prediction)
    if len(t) < 2:
        return math.nan
    residual = ((t - p) ** 2).sum(axis=0)
    total = ((t - t.mean(axis=0)) ** 2).sum(axis=0)
    constant = total == 0
    scores = np.where(constant, residual == 0, 1 - residual / np.where(constant, 1, total))
    return float(scores.mean())

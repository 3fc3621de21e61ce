"""Declare which values of a metric are better, and which predictions it takes."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeVar, get_args

import numpy as np

from gpunet.errors import ArgumentError

Metric = Callable[[np.ndarray, np.ndarray], float]
"""A function (target, prediction) -> float over host arrays."""

Takes = Literal["outputs", "labels", "probabilities"]

M = TypeVar("M", bound=Callable[..., Any])

SKLEARN: dict[str, Takes] = {
    **dict.fromkeys(("y_pred", "labels_pred", "y2"), "labels"),
    **dict.fromkeys(("y_score", "y_proba", "y_prob"), "probabilities"),
}
"""What a function of sklearn.metrics takes, by the name of its second parameter."""

OF_PROBABILITIES = ("log_loss", "d2_log_loss_score")
"""Functions of sklearn.metrics whose `y_pred` is a probability (before scikit-learn 1.9)."""


def direction(*, greater_is_better: bool, takes: Takes = "outputs") -> Callable[[M], M]:
    """Return a decorator that sets a metric's attributes `greater_is_better` and `takes`.

    Example:
        >>> @gn.metrics.direction(greater_is_better=False, takes="labels")
        ... def error_rate(target, prediction):
        ...     return float((target != prediction).mean())
        >>> gn.metrics.is_greater_better(error_rate)
        False
    """

    def declare(metric: M) -> M:
        vars(metric).update(greater_is_better=greater_is_better, takes=takes)
        return metric

    return declare


def is_greater_better(metric: Metric) -> bool | None:
    """Return whether larger values of a metric are better; None if unknown.

    For functions of scikit-learn it follows from the name: larger is better for a "score", smaller for an "error", a
    "loss" or a "deviance".

    Example:
        >>> gn.metrics.is_greater_better(gn.metrics.accuracy), gn.metrics.is_greater_better(gn.metrics.log_loss)
        (True, False)
    """
    declared: bool | None = _attribute(metric, "greater_is_better")
    if declared is None and (name := _sklearn_name(metric)):
        return {"score": True, "error": False, "loss": False, "deviance": False}.get(name.rpartition("_")[2])
    return declared


def what_it_takes(metric: Metric) -> Takes:
    """Return which predictions of a classifier a metric takes.

    Raises:
        ArgumentError: the metric declares another value, or is a scikit-learn function with another parameter.

    Example:
        >>> gn.metrics.what_it_takes(gn.metrics.accuracy), gn.metrics.what_it_takes(gn.metrics.roc_auc)
        ('outputs', 'probabilities')
    """
    declared: Takes | None = _attribute(metric, "takes")
    name = _sklearn_name(metric)
    if declared is None and name:
        second = list(inspect.signature(_function(metric)).parameters)[1]
        declared = "probabilities" if name in OF_PROBABILITIES else SKLEARN.get(second)
        if declared is None:
            raise ArgumentError(
                f"Trainer: sklearn.metrics.{name} takes {second!r}, which is neither labels nor probabilities; give a "
                "function (target, logits) that calls it."
            )
    if declared not in (None, *get_args(Takes)):
        raise ArgumentError(
            f"Trainer: a metric's `takes` must be 'outputs', 'labels' or 'probabilities', got {declared!r}."
        )
    return declared or "outputs"


def is_from_sklearn(metric: Metric) -> bool:
    """Return whether a metric is a function of sklearn.metrics, or a `functools.partial` of one."""
    return str(getattr(_function(metric), "__module__", "")).startswith("sklearn.metrics.")


def _function(metric: Any) -> Any:
    """Return the function inside a `functools.partial`."""
    return _function(metric.func) if isinstance(metric, partial) else metric


def _attribute(metric: Any, name: str) -> Any:
    """Return an attribute of a metric or of the function inside its `functools.partial`; None if neither has it."""
    return getattr(metric, name, getattr(_function(metric), name, None))


def _sklearn_name(metric: Metric) -> str | None:
    """Return the name of a function of sklearn.metrics; None for any other."""
    return getattr(_function(metric), "__name__", None) if is_from_sklearn(metric) else None

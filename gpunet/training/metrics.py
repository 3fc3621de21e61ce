"""Metrics over host arrays, as scikit-learn defines them; the target comes first.

Where a metric takes classes, both `target` and `prediction` may be class numbers (n,) or one score per class (n, k):
logits, probabilities, soft labels. Of scores the largest counts; among equal ones, the lowest class number.

A metric says which way it is better by its attribute `greater_is_better`; callbacks that monitor it go by that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from gpunet.arguments import whole
from gpunet.errors import DataError, DTypeError, ShapeError

Metric = Callable[[np.ndarray, np.ndarray], float]
"""A function (target, prediction) -> float over host arrays."""

M = TypeVar("M", bound=Callable[..., float])


def direction(*, greater_is_better: bool) -> Callable[[M], M]:
    """Return a decorator that declares which way a metric is better, as its attribute `greater_is_better`."""

    def declare(metric: M) -> M:
        metric.greater_is_better = greater_is_better  # type: ignore[attr-defined]
        return metric

    return declare


def is_greater_better(metric: Metric) -> bool | None:
    """Return whether larger values of a metric are better, None where it does not say so."""
    declared: bool | None = getattr(metric, "greater_is_better", None)
    return declared


def _real(name: str, values: np.ndarray) -> np.ndarray:
    """Return `values` after checking that they are real numbers."""
    if values.dtype.kind not in "buif":
        raise DTypeError(f"{name} has dtype {values.dtype}; give real numbers.")
    return values


def _scores(name: str, values: np.ndarray) -> np.ndarray:
    """Return `values` after checking that they are scores (n, k)."""
    if values.ndim != 2 or values.shape[1] < 2:
        raise ShapeError(f"{name} has shape {values.shape}; give class numbers (n,) or scores (n, k) with k >= 2.")
    unranked = np.isnan(_real(name, values)).any(axis=1)
    if unranked.any():
        raise DataError(f"{name} has NaN in row {unranked.argmax()}; give scores that can be compared.")
    return values


def _classes(name: str, values: np.ndarray) -> np.ndarray:
    """Return class numbers (n,) as int64; scores (n, k) by their largest."""
    if values.ndim != 1:
        values = _scores(name, values).argmax(axis=1)
    if values.dtype.kind not in "bui":
        raise DTypeError(f"{name} has dtype {values.dtype}; give class numbers as integers.")
    classes = values.astype(np.int64)
    if classes.min() < 0:
        raise DataError(f"{name} has the class number {classes.min()}; they count from 0.")
    return classes


def _pair(target: ArrayLike, prediction: ArrayLike, name: str = "prediction") -> tuple[np.ndarray, np.ndarray]:
    """Return both as arrays of the same length, which is not 0."""
    t, p = np.asarray(target), np.asarray(prediction)
    if t.ndim == 0 or p.ndim == 0 or len(t) != len(p):
        raise ShapeError(f"target has shape {t.shape} and {name} {p.shape}; give both one row per sample.")
    if len(t) == 0:
        raise DataError(f"target and {name} are empty; give at least one sample.")
    return t, p


@direction(greater_is_better=True)
def accuracy(target: ArrayLike, prediction: ArrayLike) -> float:
    """Return the part of the samples whose class is predicted.

    Args:
        target: class numbers (n,) or scores (n, k).
        prediction: the same.

    Raises:
        ShapeError: lengths that differ, or an array of neither shape.
        DTypeError: class numbers that are no integers.
        DataError: no samples, a negative class number, a NaN score.
    """
    t, p = _pair(target, prediction)
    return float((_classes("target", t) == _classes("prediction", p)).mean())


@direction(greater_is_better=True)
def top_k_accuracy(target: ArrayLike, scores: ArrayLike, k: int = 5) -> float:
    """Return the part of the samples whose class is among the `k` best scored; `k=1` gives `accuracy`.

    Among equal scores the lower class number is better.

    Args:
        target: class numbers (n,) or soft labels (n, classes).
        scores: scores (n, classes).
        k: how many classes count; from the number of classes on, all do.

    Raises:
        ArgumentError: `k` is below 1.
        ShapeError, DTypeError, DataError: as for `accuracy`, or a class number without a score.
    """
    k = whole("top_k_accuracy: k", k)
    t, s = _pair(target, scores, "scores")
    classes, s = _classes("target", t)[:, None], _scores("scores", s)
    if classes.max() >= s.shape[1]:
        raise DataError(f"target has the class number {classes.max()}, but scores has {s.shape[1]} classes.")
    own = np.take_along_axis(s, classes, axis=1)
    ahead = (s > own) | ((s == own) & (np.arange(s.shape[1]) < classes))
    return float((ahead.sum(axis=1) < k).mean())


def confusion_matrix(target: ArrayLike, prediction: ArrayLike, n_classes: int | None = None) -> np.ndarray:
    """Count the samples of class `i` that are predicted as class `j`.

    Args:
        target: class numbers (n,) or scores (n, k).
        prediction: the same.
        n_classes: the number of classes; by default one more than the largest class number in either.

    Returns:
        int64 (n_classes, n_classes): rows are the true class, columns the predicted one.

    Raises:
        ShapeError, DTypeError, DataError: as for `accuracy`, or a class number of `n_classes` or more.
    """
    t, p = _pair(target, prediction)
    t, p = _classes("target", t), _classes("prediction", p)
    largest = int(max(t.max(), p.max()))
    n = largest + 1 if n_classes is None else n_classes
    if largest >= n:
        raise DataError(f"class number {largest} with n_classes={n}; class numbers go from 0 to n_classes - 1.")
    return np.bincount(t * n + p, minlength=n * n).reshape(n, n)


@direction(greater_is_better=True)
def macro_f1(target: ArrayLike, prediction: ArrayLike) -> float:
    """Return the mean of the F1 scores of the classes that occur in `target` or `prediction`.

    The F1 score of a class is `2 tp / (2 tp + fp + fn)`, 0 for a class that is never predicted right.

    Args:
        target: class numbers (n,) or scores (n, k).
        prediction: the same.

    Raises:
        ShapeError, DTypeError, DataError: as for `accuracy`.
    """
    counts = confusion_matrix(target, prediction)
    occurrences = counts.sum(axis=0) + counts.sum(axis=1)
    present = occurrences > 0
    return float((2 * counts.diagonal()[present] / occurrences[present]).mean())


def _values(name: str, values: np.ndarray) -> np.ndarray:
    """Return finite values (n,) or (n, outputs) as float64 (n, outputs)."""
    if not np.isfinite(_real(name, values)).all():
        raise DataError(f"{name} has NaN or infinite values; give finite numbers.")
    return values.reshape(len(values), -1).astype(np.float64)


def _outputs(target: ArrayLike, prediction: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return both as float64 (n, outputs)."""
    t, p = _pair(target, prediction)
    t, p = _values("target", t), _values("prediction", p)
    if t.shape != p.shape:
        raise ShapeError(f"target has {t.shape[1]} outputs per sample and prediction {p.shape[1]}; give as many.")
    return t, p


@direction(greater_is_better=False)
def mean_absolute_error(target: ArrayLike, prediction: ArrayLike) -> float:
    """Return the mean of `|target - prediction|` over samples and outputs.

    Args:
        target: values (n,) or (n, outputs); (n,) and (n, 1) are the same.
        prediction: the same.

    Raises:
        ShapeError: lengths or numbers of outputs that differ.
        DTypeError: not real numbers.
        DataError: no samples, NaN or infinite values.
    """
    t, p = _outputs(target, prediction)
    return float(np.abs(t - p).mean())


@direction(greater_is_better=True)
def r2_score(target: ArrayLike, prediction: ArrayLike) -> float:
    """Return the coefficient of determination R², `1 - ss_residual / ss_total`, averaged over the outputs.

    An output whose target is constant gives 1 where the prediction is perfect, else 0. A single sample gives NaN.

    Args:
        target: values (n,) or (n, outputs); (n,) and (n, 1) are the same.
        prediction: the same.

    Raises:
        ShapeError, DTypeError, DataError: as for `mean_absolute_error`.
    """
    t, p = _outputs(target, prediction)
    if len(t) < 2:
        return math.nan
    residual = ((t - p) ** 2).sum(axis=0)
    total = ((t - t.mean(axis=0)) ** 2).sum(axis=0)
    constant = total == 0
    scores = np.where(constant, residual == 0, 1 - residual / np.where(constant, 1, total))
    return float(scores.mean())

"""Metrics of probabilities and scores: ROC AUC, average precision and log loss."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from gpunet.errors import DataError
from gpunet.training.metrics.checks import class_numbers, class_scores, paired, real_numbers
from gpunet.training.metrics.declared import direction


@direction(greater_is_better=True, takes="probabilities")
def roc_auc(target: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve: the probability that a sample of a class scores higher than another sample.

    With more than two classes it is the mean over the classes that occur, one against the rest. 0.5 is chance, 1 a
    perfect ranking; NaN if only one class occurs.

    Args:
        target: class numbers (n,) or soft labels (n, classes).
        scores: of class 1 (n,), or of each class (n, classes); with two classes only those of class 1 are used.

    Example:
        >>> gn.metrics.roc_auc([0, 1, 0, 1], [0.1, 0.2, 0.3, 0.4])  # 3 of 4 pairs are in order
        0.75
    """
    return _mean_over_classes(_area, target, scores)


@direction(greater_is_better=True, takes="probabilities")
def average_precision(target: ArrayLike, scores: ArrayLike) -> float:
    """Return the mean of the precisions at each threshold, weighted by the increase in recall.

    It is 0 if there are two classes and class 1 does not occur. Arguments, errors and the average over more than two
    classes are as for `roc_auc`.

    Example:
        >>> round(gn.metrics.average_precision([1, 0, 1], [0.9, 0.8, 0.7]), 2)  # (1 + 2/3) / 2
        0.83
    """
    return _mean_over_classes(_precision, target, scores)


@direction(greater_is_better=False, takes="probabilities")
def log_loss(target: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the mean of `-log(probability of the true class)`.

    Probabilities are clipped to [eps, 1 - eps], where eps is the machine epsilon of their dtype. A value that is not
    between 0 and 1, or a row that does not sum to 1, raises `DataError`.

    Args:
        target: class numbers (n,) or soft labels (n, classes).
        probabilities: of class 1 (n,), or of each class (n, classes).

    Example:
        >>> round(gn.metrics.log_loss([0, 1], [0.5, 0.5]), 2)  # log 2
        0.69
    """
    classes, p = _classes_and_scores(target, probabilities)
    eps = float(np.finfo(p.dtype if p.dtype.kind == "f" else np.float64).eps)
    p = p.astype(np.float64)
    if p.ndim == 1:
        p = np.stack([1 - p, p], axis=1)
    if p.min() < 0 or p.max() > 1 or np.abs(p.sum(axis=1) - 1).max() > math.sqrt(eps):
        raise DataError(
            "probabilities must lie between 0 and 1, and each row must sum to 1; use the result of predict_proba."
        )
    own = np.take_along_axis(p.clip(eps, 1 - eps), classes[:, None], axis=1)
    return float(-np.log(own).mean())


def _classes_and_scores(target: ArrayLike, scores: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return class numbers (n,), and scores of class 1 (n,) or of each class (n, classes)."""
    t, s = paired(target, scores, "scores")
    classes = class_numbers("target", t)
    s = s[:, 0] if s.ndim == 2 and s.shape[1] == 1 else s
    if s.ndim == 1:
        if np.isnan(real_numbers("scores", s)).any():
            raise DataError("scores has NaN; give comparable scores.")
    else:
        s = class_scores("scores", s)
    known = 2 if s.ndim == 1 else s.shape[1]
    if classes.max() >= known:
        raise DataError(f"target has the class number {classes.max()}, but scores has {known} classes.")
    return classes, s


def _mean_over_classes(
    of_one: Callable[[np.ndarray, np.ndarray], float], target: ArrayLike, scores: ArrayLike
) -> float:
    """Return `of_one` for class 1 if there are two classes, else its mean over the classes that occur."""
    classes, s = _classes_and_scores(target, scores)
    if s.ndim == 1 or s.shape[1] == 2:
        return of_one(*_ranked(classes == 1, s if s.ndim == 1 else s[:, 1]))
    return float(np.mean([of_one(*_ranked(classes == k, s[:, k])) for k in np.unique(classes)]))


def _ranked(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the samples of a class, and the others, at each distinct score, in descending order of scores."""
    _, rank = np.unique(score, return_inverse=True)
    return np.bincount(rank, positive)[::-1], np.bincount(rank, ~positive)[::-1]


def _area(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the area under the ROC curve from the counts of `_ranked`."""
    pairs = positive.sum() * negative.sum()
    below = negative.sum() - negative.cumsum() + negative / 2  # equal scores count half
    return float(positive @ below / pairs) if pairs else math.nan


def _precision(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the average precision from the counts of `_ranked`."""
    found = positive.cumsum()
    return float(positive @ (found / (found + negative.cumsum())) / max(found[-1], 1))

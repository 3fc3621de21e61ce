"""Metrics of probabilities and other scores: how well they rank the samples of a class, and how likely they are."""

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
    """Return the area under the ROC curve: how often a sample of a class has a higher score than one of another.

    Of more than two classes it is the mean over those that occur, each against the rest.

    Args:
        target: class numbers (n,) or soft labels (n, classes).
        scores: of class 1 (n,), or of each class (n, classes), of two classes those of class 1 count.

    Returns:
        0.5 for chance, 1 for a perfect order; NaN where only one class occurs.

    Raises:
        ShapeError, DTypeError, DataError: as for `accuracy`, or a class number without a score.
    """
    return _mean_over_classes(_area, target, scores)


@direction(greater_is_better=True, takes="probabilities")
def average_precision(target: ArrayLike, scores: ArrayLike) -> float:
    """Return the mean of the precisions at each threshold, weighted by the increase in recall.

    Of more than two classes it is the mean over those that occur, each against the rest. Arguments and errors as for
    `roc_auc`; 0 where class 1 of two does not occur.
    """
    return _mean_over_classes(_precision, target, scores)


@direction(greater_is_better=False, takes="probabilities")
def log_loss(target: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the mean of `-log(probability of the true class)`.

    Probabilities count as no less than the smallest step of their dtype, `eps`, and no more than `1 - eps`.

    Args:
        target: class numbers (n,) or soft labels (n, classes).
        probabilities: of class 1 (n,), or of each class (n, classes).

    Raises:
        ShapeError, DTypeError, DataError: as for `accuracy`; a class number without a probability, what is not between
            0 and 1, or rows whose sum is not 1.
    """
    classes, p = _classes_and_scores(target, probabilities)
    eps = float(np.finfo(p.dtype if p.dtype.kind == "f" else np.float64).eps)
    p = p.astype(np.float64)
    if p.ndim == 1:
        p = np.stack([1 - p, p], axis=1)
    if p.min() < 0 or p.max() > 1 or np.abs(p.sum(axis=1) - 1).max() > math.sqrt(eps):
        raise DataError(
            "probabilities must lie between 0 and 1, and each row must sum to 1; take those of predict_proba."
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
            raise DataError("scores has NaN; give scores that can be compared.")
    else:
        s = class_scores("scores", s)
    known = 2 if s.ndim == 1 else s.shape[1]
    if classes.max() >= known:
        raise DataError(f"target has the class number {classes.max()}, but scores has {known} classes.")
    return classes, s


def _mean_over_classes(
    of_one: Callable[[np.ndarray, np.ndarray], float], target: ArrayLike, scores: ArrayLike
) -> float:
    """Return what `of_one` gives for class 1 of two, or its mean over the classes that occur."""
    classes, s = _classes_and_scores(target, scores)
    if s.ndim == 1 or s.shape[1] == 2:
        return of_one(*_ranked(classes == 1, s if s.ndim == 1 else s[:, 1]))
    return float(np.mean([of_one(*_ranked(classes == k, s[:, k])) for k in np.unique(classes)]))


def _ranked(positive: np.ndarray, score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return how many samples of a class and how many others have each score, from the highest score on."""
    _, rank = np.unique(score, return_inverse=True)
    return np.bincount(rank, positive)[::-1], np.bincount(rank, ~positive)[::-1]


def _area(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the area under the ROC curve from how many samples of the class and others have each score."""
    pairs = positive.sum() * negative.sum()
    below = negative.sum() - negative.cumsum() + negative / 2  # equal scores count half
    return float(positive @ below / pairs) if pairs else math.nan


def _precision(positive: np.ndarray, negative: np.ndarray) -> float:
    """Return the average precision from how many samples of the class and others have each score."""
    found = positive.cumsum()
    return float(positive @ (found / (found + negative.cumsum())) / max(found[-1], 1))

"""Classification metrics: accuracy, precision, recall, F1 and the confusion matrix."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from gpunet.arguments import whole
from gpunet.errors import ArgumentError, DataError
from gpunet.training.metrics.checks import class_numbers, class_scores, paired
from gpunet.training.metrics.declared import direction

Average = Literal["macro", "micro", "weighted"]
"""How to average the values of all classes."""


@direction(greater_is_better=True)
def accuracy(target: ArrayLike, prediction: ArrayLike) -> float:
    """Return the fraction of samples whose class is predicted correctly.

    Example:
        >>> gn.metrics.accuracy([0, 1, 1, 1], [0, 1, 1, 0])
        0.75
    """
    t, p = paired(target, prediction)
    correct = class_numbers("target", t) == class_numbers("prediction", p)
    return float(np.count_nonzero(correct) / len(correct))


@direction(greater_is_better=True)
def top_k_accuracy(target: ArrayLike, scores: ArrayLike, k: int = 5) -> float:
    """Return the fraction of samples whose class has one of the `k` highest scores; 1 for `k >= classes`.

    Among equal scores the lower class number ranks higher.

    Args:
        target: class numbers (n,) or soft labels (n, classes).
        scores: (n, classes).

    Raises:
        ArgumentError: `k` is below 1.

    Example:
        >>> scores = [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2]]
        >>> gn.metrics.top_k_accuracy([1, 2], scores, k=2)
        0.5
    """
    k = whole("top_k_accuracy: k", k)
    t, s = paired(target, scores, "scores")
    classes, s = class_numbers("target", t)[:, None], class_scores("scores", s)
    if classes.max() >= s.shape[1]:
        raise DataError(f"target has the class number {classes.max()}, but scores has {s.shape[1]} classes.")
    own = np.take_along_axis(s, classes, axis=1)
    ahead = (s > own) | ((s == own) & (np.arange(s.shape[1]) < classes))
    return float((ahead.sum(axis=1) < k).mean())


def confusion_matrix(target: ArrayLike, prediction: ArrayLike, n_classes: int | None = None) -> np.ndarray:
    """Count the samples of class `i` that are predicted as class `j`.

    Args:
        n_classes: by default the largest class number plus one.

    Returns:
        int64 (n_classes, n_classes): rows are the true class, columns the predicted one.

    Raises:
        DataError: a class number is not below `n_classes`.

    Example:
        >>> gn.metrics.confusion_matrix([0, 1, 1, 1], [0, 1, 1, 0])
        array([[1, 0],
               [1, 2]])
    """
    t, p = paired(target, prediction)
    t, p = class_numbers("target", t), class_numbers("prediction", p)
    largest = int(max(t.max(), p.max()))
    n = largest + 1 if n_classes is None else n_classes
    if largest >= n:
        raise DataError(f"class number {largest} with n_classes={n}; class numbers go from 0 to n_classes - 1.")
    return np.bincount(t * n + p, minlength=n * n).reshape(n, n)


@direction(greater_is_better=True)
def precision(target: ArrayLike, prediction: ArrayLike, average: Average | None = "macro") -> Any:
    """Return true positives / predicted positives; 0 for a class that is never predicted.

    Args:
        average: "macro" for the mean over the classes in `target` or `prediction`; "weighted" for the mean weighted by
            the samples of each class; "micro" for the value of the summed counts; None for each class, (classes,).

    Raises:
        ArgumentError: another `average`.

    Example:
        >>> gn.metrics.precision([0, 1, 1, 1], [0, 1, 1, 0], average=None)
        array([0.5, 1. ])
    """
    counts = confusion_matrix(target, prediction)
    return _averaged(counts.diagonal(), counts.sum(axis=0), counts, average)


@direction(greater_is_better=True)
def recall(target: ArrayLike, prediction: ArrayLike, average: Average | None = "macro") -> Any:
    """Return true positives / samples of the class; 0 for a class that does not occur.

    Arguments and errors as for `precision`.

    Example:
        >>> gn.metrics.recall([0, 1, 1, 1], [0, 1, 1, 0], average=None).round(2)
        array([1.  , 0.67])
    """
    counts = confusion_matrix(target, prediction)
    return _averaged(counts.diagonal(), counts.sum(axis=1), counts, average)


@direction(greater_is_better=True)
def f1(target: ArrayLike, prediction: ArrayLike, average: Average | None = "macro") -> Any:
    """Return the harmonic mean of precision and recall, `2 tp / (2 tp + fp + fn)`.

    Arguments and errors as for `precision`.

    Example:
        >>> gn.metrics.f1([0, 1, 1, 1], [0, 1, 1, 0], average=None).round(2)
        array([0.67, 0.8 ])
    """
    counts = confusion_matrix(target, prediction)
    return _averaged(2 * counts.diagonal(), counts.sum(axis=0) + counts.sum(axis=1), counts, average)


macro_f1 = f1  # the older name


def _averaged(part: np.ndarray, whole: np.ndarray, counts: np.ndarray, average: Average | None) -> float | np.ndarray:
    """Return `part / whole` of each class, (classes,), or its average."""
    if average == "micro":
        return float(part.sum() / whole.sum())
    each: np.ndarray = np.divide(part, whole, out=np.zeros(len(whole)), where=whole > 0)
    if average is None:
        return each
    true = counts.sum(axis=1)
    if average == "weighted":
        return float(np.average(each, weights=true))
    if average == "macro":
        return float(each[true + counts.sum(axis=0) > 0].mean())
    raise ArgumentError(f"average must be 'macro', 'micro', 'weighted' or None, got {average!r}.")

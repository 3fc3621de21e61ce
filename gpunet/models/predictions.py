"""Predictions and probabilities from a model's raw outputs."""

from __future__ import annotations

import numpy as np

from gpunet.data import Standardizer
from gpunet.errors import ShapeError, StateError, warn
from gpunet.losses import Task
from gpunet.ops import cosine_similarity, softmax
from gpunet.ops.activations import activation_function


def decoded(
    y: np.ndarray, task: Task | None, classes: tuple[str, ...] | None, target_scaler: Standardizer | None
) -> np.ndarray:
    """Return the predictions of a task for raw outputs (rows, ...); see `Model.predict`."""
    if task == "classification":
        return _named(y.argmax(axis=-1), classes)
    if task == "similarity" and (y.ndim != 3 or y.shape[1] != 2):
        raise ShapeError(f"a model for similarity needs output rows of shape (2, features), got {y.shape[1:]}.")
    with np.errstate(over="ignore", invalid="ignore"):
        if task == "similarity":
            return np.asarray(cosine_similarity(y[:, 0], y[:, 1]))
        if task == "counts":
            y = np.exp(y)
        if target_scaler is not None:
            y = target_scaler.invert(y.reshape(len(y), *target_scaler.mean.shape))
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    return _named((y > 0).astype(np.int64), classes) if task == "binary" else y


def probabilities(y: np.ndarray, task: Task | None) -> np.ndarray:
    """Return the probabilities for raw outputs (rows, ...); see `Model.predict_proba`."""
    if task == "classification":
        with np.errstate(invalid="ignore"):  # of infinite logits
            return np.asarray(softmax(y))
    if task != "binary":
        raise StateError(f"predict_proba needs a model trained as a classifier; this model's task is {task}.")
    p = np.asarray(activation_function("sigmoid")(y))
    return np.hstack([1 - p, p]) if p.shape[1] == 1 else p


def warn_of_not_finite(what: str, values: np.ndarray, why: str) -> None:
    """Warn if rows of predicted values are NaN or infinite."""
    finite = np.isfinite(values)
    if not finite.all():
        wrong = len(values) - np.count_nonzero(finite.reshape(len(values), -1).all(axis=1))
        warn(f"the {what} of {wrong:,} of {len(values):,} rows are NaN or infinite: {why}.")


def _named(labels: np.ndarray, classes: tuple[str, ...] | None) -> np.ndarray:
    return labels if classes is None else np.asarray(classes)[labels]

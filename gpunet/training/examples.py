"""Check raw training data X and y against the model and the loss, and convert them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from gpunet.data import check_lengths, check_weights, split_indices
from gpunet.data.checks import as_dtype, target_array
from gpunet.data.labels import label_indices
from gpunet.errors import ArgumentError, DataError, StateError
from gpunet.losses import VALUES, Loss
from gpunet.models import Model


def class_names(model: Model, loss: Loss, y: ArrayLike) -> tuple[str, ...] | None:
    """Return the model's class names; if it has none, the sorted text labels, or None for other labels."""
    labels = target_array(y)
    if model.classes is None and _is_text(labels, loss):
        return tuple(np.unique(labels).tolist())
    return model.classes


def check_examples(
    model: Model, loss: Loss, X: ArrayLike, y: ArrayLike, classes: tuple[str, ...] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Check raw data (rows, ...) like `Trainer.fit`; return the features like `Model.check`, and the loss's targets."""
    x = model.check(X)
    raw = target_array(y)
    if _is_text(raw, loss):
        if classes is None:
            raise DataError("y: text labels, but the model's classes have no names; give class indices.")
        raw = label_indices(raw, classes)
    outputs = model.output_shape(x.shape[1:])
    if loss.task == "classification" and classes is not None and len(classes) != outputs[-1]:
        raise DataError(f"y: {len(classes)} classes have names, but the model has {outputs[-1]} outputs.")
    scaler = model.target_scaler
    if scaler is not None and not loss.scalable:
        raise StateError(f"the targets of {loss!r} cannot be standardised; set the model's target_scaler to None.")
    dtype = model.dtype if scaler is None else np.dtype(np.float64)
    target = loss.check_target(raw, outputs, dtype)
    if scaler is not None:  # in float32 a target far from zero would lose digits before it is scaled
        rows = target.reshape(len(target), *scaler.mean.shape)
        target = as_dtype(scaler.apply(rows), model.dtype, "y").reshape(target.shape)
    check_lengths(X=x, y=target)
    return x, target


def row_weights(
    model: Model, loss: Loss, weight: ArrayLike | None, rows: int, name: str = "sample_weight"
) -> np.ndarray | None:
    """Return row weights (rows,) for a loss, scaled to a mean of 1: only their ratios matter.

    Raises:
        ArgumentError: the loss does not support row weights.
    """
    if weight is None:
        return None
    loss.require_weight()
    checked = check_weights(weight, rows, name)
    scaled: np.ndarray = (checked / checked.mean(dtype=np.float64)).astype(model.dtype)
    return scaled


def hold_out(loss: Loss, y: np.ndarray, share: float, *, seed: int) -> tuple[np.ndarray, ...]:
    """Return the indices of the rows to train on and to hold out, stratified by class label."""
    if not 0 < share < 1:
        raise ArgumentError(
            f"fit: validation must be a fraction between 0 and 1, (X, y) or (X, y, weights), got {share!r}."
        )
    return split_indices(len(y) if loss.task in VALUES else y, (1 - share, share), seed=seed)


def _is_text(y: np.ndarray, loss: Loss) -> bool:
    return y.dtype.kind == "U" and loss.task in ("classification", "binary")

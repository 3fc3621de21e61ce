"""Training examples: a user's raw X and y, checked against the model and the loss, and made ready for the layers."""

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
    """Return the model's class names, or those of text labels, sorted, where it has none yet."""
    labels = target_array(y)
    if model.classes is None and _is_text(labels, loss):
        return tuple(np.unique(labels).tolist())
    return model.classes


def check_examples(
    model: Model, loss: Loss, X: ArrayLike, y: ArrayLike, classes: tuple[str, ...] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Check raw data; return the features as `Model.check` does, and the targets as the loss takes them.

    Args:
        model: what the data is for.
        loss: likewise.
        X: (rows, features...).
        y: (rows, ...).
        classes: the names that text labels are looked up in.

    Raises:
        DataError, DTypeError, ShapeError: data that cannot be used.
        StateError: a scaler where data cannot be standardised.
    """
    x = model.check(X)
    raw = target_array(y)
    if _is_text(raw, loss):
        if classes is None:
            raise DataError("y: text, but the classes of the model have no names; give class indices.")
        raw = label_indices(raw, classes)
    outputs = model.output_shape(x.shape[1:])
    if loss.task == "classification" and classes is not None and len(classes) != outputs[-1]:
        raise DataError(f"y: {len(classes)} classes have names, but the model has {outputs[-1]} outputs.")
    scaler = model.target_scaler
    if scaler is not None and not loss.scalable:
        raise StateError(f"the targets of {loss!r} cannot be standardised; set the model's target_scaler to None.")
    dtype = model.dtype if scaler is None else np.dtype(np.float64)
    target = loss.check_target(raw, outputs, dtype)
    if scaler is not None:  # a target far from zero has too few digits in float32 before it is scaled
        rows = target.reshape(len(target), *scaler.mean.shape)
        target = as_dtype(scaler.apply(rows), model.dtype, "y").reshape(target.shape)
    check_lengths(X=x, y=target)
    return x, target


def row_weights(
    model: Model, loss: Loss, weight: ArrayLike | None, rows: int, name: str = "sample_weight"
) -> np.ndarray | None:
    """Return row weights (rows,) as a loss takes them; only their ratios count, so none need be beyond its dtype.

    Raises:
        DataError, DTypeError, ShapeError: weights that cannot be used.
        ArgumentError: the loss takes none.
    """
    if weight is None:
        return None
    loss.require_weight()
    checked = check_weights(weight, rows, name)
    scaled: np.ndarray = (checked / checked.mean(dtype=np.float64)).astype(model.dtype)
    return scaled


def hold_out(loss: Loss, y: np.ndarray, share: float, *, seed: int) -> tuple[np.ndarray, ...]:
    """Return which rows to train on and which to hold out; class labels are divided class by class.

    Raises:
        ArgumentError: a share that is not between 0 and 1.
        DataError: too few rows.
    """
    if not 0 < share < 1:
        raise ArgumentError(
            f"fit: validation must be a share between 0 and 1, (X, y) or (X, y, weights), got {share!r}."
        )
    return split_indices(len(y) if loss.task in VALUES else y, (1 - share, share), seed=seed)


def _is_text(y: np.ndarray, loss: Loss) -> bool:
    return y.dtype.kind == "U" and loss.task in ("classification", "binary")

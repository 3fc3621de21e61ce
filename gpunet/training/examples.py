"""Training examples: a user's raw X and y, checked against the model and the loss, and made ready for the layers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gpunet.arguments import shown
from gpunet.data import check_lengths, check_weights, split_indices
from gpunet.data.checks import as_dtype, host_array
from gpunet.data.labels import label_indices
from gpunet.errors import ArgumentError, DataError, GpunetError, StateError
from gpunet.losses import VALUES, Loss
from gpunet.models import Model


def class_names(model: Model, loss: Loss, y: ArrayLike) -> tuple[str, ...] | None:
    """Return the model's class names, or those of text labels, sorted, where it has none yet."""
    labels = host_array(y, "y")
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
    raw = host_array(y, "y")
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


class Examples(NamedTuple):
    """What a training takes.

    Attributes:
        arrays: features in their own dtype, targets and, if there are any, row weights of the rows to train on.
        validation: data (X, y) or (X, y, weights) to validate on, raw, or None.
        classes: the names of the classes, or None.
    """

    arrays: list[np.ndarray]
    validation: tuple[ArrayLike, ...] | None
    classes: tuple[str, ...] | None


def check_training(
    model: Model,
    loss: Loss,
    X: ArrayLike,
    y: ArrayLike,
    *,
    validation: float | tuple[ArrayLike, ...] | None,
    sample_weight: ArrayLike | None,
    seed: int,
) -> Examples:
    """Check what `Trainer.fit` was given, whose documentation says what that may be."""
    X, y = host_array(X, "X"), host_array(y, "y")
    classes = class_names(model, loss, y)
    x, target = check_examples(model, loss, X, y, classes)
    weight = None if sample_weight is None else check_weights(sample_weight, len(x), "sample_weight")
    if isinstance(validation, int | float | np.floating):
        kept, held_out = hold_out(loss, y, float(validation), seed=seed)
        validation = X[held_out], y[held_out]
        x, target = x[kept], target[kept]
        if weight is not None:
            check_weights(weight[held_out], len(held_out), "sample_weight of the rows held out")
            validation = *validation, weight[held_out]
            weight = weight[kept]
    elif validation is not None:
        check_validation(model, loss, validation, classes)
    weight = row_weights(model, loss, weight, len(x), "sample_weight, without the rows held out,")
    return Examples([a for a in (x, target, weight) if a is not None], validation, classes)


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


def check_validation(model: Model, loss: Loss, validation: Any, classes: tuple[str, ...] | None) -> None:
    """Refuse validation data before the first step, not after the first epoch."""
    if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
        raise ArgumentError(
            f"fit: validation must be a share of the rows, (X, y) or (X, y, weights), got {shown(validation)}."
        )
    X, y, weight = (*validation, None)[:3]
    try:
        x, _ = check_examples(model, loss, X, y, classes)
        row_weights(model, loss, weight, len(x))
    except GpunetError as error:
        raise type(error)(f"validation: {error}") from None


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

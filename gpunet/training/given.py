"""Check all arguments of `Trainer.fit` before the first step."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gpunet.data import check_weights
from gpunet.data.checks import host_array, target_array
from gpunet.data.mapped import MappedRows
from gpunet.losses import Loss
from gpunet.models import Model
from gpunet.training.examples import check_examples, class_names, hold_out, row_weights
from gpunet.training.parts import check_validation, checked_parts, mapped_arrays


class FitOptions(NamedTuple):
    """Arguments of `Trainer.fit`."""

    epochs: int
    batch_size: int
    drop_last: bool
    shuffle: bool
    validation: Any
    sample_weight: Any


class Examples(NamedTuple):
    """Checked data of a training.

    Attributes:
        arrays: the rows to train on; the features in their own dtype.
        validation: raw validation data (X, y) or (X, y, weights), or (iterable, None, None), or None.
    """

    arrays: list[np.ndarray]
    validation: Any
    classes: tuple[str, ...] | None


def check_training(
    model: Model,
    loss: Loss,
    X: ArrayLike,
    y: ArrayLike,
    *,
    validation: Any,
    sample_weight: ArrayLike | None,
    seed: int,
) -> Examples:
    """Check data in memory for `Trainer.fit`; errors as for it."""
    X, y = host_array(X, "X"), target_array(y)
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
        validation = check_validation(model, loss, validation, classes)
    weight = row_weights(model, loss, weight, len(x), "sample_weight, without the rows held out,")
    return Examples([a for a in (x, target, weight) if a is not None], validation, classes)


class MappedExamples(NamedTuple):
    """Checked memory-mapped data of a training; else like `Examples`.

    Attributes:
        rows: the rows to train on: raw features, raw targets and, if there are any, scaled row weights.
        counted: all targets and, if there are any, row weights, if the loss's `counts_targets` is True; else empty.
    """

    rows: MappedRows
    validation: Any
    classes: tuple[str, ...] | None
    counted: list[np.ndarray]


def check_mapped(
    model: Model, loss: Loss, X: Any, y: Any, *, validation: Any, sample_weight: ArrayLike | None, seed: int
) -> MappedExamples:
    """Check memory-mapped data for `Trainer.fit`, block by block."""
    arrays = mapped_arrays(X, y)
    rows, classes = len(arrays[0]), class_names(model, loss, arrays[1])
    parts = checked_parts(model, loss, arrays[0], arrays[1], None, classes=classes)
    counted = [part.target for part in parts if loss.counts_targets]
    weight = None if sample_weight is None else check_weights(sample_weight, rows, "sample_weight")
    kept, all_rows = np.arange(rows), [*arrays, *([] if weight is None else [weight])]
    if isinstance(validation, int | float | np.floating):
        kept, held_out = hold_out(loss, np.asarray(arrays[1]), float(validation), seed=seed)
        validation = MappedRows(all_rows, held_out), None, None
        if weight is not None:
            check_weights(weight[held_out], len(held_out), "sample_weight of the rows held out")
    elif validation is not None:
        validation = check_validation(model, loss, validation, classes)
    if weight is not None:
        ready = np.zeros(rows, model.dtype)
        ready[kept] = row_weights(model, loss, weight[kept], len(kept), "sample_weight, without the rows held out,")
        all_rows = [*arrays, ready]
    known = [np.concatenate(counted)[kept], *(a[kept] for a in all_rows[2:])] if counted else []
    return MappedExamples(MappedRows(all_rows, kept), validation, classes, known)

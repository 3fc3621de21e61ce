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
        validation: raw validation data (X, y, weights or None), or (iterable, None, None), or None.
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
    split = _split(model, loss, y, classes, validation, sample_weight, seed)
    if split.held_out is not None:
        x, target = x[split.kept], target[split.kept]
        validation = tuple(None if a is None else a[split.held_out] for a in (X, y, split.weight))
    else:
        validation = split.validation
    return Examples([a for a in (x, target, split.scaled) if a is not None], validation, classes)


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
    kept, held_out, weight, scaled, validation = _split(
        model, loss, np.asarray(arrays[1]), classes, validation, sample_weight, seed
    )
    if held_out is not None:
        validation = MappedRows([*arrays, *([] if weight is None else [weight])], held_out), None, None
    if scaled is not None:
        of_all_rows = np.zeros(rows, model.dtype)
        of_all_rows[kept] = scaled
        arrays = [*arrays, of_all_rows]
    known = [np.concatenate(counted)[kept], *([] if scaled is None else [scaled])] if counted else []
    return MappedExamples(MappedRows(arrays, kept), validation, classes, known)


class _Split(NamedTuple):
    """The rows to train on and the rows to hold out.

    Attributes:
        kept: the indices of the rows to train on.
        held_out: the indices of the rows to hold out; None if validation data is given, or none.
        weight: the row weights of all rows, or None.
        scaled: the row weights of the rows to train on, scaled to a mean of 1, or None.
        validation: the given validation data as `check_validation` returns it, or None.
    """

    kept: np.ndarray
    held_out: np.ndarray | None
    weight: np.ndarray | None
    scaled: np.ndarray | None
    validation: Any


def _split(
    model: Model,
    loss: Loss,
    y: np.ndarray,
    classes: tuple[str, ...] | None,
    validation: Any,
    sample_weight: ArrayLike | None,
    seed: int,
) -> _Split:
    """Check the row weights and the validation data, and hold out rows if `validation` is a fraction."""
    weight = None if sample_weight is None else check_weights(sample_weight, len(y), "sample_weight")
    kept, held_out = np.arange(len(y)), None
    if isinstance(validation, int | float | np.floating):
        kept, held_out = hold_out(loss, y, float(validation), seed=seed)
        if weight is not None:
            check_weights(weight[held_out], len(held_out), "sample_weight of the rows held out")
    elif validation is not None:
        validation = check_validation(model, loss, validation, classes)
    own = None if weight is None else weight[kept]
    scaled = row_weights(model, loss, own, len(kept), "sample_weight, without the rows held out,")
    return _Split(kept, held_out, weight, scaled, validation)

"""What a model is worth on raw data: its loss and its metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpunet.data.mapped import is_mapped
from gpunet.errors import DataError
from gpunet.losses import VALUES, Loss
from gpunet.models import Model
from gpunet.ops import softmax
from gpunet.ops.activations import activation_function
from gpunet.training.examples import row_weights
from gpunet.training.metrics import Metric, accuracy, mean_absolute_error, r2_score, what_it_takes
from gpunet.training.metrics.declared import Takes
from gpunet.training.parts import Part, checked_parts

sigmoid = activation_function("sigmoid")


def default_metrics(loss: Loss) -> dict[str, Metric]:
    """Return the metrics by name that `Trainer` takes for a loss where it is given none."""
    if loss.task in VALUES:
        return {"mae": mean_absolute_error, "r2": r2_score}
    return {} if loss.task == "similarity" else {"accuracy": accuracy}


class Evaluation:
    """Evaluates a model on data that are checked once, however often it is called; those of a file or an iterable anew.

    Where a moving average of the weights is kept, the model has it meanwhile. The outputs and the targets of all rows
    are in memory at a time, the features of a part of them.

    Args:
        model: the model.
        loss: the loss to report.
        metrics: functions (target, prediction) -> float by name.
        X: as for `Trainer.fit`.
        y: as for `Trainer.fit`.
        sample_weight: (rows,) weights >= 0 of the rows in the loss, or None.

    Raises:
        DataError, DTypeError, ShapeError: data that cannot be used.
    """

    def __init__(
        self,
        model: Model,
        loss: Loss,
        metrics: Mapping[str, Metric],
        X: Any,
        y: Any,
        sample_weight: ArrayLike | None = None,
    ):
        self._model, self._loss, self._metrics = model, loss, metrics
        self._given = X, y, sample_weight
        self._parts = None if y is None or is_mapped(X, y) else list(self._read())

    def __call__(self) -> dict[str, float]:
        """Return the loss and the metrics by name; NaN for a NaN model.

        Raises:
            DataError, DTypeError, ShapeError: a batch of an iterable that cannot be used.
        """
        ready = self._model.ready_outputs
        with self._model.store.averaged():
            parts = [(ready(part.x), part.target, part.y, part.weight) for part in self._parts or self._read()]
        outputs, target, y, weight = map(_joined, zip(*parts, strict=True))
        weight = row_weights(self._model, self._loss, weight, len(target))
        results = {"loss": float(self._loss.value(outputs, target, weight))}
        if self._loss.task in VALUES:
            outputs, target = self._model.decode(outputs, self._loss.task).reshape(y.shape), y.astype(np.float64)
        if not np.isfinite(outputs).all():  # metrics would refuse them, and a training that diverged could not continue
            return results | dict.fromkeys(self._metrics, math.nan)
        takes = {name: what_it_takes(metric) for name, metric in self._metrics.items()}
        seen = {kind: self._seen_by_metrics(outputs, target, kind) for kind in set(takes.values())}
        return results | {name: float(metric(*seen[takes[name]])) for name, metric in self._metrics.items()}

    def _read(self) -> Iterator[Part]:
        """Yield the data part by part, the features as the layers take them."""
        model = self._model
        for part in checked_parts(model, self._loss, *self._given, classes=model.classes):
            yield part._replace(x=model.convert(part.x))

    def _seen_by_metrics(self, outputs: np.ndarray, target: np.ndarray, takes: Takes) -> tuple[np.ndarray, np.ndarray]:
        """Return targets and predictions as metrics take them, from outputs, or of a regression from predictions.

        `gpunet.training.metrics` says what they take.
        """
        task = self._loss.task
        if task in VALUES:
            return target, outputs
        if task == "classification":
            target = target.reshape(-1, *target.shape[outputs.ndim - 1 :])
            outputs = outputs.reshape(-1, outputs.shape[-1])
            return (target, outputs) if takes == "outputs" else _judged(target, outputs, takes)
        if task == "binary":
            answers = sigmoid(outputs.astype(np.float64)) if takes == "probabilities" else (outputs > 0).astype(int)
            return (target > 0.5).astype(int).ravel(), answers.ravel()
        return target, self._model.decode(outputs, task)


def _joined(parts: Sequence[Any]) -> Any:
    """Return the arrays of all parts as one, `None`s as None."""
    if len(parts) == 1 or all(part is None for part in parts):
        return parts[0]
    if any(part is None for part in parts):
        raise DataError("some batches have row weights and others none; give them to all.")
    return np.concatenate(parts)


def _judged(target: np.ndarray, logits: np.ndarray, takes: Takes) -> tuple[np.ndarray, np.ndarray]:
    """Return class numbers (n,), and of logits (n, classes) the labels or the probabilities."""
    classes = target if target.ndim == 1 else target.argmax(axis=1)
    if takes == "labels":
        return classes, logits.argmax(axis=1)
    p = np.asarray(softmax(logits.astype(np.float64)))  # float32 would make ties of what is nearly certain
    return classes, p[:, 1] if p.shape[1] == 2 else p

"""What a model is worth on raw data: its loss and its metrics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from gpunet.arguments import shown
from gpunet.data.mapped import is_mapped
from gpunet.errors import ArgumentError, DataError, GpunetError, located
from gpunet.losses import VALUES, Loss
from gpunet.models import Model
from gpunet.ops import softmax
from gpunet.ops.activations import activation_function
from gpunet.training.examples import row_weights
from gpunet.training.metrics import Metric, accuracy, mean_absolute_error, r2_score, what_it_takes
from gpunet.training.metrics.declared import Takes, is_sklearns
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
            ArgumentError: a metric that fails on these targets and predictions, or returns no number.
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
        kinds = {name: (what_it_takes(metric), is_sklearns(metric)) for name, metric in self._metrics.items()}
        seen = {kind: self._seen_by_metrics(outputs, target, *kind) for kind in set(kinds.values())}
        return results | {name: _measured(name, metric, *seen[kinds[name]]) for name, metric in self._metrics.items()}

    def _read(self) -> Iterator[Part]:
        """Yield the data part by part, the features as the layers take them."""
        model = self._model
        for part in checked_parts(model, self._loss, *self._given, classes=model.classes):
            yield part._replace(x=model.convert(part.x))

    def _seen_by_metrics(
        self, outputs: np.ndarray, target: np.ndarray, takes: Takes, by_row: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return targets and predictions as metrics take them, from outputs, or of a regression from predictions.

        `gpunet.training.metrics` says what they take. Where a row has several yes-or-no answers, they stay a row for
        metrics that are told so.
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
            shape = (len(target), -1) if by_row and target[:1].size > 1 else (-1,)
            return (target > 0.5).astype(int).reshape(shape), answers.reshape(shape)
        return target, self._model.decode(outputs, task)


def _measured(name: str, metric: Metric, target: np.ndarray, prediction: np.ndarray) -> float:
    """Return what a metric gives, or an error that names it."""
    given = f"targets of shape {target.shape} and predictions of shape {prediction.shape}"
    with located(f"metric {name!r}: "):
        try:
            value = metric(target, prediction)
        except GpunetError:
            raise
        except Exception as error:  # of a function that is not gpunet's
            raise ArgumentError(f"{type(error).__name__} for {given}: {error}") from error
        if np.ndim(value) or not isinstance(value, Real | np.ndarray | np.bool_):
            raise ArgumentError(
                f"returns {shown(value)} for {given}, and must return one number; of several classes take a mean, as "
                "average='macro' does."
            )
        return float(value)


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

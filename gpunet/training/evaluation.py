"""Evaluate a model on raw data: loss and metrics."""

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
from gpunet.training.metrics.declared import Takes, is_from_sklearn
from gpunet.training.parts import Part, checked_parts

sigmoid = activation_function("sigmoid")


def default_metrics(loss: Loss) -> dict[str, Metric]:
    """Return the default metrics of a `Trainer` by name."""
    if loss.task in VALUES:
        return {"mae": mean_absolute_error, "r2": r2_score}
    return {} if loss.task == "similarity" else {"accuracy": accuracy}


class Evaluation:
    """Evaluate a model on the same data after each epoch, with the moving average of its weights if there is one.

    Data in memory are checked once; memory-mapped data and iterables at every call. Outputs and targets of all rows are
    in memory at once, features part by part. Arguments and errors as for `Trainer.fit`.
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
        """Return the loss and the metrics by name; NaN if an output is not finite.

        Raises:
            ArgumentError: a metric fails on these targets and predictions, or does not return a number.
        """
        ready = self._model.ready_outputs
        with self._model.store.averaged():
            parts = [(ready(part.x), part.target, part.y, part.weight) for part in self._parts or self._read()]
        outputs, target, y, weight = map(_joined, zip(*parts, strict=True))
        weight = row_weights(self._model, self._loss, weight, len(target))
        with np.errstate(all="ignore"):
            results = {"loss": float(self._loss.value(outputs, target, weight))}
        if self._loss.task in VALUES:
            outputs, target = self._model.decode(outputs, self._loss.task).reshape(y.shape), y.astype(np.float64)
        if not np.isfinite(outputs).all():  # metrics would raise and end a training that diverged
            return results | dict.fromkeys(self._metrics, math.nan)
        kinds = {name: (what_it_takes(metric), is_from_sklearn(metric)) for name, metric in self._metrics.items()}
        arguments = {kind: self._arguments(outputs, target, *kind) for kind in set(kinds.values())}
        return results | {
            name: _measured(name, metric, *arguments[kinds[name]]) for name, metric in self._metrics.items()
        }

    def _read(self) -> Iterator[Part]:
        """Yield the data part by part, with converted features."""
        model = self._model
        for part in checked_parts(model, self._loss, *self._given, classes=model.classes):
            yield part._replace(x=model.convert(part.x))

    def _arguments(
        self, outputs: np.ndarray, target: np.ndarray, takes: Takes, by_row: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return targets and predictions for metrics, as described in `gpunet.training.metrics`.

        `outputs` are raw outputs, or in a regression predictions. `by_row` keeps several binary outputs of a row
        together, as (rows, outputs).
        """
        task = self._loss.task
        if task in VALUES:
            return target, outputs
        if task == "classification":
            target = target.reshape(-1, *target.shape[outputs.ndim - 1 :])
            outputs = outputs.reshape(-1, outputs.shape[-1])
            return (target, outputs) if takes == "outputs" else _classified(target, outputs, takes)
        if task == "binary":
            answers = sigmoid(outputs.astype(np.float64)) if takes == "probabilities" else (outputs > 0).astype(int)
            shape = (len(target), -1) if by_row and target[:1].size > 1 else (-1,)
            return (target > 0.5).astype(int).reshape(shape), answers.reshape(shape)
        return target, self._model.decode(outputs, task)


def _measured(name: str, metric: Metric, target: np.ndarray, prediction: np.ndarray) -> float:
    """Return the value of a metric; errors name the metric."""
    given = f"targets of shape {target.shape} and predictions of shape {prediction.shape}"
    with located(f"metric {name!r}: "):
        try:
            value = metric(target, prediction)
        except GpunetError:
            raise
        except Exception as error:  # a user's function may raise anything
            raise ArgumentError(f"{type(error).__name__} for {given}: {error}") from error
        if np.ndim(value) or not isinstance(value, Real | np.ndarray | np.bool_):
            raise ArgumentError(
                f"returns {shown(value)} for {given}, but must return one number; average several classes, for example "
                "with average='macro'."
            )
        return float(value)


def _joined(parts: Sequence[Any]) -> Any:
    """Concatenate the arrays of all parts; return None if they are all None."""
    if len(parts) == 1 or all(part is None for part in parts):
        return parts[0]
    if any(part is None for part in parts):
        raise DataError("some batches have row weights and others have none; give weights to all batches.")
    return np.concatenate(parts)


def _classified(target: np.ndarray, logits: np.ndarray, takes: Takes) -> tuple[np.ndarray, np.ndarray]:
    """Return class numbers (n,) of the targets, and the labels or probabilities of logits (n, classes)."""
    classes = target if target.ndim == 1 else target.argmax(axis=1)
    if takes == "labels":
        return classes, logits.argmax(axis=1)
    p = np.asarray(softmax(logits.astype(np.float64)))  # float32 would round large probabilities to 1, and make ties
    return classes, p[:, 1] if p.shape[1] == 2 else p

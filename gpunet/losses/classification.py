"""Losses for classification, with optional class weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.arguments import real
from gpunet.data.class_weights import ClassWeight, ClassWeights
from gpunet.data.indices import check_range
from gpunet.device import Array, array_module, device_of, on_device, to_host
from gpunet.errors import DataError, ShapeError
from gpunet.losses.base import Loss
from gpunet.ops import binary_cross_entropy, softmax_cross_entropy
from gpunet.tape import Tape, empty


class ClassWeightedLoss(Loss):
    """Base class of losses with class weights.

    Args:
        class_weight: an array of weights (classes,), finite and >= 0; a dict of weights by class name, or by label if
            the classes have no names, where missing classes have weight 1; or "balanced", rows / (classes · rows of the
            class), as in scikit-learn. The first `fit` of a Trainer turns a dict and "balanced" into an array, so use a
            separate loss for each Trainer.
    """

    def __init__(self, class_weight: ClassWeight = None):
        self.class_weight = class_weight

    @property
    def class_weight(self) -> Any:
        """The class weights (classes,) or None; before the first `Trainer.fit`, the constructor's argument."""
        return self._weights.known

    @class_weight.setter
    def class_weight(self, given: ClassWeight) -> None:
        self._weights = ClassWeights(given)

    @property
    def counts_targets(self) -> bool:
        return isinstance(self._weights.given, str)


class CrossEntropyLoss(ClassWeightedLoss):
    """Softmax cross-entropy of logits (rows, classes), with PyTorch's formula.

    Targets are integer labels (rows,) in [0, classes), or distributions (rows, classes). For an output per position,
    logits are (rows, positions, classes) (in PyTorch the classes are axis 1) and labels (rows, positions); the mean is
    over all positions.

    Args:
        label_smoothing: fraction of each target that is spread evenly over the classes, in [0, 1].
        class_weight: as for `ClassWeightedLoss`; with integer labels the mean is weighted too.

    Example:
        >>> loss = gn.CrossEntropyLoss().value(np.zeros((2, 10)), np.array([3, 7]))
        >>> round(float(loss), 2)  # log 10
        2.3
    """

    task = "classification"

    def __init__(self, label_smoothing: float = 0.0, class_weight: ClassWeight = None):
        self.label_smoothing = real("CrossEntropyLoss: label_smoothing", label_smoothing, 0, 1, closed="both")
        super().__init__(class_weight)
        self._on_device: dict[tuple[str, str], tuple[Any, Array]] = {}

    def begin(
        self, target: np.ndarray, weight: np.ndarray | None, classes: tuple[str, ...] | None, outputs: tuple[int, ...]
    ) -> None:
        self._weights.begin(target, weight, classes or tuple(map(str, range(outputs[-1]))))

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        return softmax_cross_entropy(
            prediction,
            target,
            weight=weight,
            class_weight=self.device_weight(prediction),
            label_smoothing=self.label_smoothing,
            tape=tape,
        )

    def check_given(self, prediction: Array, target: Array) -> None:
        if target.ndim == prediction.ndim - 1 and not on_device(target):
            check_range(np.asarray(target), prediction.shape[-1], "target: labels")

    def norms(self, target: Array, weight: Array | None = None) -> np.ndarray | None:
        weights = self._weights.array
        if weights is None or target.dtype.kind == "f":
            return super().norms(target, weight)
        of_rows: np.ndarray = weights[to_host(target)].reshape(len(target), -1).sum(axis=1)
        return of_rows if weight is None else of_rows * to_host(weight)

    def check_target(self, target: Any, output_shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        if not output_shape or output_shape[-1] < 2:
            raise ShapeError(f"CrossEntropyLoss needs at least 2 outputs per row, got output shape {output_shape}.")
        self._weights.check_shape(output_shape[-1])
        checked = super().check_target(target, output_shape, dtype)
        if checked.dtype.kind == "f" and ((checked < 0).any() or np.abs(checked.sum(axis=-1) - 1).max() > 1e-3):
            raise DataError("y: soft labels must be distributions: each >= 0, and every row must sum to 1.")
        return checked

    def config(self) -> dict[str, Any]:
        return {"label_smoothing": self.label_smoothing, "class_weight": self._weights.config()}

    def device_weight(self, prediction: Array) -> Array | None:
        """Return the class weights on the device of `prediction`, uploaded once and after each change."""
        weights = self._weights.array
        if weights is None:
            return None
        device = device_of(prediction)
        key = (device.name, prediction.dtype.str)
        if self._on_device.get(key, (None,))[0] is not weights:
            self._on_device[key] = weights, device.asarray(weights, prediction.dtype)
        return self._on_device[key][1]


class BCEWithLogitsLoss(ClassWeightedLoss):
    """Binary cross-entropy of logits, for independent binary outputs; targets are probabilities in [0, 1].

    Args:
        class_weight: as for `ClassWeightedLoss`, for the classes 0 and 1 of a model with one output; the mean is
            weighted too.

    Example:
        >>> loss = gn.BCEWithLogitsLoss().value(np.array([[0.0]]), np.array([[1.0]]))  # probability 1/2
        >>> round(float(loss), 2)
        0.69
    """

    task = "binary"

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        return binary_cross_entropy(prediction, target, weight=self._row_weight(target, weight, tape), tape=tape)

    def _row_weight(self, target: Array, weight: Array | None, tape: Tape | None) -> Array | None:
        """Return the row weights (rows,) multiplied by the class weights."""
        classes = self._weights.array
        if classes is None:
            return weight
        if target.size != len(target):
            raise ShapeError(f"{self!r} with class_weight needs one output per row, got targets {target.shape}.")
        xp = array_module(target)
        negative, positive = classes.tolist()
        rows = empty(tape, target.shape[:1], target.dtype, xp)
        xp.multiply(target.reshape(-1), positive - negative, out=rows)
        xp.add(rows, negative, out=rows)
        if weight is not None:
            xp.multiply(rows, weight, out=rows)
        return rows

    def norms(self, target: Array, weight: Array | None = None) -> np.ndarray | None:
        return super().norms(target, self._row_weight(target, weight, None))

    def begin(
        self, target: np.ndarray, weight: np.ndarray | None, classes: tuple[str, ...] | None, outputs: tuple[int, ...]
    ) -> None:
        answers = target.reshape(len(target), -1)[:, :1]
        self._weights.begin(np.hstack([1 - answers, answers]), weight, classes or ("0", "1"))

    def config(self) -> dict[str, Any]:
        return {"class_weight": self._weights.config()}

    def check_target(self, target: Any, output_shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        if self.class_weight is not None and output_shape != (1,):
            raise ShapeError(f"{self!r} with class_weight needs one output per row, got output shape {output_shape}.")
        self._weights.check_shape(2)
        y = super().check_target(target, output_shape, dtype)
        if (y < 0).any() or (y > 1).any():
            raise DataError("y: BCEWithLogitsLoss needs targets between 0 and 1.")
        return y

"""The losses: what a model's output costs, and the gradient of that, in one pass."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np

from gpunet.arguments import real, shown
from gpunet.data.checks import as_dtype, check_labels, check_one_dimension, check_range, check_targets, host_array
from gpunet.data.class_weights import ClassWeight, ClassWeights
from gpunet.device import Array, array_module, device_of, on_device, to_host
from gpunet.errors import ArgumentError, DataError, ShapeError, StateError
from gpunet.habits import HABITS
from gpunet.ops import (
    absolute_error,
    binary_cross_entropy,
    cosine_embedding,
    huber,
    mean_squared_error,
    poisson_nll,
    softmax_cross_entropy,
)
from gpunet.registry import register
from gpunet.tape import Tape, empty
from gpunet.versions import Versioned

Task = Literal["classification", "binary", "regression", "counts", "similarity"]

VALUES: tuple[Task, ...] = ("regression", "counts")
"""Tasks whose predictions are values in the units of the targets; of counts, outputs are the logarithm of a rate."""


class Loss(Versioned):
    """A loss with its gradient; the mean over the rows of a batch, weighted where weights are given.

    Attributes:
        task: what a model trained with it does; `predict` reads its outputs accordingly.
        scalable: whether its targets may be standardised.
    """

    task: Task
    scalable: ClassVar[bool] = True

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        """Return the loss, an array of shape () on the device, and its gradient by the prediction.

        A loss of your own may leave out the parameter `weight`; it is called without row weights then.

        Args:
            prediction: the model's output, (rows, ...), float32 or float64.
            target: on the same device, in the shape and dtype of `prediction` (class labels: integers (rows,)).
            weight: row weights (rows,) in the dtype of `prediction`.
            tape: where memory comes from; None makes fresh arrays.

        Raises:
            ShapeError: the shapes don't fit.
            DTypeError: dtypes that differ or are not float32 or float64.
        """
        raise NotImplementedError

    def __call__(self, *_: Any) -> NoReturn:
        """Refuse PyTorch's call, whose result would have to know its graph."""
        raise StateError(f"{type(self).__name__} is not called: loss.value(prediction, y), or {HABITS['backward']}.")

    def check_given(self, prediction: Array, target: Array) -> None:
        """Refuse what `value_and_grad` refuses by looking at numbers in host memory; by default nothing.

        Raises:
            DataError: bad targets.
        """

    def value(self, prediction: Array, target: Array, weight: Array | None = None) -> Array:
        """Return the loss alone; arguments and errors as for `value_and_grad`."""
        given = {} if weight is None else {"weight": weight}
        return self.value_and_grad(prediction, target, **given)[0]

    @property
    def takes_weight(self) -> bool:
        """Whether `value_and_grad` takes row weights."""
        parameters = inspect.signature(self.value_and_grad).parameters.values()
        return any(p.name == "weight" or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)

    def require_weight(self) -> None:
        """Refuse row weights that would be ignored.

        Raises:
            ArgumentError: `value_and_grad` takes none.
        """
        if not self.takes_weight:
            raise ArgumentError(
                f"{self!r} does not support row weights: its value_and_grad has no parameter `weight`. Add it, or "
                "leave the weights out."
            )

    def norms(self, target: Array, weight: Array | None = None) -> np.ndarray | None:
        """Return what each row adds to the denominator of the mean, (rows,) on the host; None: all add the same.

        Args:
            target: as for `value_and_grad`.
            weight: likewise.
        """
        return None if weight is None else np.asarray(to_host(weight))

    def begin(
        self, target: np.ndarray, weight: np.ndarray | None, classes: tuple[str, ...] | None, outputs: tuple[int, ...]
    ) -> None:
        """Take note of the data of a training, before its first step; by default of nothing.

        Args:
            target: all targets on the host, as `check_target` returned them; of data that is not in memory, those of
                the first batch, unless `counts_targets` says that all are needed.
            weight: (rows,) row weights, or None.
            classes: the names of the classes, or None.
            outputs: the shape of a row's output.

        Raises:
            ArgumentError: settings that do not fit them.
        """

    @property
    def counts_targets(self) -> bool:
        """Whether `begin` needs all targets of a training."""
        return False

    def check_target(self, target: Any, output_shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Return host targets as an array that `value_and_grad` takes, for rows of output of the given shape.

        Raises:
            DataError: labels out of range, targets that are not finite, shapes that don't fit the output.
        """
        y = as_dtype(check_targets(target), dtype, "y")
        if y.ndim == 1 and output_shape == (1,):
            y = y[:, None]
        if y.shape[1:] != output_shape:
            raise DataError(f"y: rows of shape {y.shape[1:]} don't fit the model's output of shape {output_shape}.")
        return y

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON."""
        return {}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={shown(value)}" for key, value in self.config().items() if value is not None)
        return f"{type(self).__name__}({arguments})"


class ClassWeightedLoss(Loss):
    """The base of losses whose classes may have weights.

    Args:
        class_weight: (classes,) weights, each finite and >= 0; or a dict of weights by the class's name, or its label
            where classes have no names, in which a class that is missing weighs 1; or "balanced": a class weighs
            rows / (classes · its rows), as in scikit-learn. A dict and "balanced" become an array when a training
            begins, in the first `fit` of a Trainer; give each Trainer a loss of its own then.
    """

    def __init__(self, class_weight: ClassWeight = None):
        self.class_weight = class_weight

    @property
    def class_weight(self) -> Any:
        """The weights of the classes (classes,), or None; what was given until `Trainer.fit` has seen the labels."""
        return self._weights.known

    @class_weight.setter
    def class_weight(self, given: ClassWeight) -> None:
        self._weights = ClassWeights(given)

    @property
    def counts_targets(self) -> bool:
        return isinstance(self._weights.given, str)


class CrossEntropyLoss(ClassWeightedLoss):
    """Softmax cross-entropy of logits (rows, classes), with PyTorch's formula.

    Targets are integer labels (rows,) in [0, classes), or distributions (rows, classes). Where a model has an output at
    each position of a row, the logits are (rows, positions, classes), the labels (rows, positions), and the loss is the
    mean over all of them. (In PyTorch the classes are axis 1.)

    Args:
        label_smoothing: how much of each target is spread evenly over the classes, in [0, 1].
        class_weight: as for `ClassWeightedLoss`. The mean over integer labels is weighted by it.
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
            raise ShapeError(f"CrossEntropyLoss needs an output of at least 2 classes a row, got shape {output_shape}.")
        *positions, classes = output_shape
        self._weights.check_shape(classes)
        labels = host_array(target, "y")
        if labels.ndim != 1 + len(output_shape) or labels.shape[-1] == 1:
            return check_labels(target, classes, positions=tuple(positions))
        soft = super().check_target(target, output_shape, dtype)
        if (soft < 0).any() or np.abs(soft.sum(axis=-1) - 1).max() > 1e-3:
            raise DataError("y: soft labels must be distributions: each >= 0, and every row must sum to 1.")
        return soft

    def config(self) -> dict[str, Any]:
        return {"label_smoothing": self.label_smoothing, "class_weight": self._weights.config()}

    def device_weight(self, prediction: Array) -> Array | None:
        """Return the class weights on the device of `prediction`; they are uploaded once, unless others are set."""
        weights = self._weights.array
        if weights is None:
            return None
        device = device_of(prediction)
        key = (device.name, prediction.dtype.str)
        if self._on_device.get(key, (None,))[0] is not weights:
            self._on_device[key] = weights, device.asarray(weights, prediction.dtype)
        return self._on_device[key][1]


class BCEWithLogitsLoss(ClassWeightedLoss):
    """Binary cross-entropy of logits: one yes-or-no question an output; targets are probabilities in [0, 1].

    Args:
        class_weight: as for `ClassWeightedLoss`, of the answers no and yes, where there is one output. Rows are
            weighted by it, and so is their mean.
    """

    task = "binary"

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        return binary_cross_entropy(prediction, target, weight=self._row_weight(target, weight, tape), tape=tape)

    def _row_weight(self, target: Array, weight: Array | None, tape: Tape | None) -> Array | None:
        """Return the weights of the rows (rows,), those of their classes included."""
        classes = self._weights.array
        if classes is None:
            return weight
        if target.size != len(target):
            raise ShapeError(f"{self!r} takes one output a row, got targets of shape {target.shape}.")
        xp = array_module(target)
        no, yes = classes.tolist()
        rows = empty(tape, target.shape[:1], target.dtype, xp)
        xp.multiply(target.reshape(-1), yes - no, out=rows)
        xp.add(rows, no, out=rows)
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
            raise ShapeError(f"{self!r} needs one output a row, got shape {output_shape}.")
        self._weights.check_shape(2)
        y = super().check_target(target, output_shape, dtype)
        if (y < 0).any() or (y > 1).any():
            raise DataError("y: BCEWithLogitsLoss needs targets between 0 and 1.")
        return y


class MSELoss(Loss):
    """The mean squared error over all elements."""

    task = "regression"

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        return mean_squared_error(prediction, target, weight=weight, tape=tape)


class HuberLoss(Loss):
    """Squared error near zero, absolute error beyond `delta`; the mean over all elements.

    Args:
        delta: where the one goes over into the other, > 0.
    """

    task = "regression"

    def __init__(self, delta: float = 1.0):
        self.delta = real("HuberLoss: delta", delta, 0)

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        return huber(prediction, target, self.delta, weight=weight, tape=tape)

    def config(self) -> dict[str, Any]:
        return {"delta": self.delta}


class L1Loss(Loss):
    """The mean absolute error over all elements; its least value is at the median of the targets."""

    task = "regression"

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        return absolute_error(prediction, target, weight=weight, tape=tape)


class QuantileLoss(Loss):
    """The pinball loss, whose least value is at a quantile of the targets; the mean over all elements.

    Args:
        quantile: the quantile of the targets that the model predicts, in (0, 1).
    """

    task = "regression"

    def __init__(self, quantile: float = 0.5):
        self.quantile = real("QuantileLoss: quantile", quantile, 0, 1)

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        q = self.quantile
        return absolute_error(prediction, target, above=1 - q, below=q, weight=weight, tape=tape)

    def config(self) -> dict[str, Any]:
        return {"quantile": self.quantile}


class PoissonNLLLoss(Loss):
    """The negative log-likelihood of counts by a Poisson distribution, without log(t!); the mean over all elements.

    Targets are counts or rates >= 0, which cannot be standardised.

    Args:
        log_input: whether the model's outputs are the logarithm of the rate, so that any output makes sense; `predict`
            returns the rate. Else they are the rate itself, and the model must end in what is positive, such as
            `Softplus`.
        eps: what is added to a rate before its logarithm is taken, > 0.
    """

    scalable = False

    def __init__(self, log_input: bool = True, eps: float = 1e-8):
        self.log_input = bool(log_input)
        self.eps = real("PoissonNLLLoss: eps", eps, 0)
        self.task = "counts" if log_input else "regression"

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        return poisson_nll(prediction, target, log_input=self.log_input, eps=self.eps, weight=weight, tape=tape)

    def check_target(self, target: Any, output_shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        y = super().check_target(target, output_shape, dtype)
        if (y < 0).any():
            raise DataError("y: PoissonNLLLoss needs targets of zero or more.")
        return y

    def config(self) -> dict[str, Any]:
        return {"log_input": self.log_input, "eps": self.eps}


class CosineEmbeddingLoss(Loss):
    """What the two vectors of a pair cost by their cosine c, with PyTorch's formula; the mean over pairs.

    1 - c for similar pairs (target 1), max(c - margin, 0) for dissimilar ones (target -1). PyTorch takes two inputs;
    here a prediction is the pair, (rows, 2, features), which is what a model makes of rows of two: an `Embedding` of
    indices (rows, 2), a `Linear` of (rows, 2, features), so that both go through the same weights. Targets are (rows,).

    Args:
        margin: the cosine up to which a dissimilar pair has no loss, from -1 to 1.
    """

    task = "similarity"

    def __init__(self, margin: float = 0.0):
        self.margin = real("CosineEmbeddingLoss: margin", margin, -1, 1, closed="both")

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        return cosine_embedding(prediction, target, self.margin, weight=weight, tape=tape)

    def check_target(self, target: Any, output_shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        if len(output_shape) != 2 or output_shape[0] != 2:
            raise ShapeError(f"CosineEmbeddingLoss needs an output (2, features) a row, got shape {output_shape}.")
        y = check_one_dimension(as_dtype(check_targets(target), dtype, "y"), "y")
        if (np.abs(y) != 1).any():
            raise DataError("y: CosineEmbeddingLoss needs targets of 1 (alike) and -1 (not alike).")
        return y

    def config(self) -> dict[str, Any]:
        return {"margin": self.margin}


LOSSES: dict[str, type[Loss]] = {
    loss.__name__: register(loss)
    for loss in (
        CrossEntropyLoss,
        BCEWithLogitsLoss,
        MSELoss,
        HuberLoss,
        L1Loss,
        QuantileLoss,
        PoissonNLLLoss,
        CosineEmbeddingLoss,
    )
}

LOSSES_BY_NAME: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropyLoss,
    "bce": BCEWithLogitsLoss,
    "mse": MSELoss,
    "huber": HuberLoss,
    "l1": L1Loss,
    "quantile": QuantileLoss,
    "poisson": PoissonNLLLoss,
    "cosine_embedding": CosineEmbeddingLoss,
}
"""The losses by the names that `Trainer` takes for them."""

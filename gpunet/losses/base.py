"""The base of the losses: what they compute, and what a training asks of them."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np

from gpunet.arguments import shown
from gpunet.data.checks import as_dtype, check_labels, check_targets, host_array
from gpunet.device import Array, to_host
from gpunet.errors import ArgumentError, DataError, DTypeError, StateError
from gpunet.habits import HABITS
from gpunet.registry import arguments_of
from gpunet.tape import Tape
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
        raise self._lacks("value_and_grad")

    def require_array(self, value: Any) -> None:
        """Refuse a loss that is no array.

        Raises:
            DTypeError: it is something else, such as a Python number.
        """
        if not hasattr(value, "dtype"):
            raise DTypeError(
                f"{self!r}: value_and_grad returns the loss as a {type(value).__name__}; return an array of shape () "
                "on the device, such as what mean() returns."
            )

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
        if weight is None:
            return self.value_and_grad(prediction, target)[0]
        return self.value_and_grad(prediction, target, weight=weight)[0]

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

        Where the task is classification, integers (rows, ...) are labels, and numbers in the shape of the outputs are
        distributions.

        Raises:
            DataError: labels out of range, targets that are not finite, shapes that don't fit the output.
        """
        if self.task == "classification" and output_shape:
            labels = host_array(target, "y")
            if labels.ndim != 1 + len(output_shape) or labels.shape[-1] == 1:
                return check_labels(target, output_shape[-1], positions=output_shape[:-1])
        y = as_dtype(check_targets(target), dtype, "y")
        if y.ndim == 1 and output_shape == (1,):
            y = y[:, None]
        if y.shape[1:] != output_shape:
            raise DataError(f"y: rows of shape {y.shape[1:]} don't fit the model's output of shape {output_shape}.")
        return y

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments, as JSON; by default the attributes of the same names."""
        return arguments_of(self)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={shown(value)}" for key, value in self.config().items() if value is not None)
        return f"{type(self).__name__}({arguments})"

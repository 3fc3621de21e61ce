"""The base class of the losses."""

from __future__ import annotations

import inspect
from typing import Any, ClassVar, Literal, NoReturn

import numpy as np

from gpunet.arguments import shown
from gpunet.data.checks import as_dtype, check_targets, host_array
from gpunet.data.indices import check_labels
from gpunet.device import Array, to_host
from gpunet.errors import ArgumentError, DataError, DTypeError, StateError
from gpunet.habits import HABITS
from gpunet.registry import arguments_of
from gpunet.tape import Tape
from gpunet.versions import Versioned

Task = Literal["classification", "binary", "regression", "counts", "similarity"]

VALUES: tuple[Task, ...] = ("regression", "counts")
"""Tasks with predictions in the units of the targets. For "counts" the model's output is the logarithm of the rate."""


class Loss(Versioned):
    """Base class of the losses.

    To write a loss, define `task` and `value_and_grad`, and check it with `gn.check_gradients`.

    Attributes:
        task: the task of a model trained with this loss; it determines what `predict` returns.
        scalable: whether the targets may be standardised.

    Example:
        >>> class LogCosh(gn.losses.Loss):
        ...     task = "regression"
        ...     def value_and_grad(self, prediction, target, tape=None):
        ...         error = prediction - target
        ...         return np.log(np.cosh(error)).mean(), np.tanh(error) / error.size
        >>> gn.check_gradients(LogCosh())
        LogCosh(): correct on cpu: the prediction
          not checked: row weights: value_and_grad has no parameter `weight`
    """

    task: Task
    scalable: ClassVar[bool] = True

    def __init_subclass__(cls) -> None:
        """Check the signature of a user's `value_and_grad`."""
        super().__init_subclass__()
        cls._check_method("value_and_grad", "(self, prediction, target, tape=None)", None, None, None, tape=None)

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        """Return the loss, an array of shape () on the device, and its gradient with respect to the prediction.

        Your own loss may omit the parameter `weight`; row weights are then refused.

        Args:
            target: as described in `gpunet.losses`.
            weight: row weights (rows,) in the dtype of `prediction`.
            tape: allocates the arrays; None allocates new ones.
        """
        raise self._not_implemented("value_and_grad")

    def require_array(self, value: Any) -> None:
        """Raise `DTypeError` for a loss value that is not an array, such as a Python number."""
        if not hasattr(value, "dtype"):
            raise DTypeError(
                f"{self!r}: value_and_grad returns the loss as a {type(value).__name__}; return an array of shape () "
                "on the device, for example from mean()."
            )

    def __call__(self, *_: Any) -> NoReturn:
        """Refuse a call as in PyTorch: there is no autograd graph to return."""
        raise StateError(
            f"{type(self).__name__} is not callable: use loss.value(prediction, y), or {HABITS['backward']}."
        )

    def check_given(self, prediction: Array, target: Array) -> None:
        """Raise `DataError` for invalid values of targets in host memory; a recorded step cannot check them."""

    def value(self, prediction: Array, target: Array, weight: Array | None = None) -> Array:
        """Return the loss without its gradient; arguments as for `value_and_grad`."""
        if weight is None:
            return self.value_and_grad(prediction, target)[0]
        return self.value_and_grad(prediction, target, weight=weight)[0]

    @property
    def takes_weight(self) -> bool:
        """Whether `value_and_grad` takes row weights."""
        parameters = inspect.signature(self.value_and_grad).parameters.values()
        return any(p.name == "weight" or p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters)

    def require_weight(self) -> None:
        """Raise `ArgumentError` if `value_and_grad` has no parameter `weight`."""
        if not self.takes_weight:
            raise ArgumentError(
                f"{self!r} does not support row weights: its value_and_grad has no parameter `weight`. Add it, or "
                "leave the weights out."
            )

    def norms(self, target: Array, weight: Array | None = None) -> np.ndarray | None:
        """Return each row's weight in the denominator of the mean, (rows,) on the host; None if all are equal."""
        return None if weight is None else np.asarray(to_host(weight))

    def begin(
        self, target: np.ndarray, weight: np.ndarray | None, classes: tuple[str, ...] | None, outputs: tuple[int, ...]
    ) -> None:
        """Prepare for a training, before its first step; does nothing by default.

        Args:
            target: all targets on the host, as `check_target` returned them. If the data is streamed, those of the
                first batch, or all of them if `counts_targets` is True.
            weight: row weights (rows,), or None.
            outputs: the shape of one row's output.
        """

    @property
    def counts_targets(self) -> bool:
        """Whether `begin` needs all targets of a training."""
        return False

    def check_target(self, target: Any, output_shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        """Check host targets and return them as an array for `value_and_grad`.

        In classification, integers (rows, ...) are labels, and an array in the shape of the outputs holds
        distributions.

        Args:
            output_shape: the shape of one row's output.
            dtype: the dtype of targets that are not labels.

        Raises:
            DataError: labels out of range, targets that are not finite, or a wrong shape.
        """
        if self.task == "classification" and output_shape:
            labels = host_array(target, "y")
            if labels.ndim != 1 + len(output_shape) or labels.shape[-1] == 1:
                return check_labels(target, output_shape[-1], positions=output_shape[:-1])
        y = as_dtype(check_targets(target), dtype, "y")
        if y.ndim == 1 and output_shape == (1,):
            y = y[:, None]
        if y.shape[1:] != output_shape:
            raise DataError(f"y: rows of shape {y.shape[1:]} don't match the model's output of shape {output_shape}.")
        return y

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments as JSON values; by default the attributes of the same names."""
        return arguments_of(self)

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={shown(value)}" for key, value in self.config().items() if value is not None)
        return f"{type(self).__name__}({arguments})"

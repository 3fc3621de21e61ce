"""The estimators: scikit-learn's own, whose training and prediction are gpunet's.

Parameters, validation, the initial weights, labels and scores are inherited from the scikit-learn that is installed.
Its solvers and its forward pass are replaced: `_fit_stochastic`, `_fit_lbfgs` and `_forward_pass_fast` are private
there, so the tests compare weights and loss curves with scikit-learn's, solver by solver.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse import issparse
from sklearn import neural_network
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from gpunet.data.class_weights import ClassWeights
from gpunet.data.labels import class_name
from gpunet.errors import ArgumentError, DataError, DTypeError
from gpunet.models.inference import LARGEST_BATCH
from gpunet.ops import softmax
from gpunet.ops.activations import activation_function
from gpunet.sklearn.network import dense
from gpunet.sklearn.solvers import HasSolvers

FLOATS = (np.float64, np.float32)

LARGEST_OF_FLOAT32 = 1e15
"""Targets up to which a float32 network trains: their squares, times a weight, are far from its largest number."""

OUTPUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": activation_function("identity"),
    "logistic": activation_function("sigmoid"),
    "softmax": softmax,
    "exp": np.exp,
}


class TrainedByGpunet(HasSolvers):
    """What both estimators have of gpunet's: solvers, forward pass, and named errors."""

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> np.ndarray:
        return OUTPUTS[self.out_activation_](self._raw_outputs(X, check_input))

    def _raw_outputs(self, X: Any, check_input: bool = True) -> np.ndarray:
        """Return what the last layer gives, (rows, outputs)."""
        if check_input:
            with named_errors():
                X = validate_data(self, X, accept_sparse=("csr", "csc"), dtype=FLOATS, reset=False)
        model = self._network_trainer().model
        if not issparse(X):
            return model.outputs(X)
        X = X.tocsr()
        parts = (X[start : start + LARGEST_BATCH] for start in range(0, X.shape[0], LARGEST_BATCH))
        return np.concatenate([model.outputs(dense(part)) for part in parts])

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, np.ndarray]:
        with named_errors():
            checked: tuple[Any, np.ndarray] = super()._validate_input(X, y, incremental, reset)
            return checked


@contextmanager
def named_errors() -> Iterator[None]:
    """Raise what scikit-learn's validation finds as gpunet's errors."""
    try:
        yield
    except TypeError as error:
        raise DTypeError(str(error)) from error
    except ValueError as error:
        raise DataError(str(error)) from error


def with_parameters(estimator: type, **added: Any) -> Callable[..., None]:
    """Return the `__init__` of a scikit-learn estimator with more parameters, of which these are the defaults."""
    own = inspect.signature(estimator.__init__)  # type: ignore[misc]

    def __init__(self: Any, *args: Any, **params: Any) -> None:
        values = {name: params.pop(name, default) for name, default in added.items()}
        estimator.__init__(self, *args, **params)  # type: ignore[misc]
        vars(self).update(values)

    more = (inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in added.items())
    __init__.__signature__ = own.replace(parameters=[*own.parameters.values(), *more])  # type: ignore[attr-defined]
    return __init__


class MLPClassifier(TrainedByGpunet, neural_network.MLPClassifier):  # type: ignore[misc]
    """scikit-learn's `MLPClassifier`, trained by gpunet.

    It has all parameters, defaults, methods and fitted attributes of the installed scikit-learn's. With the same
    `random_state` it begins with the same weights and takes the same steps, so that both give the same network but for
    rounding. The input's dtype is kept: float32 data make a float32 network. Of sparse features one batch at a time is
    made dense, but all of them for solver="lbfgs", which takes all rows at once. A momentum of 1 is refused. A training
    that diverges ends as scikit-learn's does: with an error, or with early stopping in the best network before.

    Args:
        device: where the network lives: "auto", "cpu", "cuda", "cuda:N" or "sim"; "auto" is the current device (see
            `gn.use_device`), which is a GPU where there is one.

        class_weight: a dict of weights by class label, in which a class that is missing weighs 1; "balanced": a class
            weighs rows / (classes · its rows); None: all weigh 1. They multiply `sample_weight`, also of the rows that
            early stopping holds out. Not for multilabel targets; "balanced" not for `partial_fit`.

    Raises:
        ArgumentError, DataError, DeviceError, DTypeError: by the methods that take data or begin training.
    """

    __init__ = with_parameters(neural_network.MLPClassifier, device="auto", class_weight=None)
    _parameter_constraints = {  # noqa: RUF012
        **neural_network.MLPClassifier._parameter_constraints,
        "device": [str],
        "class_weight": [StrOptions({"balanced"}), dict, None],
    }

    def _fit_stochastic(self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, *rest: Any) -> None:
        if rest[-1] and self.class_weight == "balanced":
            raise ArgumentError(
                "class_weight='balanced' is not for partial_fit, which sees a part of the rows; give a dict of weights."
            )
        super()._fit_stochastic(X, y, self._weigh_classes(y, sample_weight), *rest)

    def _fit_lbfgs(self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, *rest: Any) -> None:
        super()._fit_lbfgs(X, y, self._weigh_classes(y, sample_weight), *rest)

    def _weigh_classes(self, y: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        """Return the weights of the rows (rows,), those of their classes included.

        Args:
            y: (rows, outputs), zeros and ones.
            sample_weight: (rows,) or None.
        """
        if self.class_weight is None:
            return sample_weight
        if self.n_outputs_ > 1 and self.out_activation_ == "logistic":
            raise ArgumentError("class_weight is not for multilabel targets; give sample_weight.")
        labels = y.argmax(axis=1) if self.n_outputs_ > 1 else y[:, 0].astype(np.int64)
        weights = ClassWeights(self.class_weight)
        weights.begin(labels, sample_weight, tuple(map(class_name, self.classes_.tolist())))
        rows: np.ndarray = np.asarray(weights.array)[labels]
        return rows if sample_weight is None else rows * sample_weight

    # For multilabel targets alone, as scikit-learn's checks ask: elsewhere meta-estimators, which prefer logits, would
    # give other numbers than with scikit-learn's own, which has no such method.
    @available_if(lambda self: self.out_activation_ == "logistic" and self.n_outputs_ > 1)  # type: ignore[untyped-decorator]
    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the logits of multilabel targets, (rows, outputs)."""
        return self._raw_outputs(X)


class MLPRegressor(TrainedByGpunet, neural_network.MLPRegressor):  # type: ignore[misc]
    """scikit-learn's `MLPRegressor`, trained by gpunet; all else as for `MLPClassifier`.

    Targets in float64 of which one is beyond ±1e15 make a float64 network, also of float32 data: their squares have no
    place in float32.
    """

    __init__ = with_parameters(neural_network.MLPRegressor, device="auto")
    _parameter_constraints = {**neural_network.MLPRegressor._parameter_constraints, "device": [str]}  # noqa: RUF012

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, np.ndarray]:
        X, y = super()._validate_input(X, y, incremental, reset)
        return X.astype(np.float64) if y.dtype == np.float64 and np.abs(y).max() > LARGEST_OF_FLOAT32 else X, y

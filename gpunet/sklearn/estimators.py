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
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from gpunet.errors import DataError, DTypeError
from gpunet.models.inference import LARGEST_BATCH
from gpunet.ops import softmax
from gpunet.ops.activations import activation_function
from gpunet.sklearn.network import dense
from gpunet.sklearn.solvers import HasSolvers

FLOATS = (np.float64, np.float32)

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


def with_device(estimator: type) -> Callable[..., None]:
    """Return the `__init__` of a scikit-learn estimator with a parameter more: device="auto"."""
    own = inspect.signature(estimator.__init__)  # type: ignore[misc]

    def __init__(self: Any, *args: Any, device: str = "auto", **params: Any) -> None:
        estimator.__init__(self, *args, **params)  # type: ignore[misc]
        self.device = device

    added = inspect.Parameter("device", inspect.Parameter.KEYWORD_ONLY, default="auto")
    __init__.__signature__ = own.replace(parameters=[*own.parameters.values(), added])  # type: ignore[attr-defined]
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

    Raises:
        ArgumentError, DataError, DeviceError, DTypeError: by the methods that take data or begin training.
    """

    __init__ = with_device(neural_network.MLPClassifier)
    _parameter_constraints = {**neural_network.MLPClassifier._parameter_constraints, "device": [str]}  # noqa: RUF012

    # For multilabel targets alone, as scikit-learn's checks ask: elsewhere meta-estimators, which prefer logits, would
    # give other numbers than with scikit-learn's own, which has no such method.
    @available_if(lambda self: self.out_activation_ == "logistic" and self.n_outputs_ > 1)  # type: ignore[untyped-decorator]
    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the logits of multilabel targets, (rows, outputs)."""
        return self._raw_outputs(X)


class MLPRegressor(TrainedByGpunet, neural_network.MLPRegressor):  # type: ignore[misc]
    """scikit-learn's `MLPRegressor`, trained by gpunet; all else as for `MLPClassifier`."""

    __init__ = with_device(neural_network.MLPRegressor)
    _parameter_constraints = {**neural_network.MLPRegressor._parameter_constraints, "device": [str]}  # noqa: RUF012

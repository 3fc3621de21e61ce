"""The estimators: subclasses of scikit-learn's, with gpunet's training and prediction.

Parameters, validation, initial weights, labels and scores are inherited. The private methods `_fit_stochastic`,
`_fit_lbfgs` and `_forward_pass_fast` are overridden, so the tests compare weights and loss curves with scikit-learn's
for every solver.
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
"""Maximum absolute target of a float32 network: its square, times a weight, does not overflow."""

OUTPUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": activation_function("identity"),
    "logistic": activation_function("sigmoid"),
    "softmax": softmax,
    "exp": np.exp,
}


class TrainedByGpunet(HasSolvers):
    """Common base of the estimators: solvers, forward pass, and gpunet's error classes."""

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> np.ndarray:
        return OUTPUTS[self.out_activation_](self._raw_outputs(X, check_input))

    def _raw_outputs(self, X: Any, check_input: bool = True) -> np.ndarray:
        """Return the outputs of the last layer, (rows, outputs)."""
        if check_input:
            with gpunet_errors():
                X = validate_data(self, X, accept_sparse=("csr", "csc"), dtype=FLOATS, reset=False)
        model = self._network_trainer().model
        if not issparse(X):
            return model.outputs(X)
        X = X.tocsr()
        parts = (X[start : start + LARGEST_BATCH] for start in range(0, X.shape[0], LARGEST_BATCH))
        return np.concatenate([model.outputs(dense(part)) for part in parts])

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, np.ndarray]:
        with gpunet_errors():
            checked: tuple[Any, np.ndarray] = super()._validate_input(X, y, incremental, reset)
            return checked


@contextmanager
def gpunet_errors() -> Iterator[None]:
    """Turn errors of scikit-learn's validation into gpunet's error classes."""
    try:
        yield
    except TypeError as error:
        raise DTypeError(str(error)) from error
    except ValueError as error:
        raise DataError(str(error)) from error


def with_parameters(estimator: type, **added: Any) -> Callable[..., None]:
    """Return the `__init__` of a scikit-learn estimator with additional parameters and their defaults."""
    own = inspect.signature(estimator.__init__)  # type: ignore[misc]

    def __init__(self: Any, *args: Any, **params: Any) -> None:
        values = {name: params.pop(name, default) for name, default in added.items()}
        estimator.__init__(self, *args, **params)  # type: ignore[misc]
        vars(self).update(values)

    more = (inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=value) for name, value in added.items())
    __init__.__signature__ = own.replace(parameters=[*own.parameters.values(), *more])  # type: ignore[attr-defined]
    return __init__


class MLPClassifier(TrainedByGpunet, neural_network.MLPClassifier):  # type: ignore[misc]
    """scikit-learn's `MLPClassifier`, trained by gpunet, with gpunet's errors.

    It has the parameters, defaults, methods and attributes of the installed scikit-learn's class. With the same
    `random_state` both train the same network up to rounding. The network has the dtype of the features. Sparse
    features are converted to dense arrays batch by batch, for solver="lbfgs" all at once. A momentum of 1 is refused. A
    training that diverges raises an error, or, with early stopping, keeps the best network so far.

    Args:
        device: as for `gn.use_device`, but "auto" is the current device.
        class_weight: a dict of weights by class label, where missing classes have weight 1; or "balanced", rows /
            (classes · rows of the class). They multiply `sample_weight`, also in the held-out rows of early stopping.
            Multilabel targets are not supported; `partial_fit` does not support "balanced".

    Example:
        >>> from gpunet.sklearn import MLPClassifier
        >>> classifier = MLPClassifier(hidden_layer_sizes=(5,), solver="lbfgs", random_state=0)
        >>> classifier = classifier.fit([[0.0, 0.0], [1.0, 1.0]], ["no", "yes"])
        >>> classifier.predict([[2.0, 2.0], [-1.0, -2.0]])
        array(['yes', 'no'], dtype='<U3')
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
                "partial_fit does not support class_weight='balanced', because it gets only a part of the rows; give a "
                "dict of weights."
            )
        super()._fit_stochastic(X, y, self._weigh_classes(y, sample_weight), *rest)

    def _fit_lbfgs(self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, *rest: Any) -> None:
        super()._fit_lbfgs(X, y, self._weigh_classes(y, sample_weight), *rest)

    def _weigh_classes(self, y: np.ndarray, sample_weight: np.ndarray | None) -> np.ndarray | None:
        """Return the row weights (rows,) multiplied by the class weights; `y` is (rows, outputs) of zeros and ones."""
        if self.class_weight is None:
            return sample_weight
        if self.n_outputs_ > 1 and self.out_activation_ == "logistic":
            raise ArgumentError("class_weight does not support multilabel targets; use sample_weight.")
        labels = y.argmax(axis=1) if self.n_outputs_ > 1 else y[:, 0].astype(np.int64)
        weights = ClassWeights(self.class_weight)
        weights.begin(labels, sample_weight, tuple(map(class_name, self.classes_.tolist())))
        rows: np.ndarray = np.asarray(weights.array)[labels]
        return rows if sample_weight is None else rows * sample_weight

    # Only for multilabel targets, where scikit-learn's estimator checks require it. scikit-learn's own class has no
    # such method, and meta-estimators, which prefer logits, would return different results for other targets.
    @available_if(lambda self: self.out_activation_ == "logistic" and self.n_outputs_ > 1)  # type: ignore[untyped-decorator]
    def decision_function(self, X: ArrayLike) -> np.ndarray:
        """Return the logits of multilabel targets, (rows, outputs)."""
        return self._raw_outputs(X)


class MLPRegressor(TrainedByGpunet, neural_network.MLPRegressor):  # type: ignore[misc]
    """scikit-learn's `MLPRegressor`, trained by gpunet; see `MLPClassifier`.

    If a float64 target is beyond ±1e15, the network is float64 even for float32 features, because the squares would
    overflow in float32.

    Example:
        >>> from gpunet.sklearn import MLPRegressor
        >>> regressor = MLPRegressor(hidden_layer_sizes=(5,), solver="lbfgs", random_state=0)
        >>> regressor = regressor.fit([[0.0], [1.0], [2.0]], [0.0, 2.0, 4.0])
        >>> regressor.predict([[0.0], [2.0]]).round(1)
        array([0., 4.])
    """

    __init__ = with_parameters(neural_network.MLPRegressor, device="auto")
    _parameter_constraints = {**neural_network.MLPRegressor._parameter_constraints, "device": [str]}  # noqa: RUF012

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, np.ndarray]:
        X, y = super()._validate_input(X, y, incremental, reset)
        return X.astype(np.float64) if y.dtype == np.float64 and np.abs(y).max() > LARGEST_OF_FLOAT32 else X, y

"""The estimators: scikit-learn's own, whose training and prediction are gpunet's.

Parameters, validation, the initial weights, labels and scores are inherited from the scikit-learn that is installed. Its
solvers and its forward pass are replaced: `_fit_stochastic`, `_fit_lbfgs` and `_forward_pass_fast` are private there, so
the tests compare weights and loss curves with scikit-learn's, solver by solver.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import issparse
from sklearn import neural_network
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import shuffle
from sklearn.utils.optimize import _check_optimize_result
from sklearn.utils.validation import validate_data

from gpunet.arguments import whole
from gpunet.data import check_weights
from gpunet.device import Device, current_device, get_device, use_device
from gpunet.errors import ArgumentError, DataError, DTypeError
from gpunet.ops.activations import activation_function
from gpunet.ops.softmax import softmax
from gpunet.optimizers import SGD, Adam, Optimizer
from gpunet.schedules import ConstantLR
from gpunet.sklearn.losses import PenalisedLoss, PenalisedMLP
from gpunet.tape import Tape
from gpunet.training import Callback, Trainer
from gpunet.training.history import Row

FLOATS = (np.float64, np.float32)

OUTPUTS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "identity": activation_function("identity"),
    "logistic": activation_function("sigmoid"),
    "softmax": softmax,
    "exp": np.exp,
}


class OrderedTrainer(Trainer):
    """A Trainer whose epochs have scikit-learn's order: each shuffles that of the one before.

    Attributes:
        order: (rows,), that of the last epoch.
        random_state: where shuffles are drawn from.
    """

    order: np.ndarray
    random_state: np.random.RandomState

    def _order(self, shuffled: bool) -> np.ndarray:
        if shuffled:
            self.order = shuffle(self.order, random_state=self.random_state)
        return self.order


class EpochEnd(Callback):
    """Let an estimator look at the loss of each epoch, and say whether to stop."""

    def __init__(self, look: Callable[[float], bool]):
        self.look = look

    def on_epoch_end(self, trainer: Trainer, row: Row) -> None:
        if self.look(row["loss"]):
            trainer.stop("converged")


class TrainedByGpunet:
    """What replaces scikit-learn's solvers and forward pass in its estimators.

    `coefs_` and `intercepts_` are host arrays: on the CPU views of the network's parameters, on a GPU copies that cannot
    be written to. Whoever replaces them by other arrays changes the network.
    """

    def _fit_stochastic(self, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None, *rest: Any) -> None:
        """Train with Adam or SGD; the last of the `rest` says whether for one epoch more, by `partial_fit`."""
        incremental = rest[-1]
        if self.early_stopping and incremental:
            raise ArgumentError("partial_fit does not support early_stopping=True.")
        validation = None
        if self.early_stopping:
            X, y, sample_weight, *validation = self._hold_out(X, y, sample_weight)
        batch_size = min(200, len(X)) if self.batch_size == "auto" else min(self.batch_size, len(X))
        if self.batch_size != "auto" and self.batch_size > len(X):
            warnings.warn("Got `batch_size` larger than the sample size. It is going to be clipped", stacklevel=4)
        trainer = self._network_trainer(fresh=not incremental)
        weight = self._weigh(trainer, sample_weight, len(X))
        trainer.order, trainer.random_state = np.arange(len(X)), self._random_state
        self.n_iter_ = 0
        if incremental:
            self._end_epoch(self._epoch(trainer, X, self._targets(y, X), weight, batch_size), len(X))
        else:
            trainer.callbacks = [EpochEnd(lambda loss: self._end_epoch(loss, len(X), validation))]
            trainer.fit(
                X,
                self._targets(y, X),
                epochs=self.max_iter,
                batch_size=batch_size,
                shuffle=self.shuffle,
                sample_weight=weight,
            )
            if trainer.history.stopped == "interrupted":
                warnings.warn("Training interrupted by user.", stacklevel=4)
            elif trainer.history.stopped is None:
                warnings.warn(
                    f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                    "converged yet.",
                    ConvergenceWarning,
                    stacklevel=4,
                )
        if not np.isfinite(self.loss_):
            raise DataError("the loss is not finite: X or y may hold large values; standardise them first.")
        self._read_weights()
        if self.early_stopping:
            self.coefs_, self.intercepts_ = self._best_coefs, self._best_intercepts

    def _hold_out(self, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None) -> list[Any]:
        """Return X, y and weights of the rows to train on, and then of those to validate on."""
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        arrays = [X, y] if weight is None else [X, y, weight]
        parts = train_test_split(
            *arrays, random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
        )
        if len(parts[1]) < 2:
            raise DataError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        if is_classifier(self):
            parts[3] = self._label_binarizer.inverse_transform(parts[3])
        training, validation = parts[::2], parts[1::2]
        return [*training, None, *validation, None] if weight is None else [*training, *validation]

    def _epoch(
        self, trainer: OrderedTrainer, X: np.ndarray, y: np.ndarray, weight: np.ndarray | None, batch_size: int
    ) -> float:
        """Train on batches that are new to the device, by steps that are recorded once; return their mean loss."""
        trainer.rows = len(X)
        order = trainer._order(self.shuffle)
        losses = []
        for start in range(0, len(X), batch_size):
            rows = order[start : start + batch_size]
            value = trainer.step(X[rows], y[rows], None if weight is None else weight[rows])
            losses.append(value * len(rows))
        return float(trainer.model.device.to_host(sum(losses))) / len(X)

    def _end_epoch(self, loss: float, rows: int, validation: list[Any] | None = None) -> bool:
        """Take note of an epoch's loss as scikit-learn does; say whether to stop."""
        trainer: OrderedTrainer = self._trainer
        self.n_iter_ += 1
        self.t_ += rows
        self.loss_ = loss
        self.loss_curve_.append(loss)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
        if validation:
            self._read_weights()
        self._update_no_improvement_count(validation is not None, *(validation or (None, None, None)))
        sgd = self.solver == "sgd"
        if sgd and self.learning_rate == "invscaling":
            self._set_learning_rate(trainer, self.learning_rate_init / (self.t_ + 1) ** self.power_t)
        if not np.isfinite(loss):
            return True
        if self._no_improvement_count <= self.n_iter_no_change:
            return False
        watched = "Validation score" if validation else "Training loss"
        message = f"{watched} did not improve more than tol={self.tol:f} for {self.n_iter_no_change} consecutive epochs."
        if sgd and self.learning_rate == "adaptive" and self._learning_rate > 1e-6:
            self._set_learning_rate(trainer, self._learning_rate / 5)
            self._no_improvement_count = 0
            message += f" Setting learning rate to {self._learning_rate:f}"
        else:
            message += " Stopping."
        if self.verbose:
            print(message)
        return self._no_improvement_count > 0

    def _set_learning_rate(self, trainer: OrderedTrainer, rate: float) -> None:
        """Go on with another rate. Scikit-learn's velocity is a step, with the rate in it; gpunet's has none."""
        for velocity in trainer.model.store.slots.values():
            velocity *= self._learning_rate / rate
        self._learning_rate = rate
        trainer.optimizer.schedule = ConstantLR(rate)

    def _fit_lbfgs(self, X: np.ndarray, y: np.ndarray, sample_weight: np.ndarray | None, *_: Any) -> None:
        """Minimise over all rows at once with SciPy's L-BFGS; it sees the network's flat buffers."""
        trainer = self._network_trainer(fresh=True)
        model, loss, device = trainer.model, trainer.loss, trainer.model.device
        weight = self._weigh(trainer, sample_weight, len(X))
        store, tape = model.store, Tape()
        x, target = device.asarray(X), device.asarray(loss.check_target(self._targets(y, X), (self.n_outputs_,), X.dtype))
        weight = None if weight is None else device.asarray(weight, X.dtype)

        def value_and_grad(params: np.ndarray) -> tuple[float, np.ndarray]:
            tape.reset()
            device.assign(store.params, params)
            value, slope = loss.value_and_grad(model.forward(x, tape), target, weight, tape)
            model.backward(slope, tape, input_gradient=False)
            return float(device.to_host(value)), device.to_host(store.grads).astype(np.float64)

        options = {"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol}
        with device.activate():
            start = device.to_host(store.params).astype(np.float64)
            found = minimize(value_and_grad, start, method="L-BFGS-B", jac=True, options=options)
            device.assign(store.params, found.x)
        self.n_iter_ = _check_optimize_result("lbfgs", found, self.max_iter)
        self.loss_ = float(found.fun)
        self._read_weights()

    def _targets(self, y: np.ndarray, X: np.ndarray) -> np.ndarray:
        """Return the targets as the loss takes them, from (rows, outputs): class numbers, or floats."""
        return y.argmax(axis=1) if self.out_activation_ == "softmax" else y.astype(X.dtype)

    def _weigh(self, trainer: OrderedTrainer, weight: np.ndarray | None, rows: int) -> np.ndarray | None:
        """Return row weights with a mean of 1, and see to it that the penalty keeps its share."""
        mean = 1.0
        if weight is not None:
            weight = check_weights(weight, rows, "sample_weight")
            mean = float(weight.mean(dtype=np.float64))
            weight = (weight / mean).astype(self.coefs_[0].dtype)
        trainer.loss.penalise(self.alpha / mean)
        return weight

    def _network_trainer(self, *, fresh: bool = False) -> OrderedTrainer:
        """Return the trainer, whose network has the weights of `coefs_` and `intercepts_` on the device asked for.

        Args:
            fresh: whether the optimizer begins anew.
        """
        device = current_device() if self.device == "auto" else get_device(self.device)
        trainer: OrderedTrainer | None = None if fresh else vars(self).get("_trainer")
        if trainer is None or trainer.model.device is not device:
            progress = None if fresh else self._progress()
            if fresh or progress is None:
                self._learning_rate = self.learning_rate_init
            trainer = self._trainer = self._new_trainer(device, progress)
            self._placed: list[np.ndarray] = []
        weights = [*self.coefs_, *self.intercepts_]
        if len(weights) != len(self._placed) or any(a is not b for a, b in zip(weights, self._placed, strict=True)):
            for layer, coef, intercept in zip(trainer.model.layers, self.coefs_, self.intercepts_, strict=True):
                layer.params["weight"], layer.params["bias"] = coef, intercept
            self._placed = weights
        return trainer

    def _new_trainer(self, device: Device, progress: tuple[int, dict[str, np.ndarray]] | None) -> OrderedTrainer:
        hidden = "sigmoid" if self.activation == "logistic" else self.activation
        with use_device(device):
            model = PenalisedMLP([len(self.coefs_[0]), *(coef.shape[1] for coef in self.coefs_)], hidden)
        model.to(dtype=self.coefs_[0].dtype)
        trainer = OrderedTrainer(model, loss=PenalisedLoss(self.out_activation_, model), optimizer=self._optimizer())
        if progress is not None:
            trainer.attach()
            trainer.optimizer.steps, slots = progress
            for name, slot in slots.items():
                device.assign(model.store.slots[name], slot)
        return trainer

    def _optimizer(self) -> Optimizer:
        if self.solver == "sgd":
            nesterov = self.nesterovs_momentum and self.momentum > 0
            return SGD(self._learning_rate, momentum=self.momentum, nesterov=nesterov)
        return Adam(self._learning_rate, betas=(self.beta_1, self.beta_2), eps=self.epsilon)

    def _progress(self) -> tuple[int, dict[str, np.ndarray]] | None:
        """Return the optimizer's steps and its buffers in host memory, if there was a training."""
        trainer = vars(self).get("_trainer")
        if trainer is None:
            return vars(self).get("_unpickled_progress")
        store = trainer.model.store
        return trainer.optimizer.steps, {name: store.device.to_host(a).copy() for name, a in store.slots.items()}

    def _read_weights(self) -> None:
        """Let `coefs_` and `intercepts_` be the network's weights of now."""
        model = self._trainer.model
        for name, attribute in (("weight", "coefs_"), ("bias", "intercepts_")):
            arrays = [layer.params[name] for layer in model.layers]
            setattr(self, attribute, [model.device.to_host(a) for a in arrays])
            for a, host in zip(arrays, getattr(self, attribute), strict=True):
                host.flags.writeable = a is host
        self._placed = [*self.coefs_, *self.intercepts_]

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> np.ndarray:
        if check_input:
            with named_errors(X):
                X = validate_data(self, X, dtype=FLOATS, reset=False)
        return OUTPUTS[self.out_activation_](self._network_trainer().model.outputs(X))

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[np.ndarray, np.ndarray]:
        with named_errors(X):
            return super()._validate_input(X, y, incremental, reset)

    def __getstate__(self) -> dict[str, Any]:
        state = {**super().__getstate__(), "_unpickled_progress": self._progress()}
        return {name: value for name, value in state.items() if name not in ("_trainer", "_placed")}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = False
        return tags


@contextmanager
def named_errors(X: Any) -> Iterator[None]:
    """Refuse sparse features, and raise what scikit-learn's validation finds as gpunet's errors."""
    if issparse(X):
        raise DTypeError("X is a sparse matrix; make it dense first, with X.toarray().")
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
    `random_state` it begins with the same weights and takes the same batches, so that both give the same network but
    for rounding; Adam's `epsilon` stands where PyTorch has it, beside the root of the corrected moment. The input's
    dtype is kept: float32 data make a float32 network. Sparse features are refused.

    Args:
        device: where the network lives: "auto", "cpu", "cuda", "cuda:N" or "sim"; "auto" is the current device (see
            `gn.use_device`), which is a GPU where there is one.

    Raises:
        ArgumentError, DataError, DeviceError, DTypeError: by the methods that take data or begin training.
    """

    __init__ = with_device(neural_network.MLPClassifier)
    _parameter_constraints = {**neural_network.MLPClassifier._parameter_constraints, "device": [str]}  # noqa: RUF012


class MLPRegressor(TrainedByGpunet, neural_network.MLPRegressor):  # type: ignore[misc]
    """scikit-learn's `MLPRegressor`, trained by gpunet; all else as for `MLPClassifier`."""

    __init__ = with_device(neural_network.MLPRegressor)
    _parameter_constraints = {**neural_network.MLPRegressor._parameter_constraints, "device": [str]}  # noqa: RUF012

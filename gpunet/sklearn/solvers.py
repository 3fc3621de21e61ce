"""Training with scikit-learn's rules: batches, loss, learning rates and stopping criteria."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import issparse
from sklearn.base import is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split

from gpunet.arguments import counted
from gpunet.data import check_weights
from gpunet.errors import ArgumentError, DataError, GpunetWarning, warn
from gpunet.schedules import ConstantLR
from gpunet.sklearn.network import HasNetwork, OrderedTrainer, dense
from gpunet.tape import Tape
from gpunet.training import Callback
from gpunet.training.history import Row
from gpunet.training.protocol import Training


class EpochEnd(Callback):
    """Call a function with the loss of each epoch; stop the training if it returns True."""

    def __init__(self, should_stop: Callable[[float], bool]):
        self.should_stop = should_stop

    def on_epoch_end(self, trainer: Training, row: Row) -> None:
        if self.should_stop(row["loss"]):
            trainer.stop("converged")


class HasSolvers(HasNetwork):
    """The methods that override scikit-learn's solvers in its estimators."""

    _no_improvement_count: int

    def _fit_stochastic(self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, *rest: Any) -> None:
        """Train with Adam or SGD; the last of `rest` is True for one epoch of `partial_fit`."""
        incremental = rest[-1]
        if self.early_stopping and incremental:
            raise ArgumentError("partial_fit does not support early_stopping=True.")
        if issparse(X):
            X = X.tocsr()  # for fast row indexing
        validation = None
        if self.early_stopping:
            X, y, sample_weight, *validation = self._hold_out(X, y, sample_weight)
        trainer, rows = self._network_trainer(fresh=not incremental), len(y)
        batch_size = min(200 if self.batch_size == "auto" else self.batch_size, rows)
        if self.batch_size != "auto" and self.batch_size > rows:
            warn("Got `batch_size` larger than the sample size. It is going to be clipped")
        target = self._targets(y, X)
        trainer.begin(rows, self._random_state)
        self.n_iter_ = 0
        with trainer.model.device.activate():
            weight = self._weigh(trainer, sample_weight, rows)
            options = {"batch_size": batch_size, "shuffle": self.shuffle, "sample_weight": weight}
            if incremental:
                self._end_epoch(trainer.run_steps(X, target, **options), rows)
            else:
                self._run_epochs(X, target, lambda loss: self._end_epoch(loss, rows, validation), options)
                self._warn_why_it_ended(trainer.history.stopped)
        if self.early_stopping:
            self.coefs_, self.intercepts_ = self._best_coefs, self._best_intercepts
            self._network_trainer()
        else:
            self._read_weights()
        if not all(np.isfinite(a).all() for a in (*self.coefs_, *self.intercepts_)):
            raise DataError(
                "Solver produced non-finite parameter weights. The input data may contain large values and need to be "
                "preprocessed."
            )

    def _run_epochs(
        self, X: Any, target: np.ndarray, should_stop: Callable[[float], bool], options: dict[str, Any]
    ) -> None:
        """Train for `max_iter` epochs, or until `should_stop` returns True for the loss of an epoch."""
        trainer = self._trainer
        if issparse(X):
            trainer.fit_sparse(X, target, should_stop, epochs=self.max_iter, **options)
            return
        trainer.callbacks = [EpochEnd(should_stop)]
        with warnings.catch_warnings():
            for said in ("gradients were not finite", "rows are NaN"):  # `_end_epoch` handles it
                warnings.filterwarnings("ignore", f".*{said}", GpunetWarning)
            trainer.fit(X, target, epochs=self.max_iter, **options)
        trainer.callbacks = []

    def _warn_why_it_ended(self, stopped: str | None) -> None:
        if stopped == "interrupted":
            warn("Training interrupted by user.")
        elif stopped is None:
            warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the optimization hasn't "
                "converged yet.",
                ConvergenceWarning,
            )

    def _hold_out(self, X: Any, y: np.ndarray, weight: np.ndarray | None) -> list[Any]:
        """Return X, y and weights of the training rows, followed by those of the validation rows."""
        stratify = y if is_classifier(self) and self.n_outputs_ == 1 else None
        arrays = [X, y] if weight is None else [X, y, weight]
        parts = train_test_split(
            *arrays, random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
        )
        if len(parts[3]) < 2:
            raise DataError(
                "The validation set is too small. Increase 'validation_fraction' or the size of your dataset."
            )
        if is_classifier(self):
            parts[3] = self._label_binarizer.inverse_transform(parts[3])
        training, validation = parts[::2], parts[1::2]
        return [*training, None, *validation, None] if weight is None else [*training, *validation]

    def _end_epoch(self, loss: float, rows: int, validation: list[Any] | None = None) -> bool:
        """Record the loss of an epoch as scikit-learn does; return whether to stop."""
        trainer = self._trainer
        if trainer.optimizer.first_skipped:  # scikit-learn would apply this step, and end with NaN
            trainer.model.store.params.fill(np.nan)
        self.n_iter_ += 1
        self.t_ += rows
        self.loss_ = loss
        self.loss_curve_.append(loss)
        if self.verbose:
            print(f"Iteration {self.n_iter_}, loss = {loss:.8f}")
        if validation:
            self._read_weights()
        self._update_no_improvement_count(validation is not None, *(validation or (None, None, None)))
        schedule = self.learning_rate if self.solver == "sgd" else "constant"
        if schedule == "invscaling":
            self._set_learning_rate(self.learning_rate_init / (self.t_ + 1) ** self.power_t)
        if self._no_improvement_count <= self.n_iter_no_change:
            return False
        stop, what = True, "Stopping."
        if schedule == "adaptive" and self._trainer.optimizer.lr > 1e-6:
            self._set_learning_rate(self._trainer.optimizer.lr / 5)
            self._no_improvement_count = 0
            stop, what = False, f"Setting learning rate to {self._trainer.optimizer.lr:f}"
        if self.verbose:
            watched = "Validation score" if validation else "Training loss"
            epochs = f"{self.n_iter_no_change} consecutive epochs"
            print(f"{watched} did not improve more than tol={self.tol:f} for {epochs}. {what}")
        return stop

    def _set_learning_rate(self, rate: float) -> None:
        """Set the learning rate, and rescale the velocity, which scikit-learn stores multiplied by the old rate."""
        optimizer, store = self._trainer.optimizer, self._trainer.model.store
        for velocity in store.slots.values():
            velocity *= optimizer.lr / rate
        optimizer.schedule = ConstantLR(rate)

    def _fit_lbfgs(self, X: Any, y: np.ndarray, sample_weight: np.ndarray | None, *_: Any) -> None:
        """Minimise the loss over all rows with SciPy's L-BFGS, on the network's flat buffers."""
        trainer = self._network_trainer(fresh=True)
        model, loss, device = trainer.model, trainer.loss, trainer.model.device
        store, tape = model.store, Tape()
        targets = loss.check_target(self._targets(y, X), (self.n_outputs_,), model.dtype)
        x, target = device.asarray(dense(X), model.dtype), device.asarray(targets)

        def value_and_grad(params: np.ndarray) -> tuple[float, np.ndarray]:
            tape.reset()
            device.assign(store.params, params)
            value, slope = loss.value_and_grad(model.forward(x, tape), target, weight, tape)
            model.backward(slope, tape, input_gradient=False)
            return float(device.to_host(value)), device.to_host(store.grads).astype(np.float64)

        options = {"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol}
        with device.activate():
            weight = self._weigh(trainer, sample_weight, len(y))
            weight = None if weight is None else device.asarray(weight)
            start = device.to_host(store.params).astype(np.float64)
            found = minimize(value_and_grad, start, method="L-BFGS-B", jac=True, options=options)
            device.assign(store.params, found.x)
        self.n_iter_ = min(found.nit, self.max_iter)
        if found.status:
            warn(
                f"lbfgs failed to converge after {counted(self.n_iter_, 'iteration')}: {found.message}. Increase "
                f"max_iter ({self.max_iter}) or max_fun ({self.max_fun}), or scale the features.",
                ConvergenceWarning,
            )
        self.loss_ = float(found.fun)
        self._read_weights()

    def _targets(self, y: np.ndarray, X: Any) -> np.ndarray:
        """Convert targets (rows, outputs) for the loss: to class indices (rows,), or to the dtype of X."""
        return y.argmax(axis=1) if self.out_activation_ == "softmax" else y.astype(X.dtype)

    def _weigh(self, trainer: OrderedTrainer, weight: np.ndarray | None, rows: int) -> np.ndarray | None:
        """Return row weights scaled to a mean of 1; scale the penalty by the same factor."""
        mean = 1.0
        if weight is not None:
            weight = check_weights(weight, rows, "sample_weight")
            mean = float(weight.mean(dtype=np.float64))
            weight = (weight / mean).astype(self.coefs_[0].dtype)
        trainer.loss.penalise(self.alpha / mean)
        return weight

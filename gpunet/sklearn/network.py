"""The network of an estimator: built from its weights, stored on its device, excluded from its pickle."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn import utils
from sklearn.base import BaseEstimator

from gpunet.default_device import current_device, use_device
from gpunet.device import Device, get_device
from gpunet.optimizers import SGD, Optimizer
from gpunet.sklearn.adam import UncorrectedAdam
from gpunet.sklearn.losses import PenalisedLoss, PenalisedMLP
from gpunet.training import Trainer
from gpunet.training.interrupts import interruptible


class OrderedTrainer(Trainer):
    """A Trainer with scikit-learn's order of rows: each epoch shuffles the order of the previous one."""

    model: PenalisedMLP
    loss: PenalisedLoss
    activation: str
    """scikit-learn's name of the hidden layers' activation."""

    def begin(self, rows: int, random_state: np.random.RandomState) -> None:
        """Start with the rows in their original order; shuffles draw from `random_state`."""
        self._last_order, self._random_state = np.arange(rows), random_state

    def order(self, rows: int, shuffle: bool) -> np.ndarray:
        if shuffle:
            self._last_order = utils.shuffle(self._last_order, random_state=self._random_state)
        return self._last_order

    def fit_sparse(
        self, X: Any, y: np.ndarray, should_stop: Callable[[float], bool], *, epochs: int, **options: Any
    ) -> None:
        """Train like `fit` on CSR features, and convert only one batch at a time to a dense array.

        `should_stop`, called with the loss of each epoch, returns whether to stop; `options` are those of `run_steps`.
        """
        self.history.stopped = None
        with interruptible(self.stop):
            for _ in range(epochs):
                if should_stop(self.run_steps(X, y, **options)):
                    self.stop("converged")
                if self.history.stopped:
                    return

    def run_steps(
        self, X: Any, y: np.ndarray, *, batch_size: int, shuffle: bool, sample_weight: np.ndarray | None
    ) -> float:
        """Run an epoch with `step`, which reuses its recorded step for later data; return the mean loss.

        Features are (rows, features), dense or CSR; row weights (rows,).
        """
        order, losses = self.order(len(y), shuffle), []
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            value = self.step(dense(X[rows]), y[rows], None if sample_weight is None else sample_weight[rows])
            losses.append(value * len(rows))
        return float(self.model.device.to_host(sum(losses[1:], start=losses[0]))) / len(order)


def dense(X: Any) -> np.ndarray:
    """Return dense or sparse features as an array."""
    array: np.ndarray = X.toarray() if issparse(X) else X
    return array


class HasNetwork(BaseEstimator):  # type: ignore[misc]
    """An estimator whose weights are also the parameters of a network on a device.

    `coefs_` and `intercepts_` are host arrays: on the CPU views of the network's parameters, on a GPU read-only copies.
    Assigning others changes the network.
    """

    def _network_trainer(self, *, fresh: bool = False) -> OrderedTrainer:
        """Return the trainer of a network with the weights in `coefs_` and `intercepts_`.

        If the device or the activation has changed, a new trainer continues with the optimizer's state.

        Args:
            fresh: whether to start with a new optimizer.
        """
        device = current_device() if self.device == "auto" else get_device(self.device)
        trainer: OrderedTrainer | None = None if fresh else vars(self).get("_trainer")
        if trainer is None or trainer.model.device is not device or trainer.activation != self.activation:
            trainer = self._trainer = self._new_trainer(device, None if fresh else self._progress())
            self._placed: list[np.ndarray] = []
        weights = [*self.coefs_, *self.intercepts_]
        if len(weights) != len(self._placed) or any(a is not b for a, b in zip(weights, self._placed, strict=True)):
            for layer, coef, intercept in zip(trainer.model.layers, self.coefs_, self.intercepts_, strict=True):
                layer.params["weight"], layer.params["bias"] = coef, intercept
            self._read_weights()
        return trainer

    def _new_trainer(self, device: Device, progress: tuple[Optimizer, dict[str, np.ndarray]] | None) -> OrderedTrainer:
        """Return a trainer of a network with the shapes of `coefs_`; its optimizer continues from `progress`."""
        hidden = "sigmoid" if self.activation == "logistic" else self.activation
        optimizer, slots = progress or (self._new_optimizer(), {})
        with use_device(device), device.activate():
            model = PenalisedMLP([len(self.coefs_[0]), *(coef.shape[1] for coef in self.coefs_)], hidden)
            model.to(dtype=self.coefs_[0].dtype)
            trainer = OrderedTrainer(model, loss=PenalisedLoss(self.out_activation_, model), optimizer=optimizer)
            trainer.activation = self.activation
            steps, schedule = optimizer.steps, optimizer.schedule
            trainer.attach()
            optimizer.steps, optimizer.schedule = steps, schedule
            for name, slot in slots.items():
                device.assign(model.store.slots[name], slot)
        return trainer

    def _new_optimizer(self) -> Optimizer:
        if self.solver == "sgd":
            nesterov = self.nesterovs_momentum and self.momentum > 0
            return SGD(self.learning_rate_init, momentum=self.momentum, nesterov=nesterov)
        return UncorrectedAdam(self.learning_rate_init, (self.beta_1, self.beta_2), self.epsilon)

    def _progress(self) -> tuple[Optimizer, dict[str, np.ndarray]] | None:
        """Return a copy of the optimizer and host copies of its slots; None before the first training."""
        trainer = vars(self).get("_trainer")
        if trainer is None:
            return vars(self).get("_unpickled_progress")
        store = trainer.model.store
        return copy.copy(trainer.optimizer), {name: store.device.to_host(a).copy() for name, a in store.slots.items()}

    def _read_weights(self) -> None:
        """Set `coefs_` and `intercepts_` to the network's current weights."""
        model = self._trainer.model
        for name, attribute in (("weight", "coefs_"), ("bias", "intercepts_")):
            arrays = [layer.params[name] for layer in model.layers]
            setattr(self, attribute, [model.device.to_host(a) for a in arrays])
            for a, host in zip(arrays, getattr(self, attribute), strict=True):
                host.flags.writeable = a is host
        self._placed = [*self.coefs_, *self.intercepts_]

    def __getstate__(self) -> dict[str, Any]:
        state = {**super().__getstate__(), "_unpickled_progress": self._progress()}
        return {name: value for name, value in state.items() if name not in ("_trainer", "_placed")}

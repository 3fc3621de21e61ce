"""The network of an estimator: made for its weights, kept on its device, left out of its pickle."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.sparse import issparse
from sklearn import utils
from sklearn.base import BaseEstimator

from gpunet.device import Device, current_device, get_device, use_device
from gpunet.optimizers import SGD, Optimizer
from gpunet.sklearn.adam import UncorrectedAdam
from gpunet.sklearn.losses import PenalisedLoss, PenalisedMLP
from gpunet.training import Trainer
from gpunet.training.interrupts import interruptible


class OrderedTrainer(Trainer):
    """A Trainer whose epochs have scikit-learn's order: each shuffles that of the one before."""

    model: PenalisedMLP
    loss: PenalisedLoss
    activation: str
    """scikit-learn's name of what the hidden layers apply."""

    def begin(self, rows: int, random_state: np.random.RandomState) -> None:
        """Begin with the rows in their order; shuffles are drawn from `random_state`."""
        self._last_order, self._random_state = np.arange(rows), random_state

    def order(self, rows: int, shuffle: bool) -> np.ndarray:
        if shuffle:
            self._last_order = utils.shuffle(self._last_order, random_state=self._random_state)
        return self._last_order

    def fit_sparse(self, X: Any, y: np.ndarray, look: Callable[[float], bool], *, epochs: int, **options: Any) -> None:
        """Train as `fit` does on features in CSR, of which no more than a batch is ever dense.

        Args:
            X: (rows, features), sparse.
            y: targets as the loss takes them.
            look: looks at the loss of each epoch, and says whether to stop.
            epochs: how many at most.
            options: what `run_steps` takes.
        """
        self.history.stopped = None
        with interruptible(self.stop):
            for _ in range(epochs):
                if look(self.run_steps(X, y, **options)):
                    self.stop("converged")
                if self.history.stopped:
                    return

    def run_steps(
        self, X: Any, y: np.ndarray, *, batch_size: int, shuffle: bool, sample_weight: np.ndarray | None
    ) -> float:
        """Run an epoch by `step`, whose record serves the next data too; return the mean loss.

        Args:
            X: (rows, features), dense or in CSR.
            y: targets as the loss takes them.
            batch_size: rows a step.
            shuffle: whether to shuffle the rows.
            sample_weight: (rows,) or None.
        """
        order, losses = self.order(len(y), shuffle), []
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            value = self.step(dense(X[rows]), y[rows], None if sample_weight is None else sample_weight[rows])
            losses.append(value * len(rows))
        return float(self.model.device.to_host(sum(losses[1:], start=losses[0]))) / len(order)


def dense(X: Any) -> np.ndarray:
    """Return features as an array, also sparse ones."""
    array: np.ndarray = X.toarray() if issparse(X) else X
    return array


class HasNetwork(BaseEstimator):  # type: ignore[misc]
    """An estimator whose weights also live in a network on a device.

    `coefs_` and `intercepts_` are host arrays: on the CPU views of the network's parameters, on a GPU copies that
    cannot be written to. Whoever replaces them by other arrays changes the network.
    """

    def _network_trainer(self, *, fresh: bool = False) -> OrderedTrainer:
        """Return the trainer, whose network has the weights of `coefs_` and `intercepts_`.

        Where the device or the activation that is asked for has changed, another goes on in its place.

        Args:
            fresh: whether the optimizer begins anew.
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
        """Return a trainer for a network of the shapes of `coefs_`, whose optimizer goes on from `progress`."""
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
        """Return a copy of the optimizer and of its buffers, in host memory, if there was a training."""
        trainer = vars(self).get("_trainer")
        if trainer is None:
            return vars(self).get("_unpickled_progress")
        store = trainer.model.store
        return copy.copy(trainer.optimizer), {name: store.device.to_host(a).copy() for name, a in store.slots.items()}

    def _read_weights(self) -> None:
        """Let `coefs_` and `intercepts_` be the network's weights of now."""
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

"""The network of an estimator: made for its weights, kept on its device, left out of its pickle."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import shuffle

from gpunet.device import Device, current_device, get_device, use_device
from gpunet.optimizers import SGD, Adam, Optimizer
from gpunet.sklearn.losses import PenalisedLoss, PenalisedMLP
from gpunet.training import Trainer

Progress = tuple[int, dict[str, np.ndarray]]
"""How far an optimizer came: its steps, and its buffers by name, in host memory."""


class OrderedTrainer(Trainer):
    """A Trainer whose epochs have scikit-learn's order: each shuffles that of the one before.

    Attributes:
        model: what it trains.
        loss: with the penalty.
        order: (rows,), that of the last epoch.
        random_state: where shuffles are drawn from.
    """

    model: PenalisedMLP
    loss: PenalisedLoss
    order: np.ndarray
    random_state: np.random.RandomState

    def _order(self, shuffled: bool) -> np.ndarray:
        if shuffled:
            self.order = shuffle(self.order, random_state=self.random_state)
        return self.order


class HasNetwork(BaseEstimator):  # type: ignore[misc]
    """An estimator whose weights also live in a network on a device.

    `coefs_` and `intercepts_` are host arrays: on the CPU views of the network's parameters, on a GPU copies that
    cannot be written to. Whoever replaces them by other arrays changes the network.
    """

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

    def _new_trainer(self, device: Device, progress: Progress | None) -> OrderedTrainer:
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

    def _progress(self) -> Progress | None:
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

    def __getstate__(self) -> dict[str, Any]:
        state = {**super().__getstate__(), "_unpickled_progress": self._progress()}
        return {name: value for name, value in state.items() if name not in ("_trainer", "_placed")}

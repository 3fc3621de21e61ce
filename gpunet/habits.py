"""Attribute and argument names from PyTorch, Keras and scikit-learn, with the gpunet equivalent for error messages."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from gpunet.errors import UnknownArgumentError

P = ParamSpec("P")
T = TypeVar("T")

_TRAINS = "gn.Trainer(model).fit(X, y) trains a classifier, gn.Trainer(model, loss='mse').fit(X, y) a regression"
_MODES = (
    f"there are no train/eval modes: use model.forward(x, tape) in a training step, model(x) for inference; {_TRAINS}"
)
_MOVES = "model.to('cuda') and model.to('cpu') move a model"
_FILES = "trainer.save(path) saves a training, gn.Trainer.resume(path) continues it"

HABITS = {
    "backward": "value, gradient = loss.value_and_grad(model.forward(x, tape), y, tape=tape), then "
    f"model.backward(gradient, tape); {_TRAINS}",
    "compile": f"give the loss, the optimizer and the metrics to a Trainer: {_TRAINS}",
    "cpu": _MOVES,
    "cuda": _MOVES,
    "eval": _MODES,
    "fit": _TRAINS,
    "load_state_dict": "gn.load(path) reads a model, gn.interop.load_torch(model, weights) copies PyTorch's weights",
    "named_parameters": "model.parameters() returns a dict of the weights by name",
    "state_dict": "model.parameters() returns the weights by name; model.save(path) and trainer.save(path) write files",
    "train": _MODES,
    "zero_grad": "not needed: model.backward(gradient, tape) overwrites the gradients",
}
"""gpunet equivalents of attributes that its classes do not have."""

OF_PACKAGE = {
    "Loss": "losses derive from gn.losses.Loss and define task and value_and_grad, as in gpunet/layers/README.md",
    "Module": "layers derive from gn.Layer, and gn.Sequential(...) chains layers",
    "Optimizer": "optimizers derive from gn.optimizers.Optimizer and define update_block (gpunet/optimizers/README.md)",
    "Parameter": "a layer gives its parameters to gn.Layer: super().__init__({'weight': array})",
    "Schedule": "schedules derive from gn.schedules.Schedule and define __call__ (gpunet/optimizers/README.md)",
    "nn": "layers and losses are in gpunet itself: gn.Linear, gn.MSELoss",
    "no_grad": "not needed: model(x) computes no gradients",
    "onnx": "gn.interop.to_onnx(model, path) writes an ONNX file",
    "optim": "optimizers are in gpunet itself: gn.Adam, gn.SGD; a Trainer attaches them to its model",
}
"""gpunet equivalents of names that the package does not have."""

OF_CLASSES = {
    "Trainer": {
        "compile": "pass Trainer(model, loss=..., optimizer=..., metrics=...), or set trainer.loss = ... later",
        "eval": "trainer.evaluate(X, y) returns the loss and the metrics",
        "load_state_dict": _FILES,
        "state_dict": _FILES,
        "train": "trainer.fit(X, y) trains",
    },
    "Tape": {
        "load": "use tape.restore(layer)",
        "saved": "use tape.restore(layer)",
    },
    "Optimizer": {
        "load_state_dict": f"optimizer.restore(state) restores its state, without the arrays; {_FILES}",
        "state_dict": f"optimizer.state() returns its state, without the arrays; {_FILES}",
    },
}
"""Equivalents that are specific to a class and the classes derived from it."""

_RATE = "give it to the optimizer as lr=: gn.Adam(lr=0.001)"

ARGUMENTS = {
    "batchsize": "write batch_size=",
    "callbacks": "give them to the Trainer: gn.Trainer(model, callbacks=[...])",
    "class_weight": "give it to the loss: gn.Trainer(model, loss=gn.CrossEntropyLoss(class_weight='balanced'))",
    "criterion": "write loss=",
    "learning_rate": _RATE,
    "lr": _RATE,
    "metrics": "give them to the Trainer: gn.Trainer(model, metrics={'auc': gn.metrics.roc_auc})",
    "params": "make the optimizer without parameters; the Trainer attaches it to its model",
    "rng": "gn.Trainer and gn.MLP take seed=, a layer such as gn.Linear takes rng=",
    "validation_data": "write validation=(X, y)",
    "validation_split": "write validation=0.2 to hold out a share of the rows",
    "verbose": "gn.Trainer(model, callbacks=[gn.ProgressBar()]) shows progress",
}
"""gpunet equivalents of arguments that its calls do not have."""


def equivalent_of(cls: type, name: str) -> str | None:
    """Return the gpunet equivalent of an attribute that `cls` does not have; None if it is not in the tables."""
    own = (OF_CLASSES[base.__name__] for base in cls.__mro__ if base.__name__ in OF_CLASSES)
    return next((answers[name] for answers in own if name in answers), HABITS.get(name))


def check_arguments(call: Callable[..., Any], name: str, args: tuple[Any, ...], given: Mapping[str, Any]) -> None:
    """Raise `UnknownArgumentError`, with the gpunet equivalent, for arguments that `call` does not take."""
    try:
        inspect.signature(call).bind(*args, **given)
    except TypeError as error:
        known = inspect.signature(call).parameters
        answers = (f": {ARGUMENTS[key]}" for key in given if key in ARGUMENTS and key not in known)
        raise UnknownArgumentError(f"{name} {error}{next(answers, '')}.") from None


def explains_unknown_arguments(call: Callable[P, T]) -> Callable[P, T]:
    """Decorate a public method: explain the gpunet equivalent of an argument of another framework."""

    @functools.wraps(call)
    def answering(*args: P.args, **given: P.kwargs) -> T:
        if len(args) < 2 or not ARGUMENTS.keys().isdisjoint(given):  # otherwise Python's own errors are clear
            check_arguments(call, call.__name__, args, given)
        return call(*args, **given)

    return answering

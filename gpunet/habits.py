"""What users of PyTorch, Keras and scikit-learn type by habit, and how it is done here."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from gpunet.errors import UnknownArgumentError

P = ParamSpec("P")
T = TypeVar("T")

_TRAINS = "gn.Trainer(model).fit(X, y) trains a classifier, gn.Trainer(model, loss='mse').fit(X, y) a regression"
_MODES = f"there are no modes: model.forward(x, tape) is for a training step, model(x) for inference; {_TRAINS}"
_MOVES = "model.to('cuda') and model.to('cpu') move a model"
_FILES = "trainer.save(path) writes all of a training, gn.Trainer.resume(path) continues it"

HABITS = {
    "backward": "value, gradient = loss.value_and_grad(model.forward(x, tape), y, tape=tape), then "
    f"model.backward(gradient, tape); {_TRAINS}",
    "compile": f"a Trainer has the loss, the optimizer and the metrics: {_TRAINS}",
    "cpu": _MOVES,
    "cuda": _MOVES,
    "eval": _MODES,
    "fit": _TRAINS,
    "load_state_dict": "gn.load(path) reads a model, gn.interop.load_torch(model, weights) takes PyTorch's weights",
    "state_dict": "model.parameters() has the weights by name; model.save(path) and trainer.save(path) write files",
    "train": _MODES,
    "zero_grad": "model.backward(gradient, tape) overwrites the gradients, it does not add to them",
}
"""How it is done here, by the names of attributes that gpunet's classes do not have."""

OF_CLASSES = {
    "Trainer": {
        "compile": "Trainer(model, loss=..., optimizer=..., metrics=...) takes these; trainer.loss = ... sets another",
        "eval": "trainer.evaluate(X, y) returns the loss and the metrics",
        "load_state_dict": _FILES,
        "state_dict": _FILES,
        "train": "trainer.fit(X, y) trains",
    },
    "Optimizer": {
        "load_state_dict": f"optimizer.restore(state) takes back its own state, without the arrays; {_FILES}",
        "state_dict": f"optimizer.state() has its own state, without the arrays; {_FILES}",
    },
}
"""The same for a class and those derived from it, where the answer is another one."""

ARGUMENTS = {
    "callbacks": "a Trainer has them: gn.Trainer(model, callbacks=[...])",
    "class_weight": "the loss has it: gn.Trainer(model, loss=gn.CrossEntropyLoss(class_weight='balanced'))",
    "criterion": "write loss=",
    "learning_rate": "write lr=",
    "metrics": "a Trainer has them: gn.Trainer(model, metrics={'auc': gn.metrics.roc_auc})",
    "params": "an optimizer is made without parameters, and a Trainer attaches it to its model",
    "validation_data": "write validation=(X, y)",
    "validation_split": "write validation=0.2 to hold out a share of the rows",
    "verbose": "gn.Trainer(model, callbacks=[gn.ProgressBar()]) shows progress",
}
"""How it is done here, by the names of arguments that gpunet's calls do not have."""


def habit(cls: type, name: str) -> str | None:
    """Return how it is done here, where a class has no attribute of that name; None where nobody has such a habit."""
    own = (OF_CLASSES[base.__name__] for base in cls.__mro__ if base.__name__ in OF_CLASSES)
    return next((answers[name] for answers in own if name in answers), HABITS.get(name))


def check_arguments(call: Callable[..., Any], name: str, args: tuple[Any, ...], given: Mapping[str, Any]) -> None:
    """Refuse arguments that do not fit a call, and say how it is done here.

    Args:
        call: what is called.
        name: what an error calls it.
        args: the arguments by position.
        given: those by name.

    Raises:
        UnknownArgumentError: they do not fit.
    """
    try:
        inspect.signature(call).bind(*args, **given)
    except TypeError as error:
        known = inspect.signature(call).parameters
        answers = (f": {ARGUMENTS[key]}" for key in given if key in ARGUMENTS and key not in known)
        raise UnknownArgumentError(f"{name} {error}{next(answers, '')}.") from None


def answers_habits(call: Callable[P, T]) -> Callable[P, T]:
    """Decorate a public method: where an argument's name is another framework's, say how it is done here."""

    @functools.wraps(call)
    def answering(*args: P.args, **given: P.kwargs) -> T:
        if len(args) < 2 or not ARGUMENTS.keys().isdisjoint(given):  # else Python's own errors serve
            check_arguments(call, call.__name__, args, given)
        return call(*args, **given)

    return answering

"""Check the settings of a Trainer, in its constructor and when an attribute is set."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar, get_args

import numpy as np

from gpunet.arguments import listed, real, shown, whole
from gpunet.errors import ArgumentError
from gpunet.habits import OF_PACKAGE
from gpunet.layers.batch_norm import BatchNorm
from gpunet.losses import LOSSES_BY_NAME, Loss, Task
from gpunet.models import Model
from gpunet.ops._matmul_plan import PRECISIONS
from gpunet.optimizers import OPTIMIZERS, Optimizer
from gpunet.training.callbacks import Callback
from gpunet.training.metrics import Metric, what_it_takes
from gpunet.training.protocol import Training
from gpunet.training.step import EXECUTORS
from gpunet.versions import parts

SETTINGS = {"model", "loss", "optimizer", "seed", "executor", "precision", "ranks", "ema", "accumulate"}
"""Attributes of a Trainer that its recorded steps depend on."""

OPTIMIZERS_BY_NAME = {name.lower(): kind for name, kind in OPTIMIZERS.items()}

T = TypeVar("T")


def as_loss(loss: Any) -> Loss:
    """Return a loss, or the one of a name, with its defaults; the case of the name does not matter.

    Raises:
        ArgumentError: neither a loss nor a known name.
    """
    checked = _named("loss", loss, Loss, LOSSES_BY_NAME)
    task = getattr(checked, "task", None)
    if task not in get_args(Task):
        raise ArgumentError(
            f"Trainer: {type(checked).__name__} needs an attribute `task`, the task of a model trained with it: "
            f"{listed(get_args(Task))}, got {task!r}."
        )
    return checked


def as_optimizer(optimizer: Any) -> Optimizer:
    """Return an optimizer, or the one of a name, like `as_loss`."""
    return _named("optimizer", optimizer, Optimizer, OPTIMIZERS_BY_NAME)


def _named(what: str, given: Any, kind: type[T], names: Mapping[str, type[T]]) -> T:
    if isinstance(given, str) and given.lower() in names:
        return names[given.lower()]()
    if isinstance(given, str):
        raise ArgumentError(f"Trainer: {what} must be {listed(names)}, or an object of its class, got {given!r}.")
    return _of_kind(what, given, kind)


def _of_kind(what: str, given: Any, kind: type[T]) -> T:
    if isinstance(given, type) and issubclass(given, kind):
        raise ArgumentError(f"Trainer: {what} must be an object, not a class: write {given.__name__}(...).")
    if not isinstance(given, kind):
        name = kind.__name__
        hint = f": {OF_PACKAGE[name]}" if name in OF_PACKAGE else ""
        raise ArgumentError(f"Trainer: {what} must be a `{name}`, got {shown(given)}{hint}.")
    return given


def _model(model: Any) -> Model:
    return _of_kind("model", model, Model)


def _callbacks(callbacks: Any) -> list[Callback]:
    """Return the callbacks sorted by `order`."""
    if isinstance(callbacks, Callback) or not isinstance(callbacks, Iterable):
        raise ArgumentError("Trainer: callbacks must be a sequence, such as [gn.ProgressBar()].")
    return sorted((_of_kind("callbacks", one, Callback) for one in callbacks), key=lambda callback: callback.order)


def _metrics(metrics: Any) -> dict[str, Metric]:
    functions = metrics.values() if isinstance(metrics, Mapping) else [metrics]
    if not all(callable(function) and not isinstance(function, Loss) for function in functions):
        raise ArgumentError(
            "Trainer: metrics must map names to functions (target, prediction), as in "
            f"{{'accuracy': gn.metrics.accuracy}}, got {shown(metrics)}."
        )
    for metric in functions:
        what_it_takes(metric)  # raises for an unsupported metric
    return dict(metrics)


def _seed(seed: Any) -> int:
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise ArgumentError(f"Trainer: seed must be a whole number from 0 to 2**64 - 1, got {seed!r}.")
    return int(seed)


def _one_of(name: str, choices: Iterable[str]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value not in choices:
            raise ArgumentError(f"Trainer: {name} must be {listed(choices)}, got {shown(value)}.")
        return value

    return check


def _ema(decay: Any) -> float | None:
    return None if decay is None else real("Trainer: ema", decay, 0, 1, closed="left")


def _accumulate(batches: Any) -> int:
    return whole("Trainer: accumulate", batches)


CHECKS: Mapping[str, Callable[[Any], Any]] = {
    "model": _model,
    "loss": as_loss,
    "optimizer": as_optimizer,
    "callbacks": _callbacks,
    "metrics": _metrics,
    "seed": _seed,
    "executor": _one_of("executor", EXECUTORS),
    "precision": _one_of("precision", PRECISIONS),
    "ema": _ema,
    "accumulate": _accumulate,
}
"""Functions that check and convert a new value of a Trainer's attribute; they raise `ArgumentError`."""


def check_together(training: Training) -> None:
    """Raise `ArgumentError` for `ema` with an overridden `step`, or `accumulate` with batch norm."""
    if training.ema is not None and training.optimizer.has_own_step:
        raise ArgumentError(
            f"Trainer: ema does not work with {training.optimizer!r}, which overrides `step`; define `update_block` "
            "instead."
        )
    for part in parts(training.model) if training.accumulate > 1 else ():
        if isinstance(part, BatchNorm) and part.uses_batch:
            raise ArgumentError(
                f"Trainer: with accumulate={training.accumulate} {part!r} would normalise over each batch separately, "
                "not over all rows of an update; use LayerNorm, a larger batch_size, or freeze it."
            )

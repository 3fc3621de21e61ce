"""The checks of a Trainer's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from gpunet.arguments import listed, real, shown, whole
from gpunet.errors import ArgumentError
from gpunet.layers.batch_norm import BatchNorm
from gpunet.losses import LOSSES_BY_NAME, Loss
from gpunet.models import Model
from gpunet.optimizers import OPTIMIZERS, Optimizer
from gpunet.training.callbacks import Callback
from gpunet.training.metrics import what_it_takes
from gpunet.training.step import EXECUTORS
from gpunet.versions import parts

PRECISIONS = ("float32", "tf32")

SETTINGS = {"model", "loss", "optimizer", "seed", "executor", "precision", "ranks", "ema", "accumulate"}
"""Attributes of a Trainer that its steps are made of."""


OPTIMIZERS_BY_NAME = {name.lower(): kind for name, kind in OPTIMIZERS.items()}

T = TypeVar("T")


def as_loss(loss: Loss | str) -> Loss:
    """Return the loss of a name, with its defaults, in lower or upper case; all else as it is.

    Raises:
        ArgumentError: an unknown name; the message lists those there are.
    """
    return _named("loss", loss, LOSSES_BY_NAME)


def as_optimizer(optimizer: Optimizer | str) -> Optimizer:
    """Return the optimizer of a name, as `as_loss` does."""
    return _named("optimizer", optimizer, OPTIMIZERS_BY_NAME)


def _named(what: str, given: T | str, kinds: Mapping[str, type[T]]) -> T:
    if not isinstance(given, str):
        return given
    if given.lower() not in kinds:
        raise ArgumentError(f"Trainer: {what} must be {listed(kinds)}, or an object of its class, got {given!r}.")
    return kinds[given.lower()]()


def check_settings(
    model: Any,
    loss: Any,
    optimizer: Any,
    callbacks: Any,
    metrics: Any,
    seed: Any,
    executor: Any,
    precision: Any,
    ema: Any,
    accumulate: Any,
) -> None:
    """Refuse settings that make no sense; their documentation is at `Trainer`.

    Raises:
        ArgumentError: names the setting, what was given and what it takes.
    """
    for name, value, choices in (("executor", executor, EXECUTORS), ("precision", precision, PRECISIONS)):
        if value not in choices:
            raise ArgumentError(f"Trainer: {name} must be {listed(choices)}, got {shown(value)}.")
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise ArgumentError(f"Trainer: seed must be a whole number from 0 to 2**64 - 1, got {seed!r}.")
    if isinstance(callbacks, Callback):
        raise ArgumentError("Trainer: callbacks takes a sequence of them, such as [gn.ProgressBar()].")
    functions = (metrics or {}).values() if isinstance(metrics, Mapping | None) else [metrics]
    if not all(callable(function) and not isinstance(function, Loss) for function in functions):
        raise ArgumentError(
            "Trainer: metrics takes functions (target, prediction) by name, as in "
            f"{{'accuracy': gn.metrics.accuracy}}, got {shown(metrics)}."
        )
    for metric in (metrics or {}).values():
        what_it_takes(metric)  # or raise
    for name, value, kind in (
        ("model", model, Model),
        ("loss", loss, Loss),
        ("optimizer", optimizer, Optimizer),
        *(("callbacks", callback, Callback) for callback in callbacks),
    ):
        if not isinstance(value, kind):
            raise ArgumentError(f"Trainer: {name} takes a `{kind.__name__}`, got {shown(value)}.")
    if ema is not None:
        real("Trainer: ema", ema, 0, 1, closed="left")
        if optimizer.has_own_step:
            raise ArgumentError(f"Trainer: ema follows gpunet's update, and {optimizer!r} has a `step` of its own.")
    check_accumulate(model, accumulate)


def check_accumulate(model: Model, accumulate: Any) -> None:
    """Refuse to sum the gradients of batches over whose rows a layer normalises.

    Raises:
        ArgumentError: there is one; or `accumulate` is no number of batches.
    """
    for part in parts(model) if whole("Trainer: accumulate", accumulate) > 1 else ():
        if isinstance(part, BatchNorm) and part.uses_batch:
            raise ArgumentError(
                f"Trainer: with accumulate={accumulate} {part!r} would normalise over each of the batches alone, not "
                "over the rows of an update; use LayerNorm, a larger batch_size, or freeze it."
            )

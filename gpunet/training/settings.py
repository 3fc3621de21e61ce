"""The checks of a Trainer's settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gpunet.errors import ArgumentError
from gpunet.losses import Loss
from gpunet.models import Model
from gpunet.optimizers import Optimizer
from gpunet.training.callbacks import Callback
from gpunet.training.metrics import what_it_takes
from gpunet.training.step import EXECUTORS

PRECISIONS = ("float32", "tf32")

SETTINGS = {"model", "loss", "optimizer", "seed", "executor", "precision", "ranks"}
"""Attributes of a Trainer that its steps are made of."""


def check_settings(
    model: Any, loss: Any, optimizer: Any, callbacks: Any, metrics: Any, seed: Any, executor: Any, precision: Any
) -> None:
    """Refuse settings that make no sense; their documentation is at `Trainer`.

    Raises:
        ArgumentError: names the setting, what was given and what it takes.
    """
    for name, value, choices in (("executor", executor, EXECUTORS), ("precision", precision, PRECISIONS)):
        if value not in choices:
            listed = " or ".join((", ".join(map(repr, choices[:-1])), repr(choices[-1])))
            raise ArgumentError(f"Trainer: {name} must be {listed}, got {value!r}.")
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**64:
        raise ArgumentError(f"Trainer: seed must be a whole number from 0 to 2**64 - 1, got {seed!r}.")
    if isinstance(callbacks, Callback):
        raise ArgumentError("Trainer: callbacks takes a sequence of them, such as [gn.ProgressBar()].")
    if not isinstance(metrics, Mapping | None) or not all(map(callable, (metrics or {}).values())):
        raise ArgumentError(
            "Trainer: metrics takes functions (target, prediction) by name, as in "
            f"{{'accuracy': gn.metrics.accuracy}}, got {metrics!r}."
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
            raise ArgumentError(f"Trainer: {name} takes a `{kind.__name__}`, got {value!r}.")

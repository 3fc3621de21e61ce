"""Checkpoints: save a whole training to one file, and resume it bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict, TypeVar

import numpy as np

from gpunet.device import Array
from gpunet.errors import ArgumentError
from gpunet.files import encoded, read_arrays, write_arrays
from gpunet.formats import read_as
from gpunet.losses import Loss
from gpunet.models import check_shapes, model_from_arrays, refused_as
from gpunet.optimizers import Optimizer
from gpunet.registry import Custom, check_complete, find, name_of
from gpunet.schedules import Schedule, schedule_from_config
from gpunet.training.callbacks import Callback
from gpunet.training.history import History
from gpunet.training.metrics import Metric
from gpunet.training.protocol import Training
from gpunet.training.running import RunningState

T = TypeVar("T", bound=Training)


class _CallbackState(TypedDict):
    label: str
    state: dict[str, Any]


class _Required(TypedDict):
    """The description of a training in its file, as JSON, without the model."""

    loss: dict[str, Any]
    optimizer: dict[str, Any]
    optimizer_state: dict[str, Any]
    callbacks: list[_CallbackState]
    history: list[dict[str, float]]
    running: RunningState
    seed: int
    precision: str
    epoch: int
    position: int
    rows: int


class _Description(_Required, total=False):
    """The description, with the keys that files of some versions lack."""

    executor: str
    plan: bool | str
    ema: float | None
    accumulate: int


def save(trainer: Training, path: str | Path) -> None:
    """Write model, optimizer state, callback state, history and position to `path`; only rank 0 writes."""
    parts = _parts(trainer)
    trainer.attach()
    running = trainer.running.state(trainer.ranks.total)
    if trainer.ranks.main:
        arrays, description = _contents(trainer)
        write_arrays(path, arrays, {**description, **parts, "running": running})


def check(trainer: Training) -> None:
    """Raise `ArgumentError` like `Trainer.save` for a training that cannot be saved."""
    encoded({**trainer.model.to_arrays()[1], **_parts(trainer)})


def _contents(trainer: Training) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays for a file, and the description as JSON values."""
    arrays, description = trainer.model.to_arrays()
    store, device = trainer.model.store, trainer.model.device
    for name, flat in _state(trainer).items():
        arrays |= {f"{name}.{key}": device.to_host(view) for key, view in store.views(flat).items()}
    callbacks = []
    for position, callback in enumerate(trainer.callbacks):
        state = callback.state()
        arrays |= {f"callbacks.{position}.{key}": a for key, a in state.items() if isinstance(a, np.ndarray)}
        plain = {key: value for key, value in state.items() if not isinstance(value, np.ndarray)}
        callbacks.append({"label": callback.label, "state": plain})
    return arrays, {
        "kind": "checkpoint",
        **description,
        "optimizer_state": trainer.optimizer.state(),
        "callbacks": callbacks,
        "history": trainer.history.epochs,
        "seed": trainer.seed,
        "executor": trainer.executor,
        "precision": trainer.precision,
        "ema": trainer.ema,
        "accumulate": trainer.accumulate,
        "epoch": trainer.epoch,
        "position": trainer.position,
        "rows": trainer.rows,
    }


def _state(trainer: Training) -> dict[str, Array]:
    """Return the flat arrays of a checkpoint that are not the model's, by the prefix of their names."""
    store = trainer.model.store
    slots = {f"slots.{name}": flat for name, flat in store.slots.items()}
    return slots if store.average is None else {**slots, "average": store.average}


def _parts(trainer: Training) -> dict[str, dict[str, Any]]:
    """Return the configurations of loss and optimizer as JSON values."""
    return {
        "loss": _config(trainer.loss, _loss),
        "optimizer": _config(_with_known_schedule(trainer.optimizer), _optimizer),
    }


def _config(part: Loss | Optimizer, rebuild: Callable[[Mapping[str, Any], Custom], Loss | Optimizer]) -> dict[str, Any]:
    """Return the configuration of a loss or an optimizer, and check that `rebuild` can rebuild it.

    Raises:
        ArgumentError: its class is not registered, or its configuration does not rebuild it.
    """
    name = name_of(part)
    try:
        config = part.config()
        check_complete(part, config)
        if rebuild({"type": name, **config}, {}).config() != config:
            raise ArgumentError(f"{config} rebuilds a different one.")
    except Exception as error:  # a user's class may raise anything
        raise ArgumentError(
            f"{part!r} cannot be saved: its config() must return the arguments that rebuild it: {error}"
        ) from error
    return {"type": name, **config}


def _with_known_schedule(optimizer: Optimizer) -> Optimizer:
    """Check that the classes of the optimizer's schedule, and of schedules inside it, are registered; return it."""
    waiting: list[Any] = [optimizer.schedule]
    while waiting:
        schedule = waiting.pop()
        name_of(schedule)
        check_complete(schedule, schedule.config())
        waiting += [value for value in vars(schedule).values() if isinstance(value, Schedule)]
    return optimizer


def _loss(config: Mapping[str, Any], custom: Custom) -> Loss:
    """Return the loss of a configuration."""
    arguments = dict(config)
    return find(arguments.pop("type"), Loss, custom)(**arguments)


def _optimizer(config: Mapping[str, Any], custom: Custom) -> Optimizer:
    """Return the optimizer of a configuration."""
    arguments = dict(config)
    schedule = schedule_from_config(arguments.pop("lr"), custom)
    return find(arguments.pop("type"), Optimizer, custom)(schedule, **arguments)


def load(
    kind: Callable[..., T],
    path: str | Path,
    callbacks: Sequence[Callback],
    metrics: Mapping[str, Metric] | None,
    distributed: Literal["mpi"] | None,
    custom: Custom,
) -> T:
    """Rebuild the trainer that `save` wrote; see `Trainer.resume`."""
    arrays, description = read_arrays(path, "checkpoint")
    with refused_as(path):
        known = {name: description[name] for name in _Description.__annotations__ if name in description}
        about = read_as(_Description, known)
        trainer = kind(
            model_from_arrays(arrays, description, custom=custom),
            loss=_loss(about["loss"], custom),
            optimizer=_optimizer(about["optimizer"], custom),
            callbacks=callbacks,
            metrics=metrics,
            seed=about["seed"],
            executor=_executor(about),
            precision=about["precision"],
            ema=about.get("ema"),
            accumulate=about.get("accumulate", 1),
            distributed=distributed,
        )
        trainer.attach()
        trainer.optimizer.restore(about["optimizer_state"])
        _restore_slots(trainer, arrays)
        trainer.history = History(about["history"])
        trainer.epoch, trainer.position, trainer.rows = about["epoch"], about["position"], about["rows"]
        if trainer.ranks.main:  # the file has the sums of all ranks
            trainer.running.restore(about["running"])
        _restore_callbacks(trainer, arrays, about["callbacks"])
    return trainer


def _restore_slots(trainer: Training, arrays: Mapping[str, np.ndarray]) -> None:
    """Restore the optimizer's slots and the moving average of the weights."""
    store = trainer.model.store
    views = {f"{name}.{key}": view for name, flat in _state(trainer).items() for key, view in store.views(flat).items()}
    check_shapes({name: view.shape for name, view in views.items()}, arrays)
    for name, view in views.items():
        store.device.assign(view, arrays[name])


def _executor(about: _Description) -> str:
    """Return the executor of a checkpoint; an old file has the key "plan" instead: whether steps were recorded."""
    return about.get("executor") or ("eager" if about["plan"] is False else "auto")


def _restore_callbacks(trainer: Training, arrays: dict[str, np.ndarray], saved: list[_CallbackState]) -> None:
    """Restore each saved state into the first remaining callback with the same label."""
    remaining = list(trainer.callbacks)
    for position, entry in enumerate(saved):
        prefix = f"callbacks.{position}."
        state = {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)} | entry["state"]
        match = next((callback for callback in remaining if callback.label == entry["label"]), None)
        if match is not None:
            remaining.remove(match)
            match.restore(state, trainer)

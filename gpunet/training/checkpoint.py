"""Checkpoints: a whole training in one file, from which it resumes bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from gpunet.device import Array
from gpunet.errors import ArgumentError, ModelFileError
from gpunet.files import encoded, read_arrays, write_arrays
from gpunet.losses import Loss
from gpunet.models import model_from_arrays
from gpunet.optimizers import Optimizer
from gpunet.registry import Custom, find, name_of
from gpunet.schedules import Schedule, schedule_from_config
from gpunet.training.callbacks import Callback
from gpunet.training.history import History
from gpunet.training.metrics import Metric
from gpunet.training.protocol import Training

T = TypeVar("T", bound=Training)


def save(trainer: Training, path: str | Path) -> None:
    """Write model, optimizer state, callback state, history and position to `path`; of several ranks, rank 0 does."""
    parts = _parts(trainer)
    trainer.attach()
    running = trainer.running.state(trainer.ranks.total)
    if trainer.ranks.main:
        arrays, description = _contents(trainer)
        write_arrays(path, arrays, {**description, **parts, "running": running})


def check(trainer: Training) -> None:
    """Refuse a training that `save` could not write.

    Raises:
        ArgumentError: as for `Trainer.save`.
    """
    encoded({**trainer.model.to_arrays()[1], **_parts(trainer)})


def _contents(trainer: Training) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return what a file holds of a training's state: arrays, and a description as JSON."""
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
    """Return the flat arrays that a file holds in addition to the model's, by the beginning of their names in it."""
    store = trainer.model.store
    slots = {f"slots.{name}": flat for name, flat in store.slots.items()}
    return slots if store.decay is None else {**slots, "average": store.average}


def _parts(trainer: Training) -> dict[str, dict[str, Any]]:
    """Return the loss and the optimizer as JSON."""
    return {
        "loss": _config(trainer.loss, _loss),
        "optimizer": _config(_with_known_schedule(trainer.optimizer), _optimizer),
    }


def _config(part: Loss | Optimizer, rebuild: Callable[[Mapping[str, Any], Custom], Loss | Optimizer]) -> dict[str, Any]:
    """Return what `rebuild` makes a loss or an optimizer from, after trying that.

    Raises:
        ArgumentError: its class is not registered, or its configuration does not rebuild it.
    """
    name = name_of(part)
    try:
        config = part.config()
        if rebuild({"type": name, **config}, {}).config() != config:
            raise ArgumentError(f"from {config} comes another one.")
    except Exception as error:  # of a class that is not gpunet's
        raise ArgumentError(
            f"{part!r} cannot be saved: its config() must return the arguments that rebuild it: {error}"
        ) from error
    return {"type": name, **config}


def _with_known_schedule(optimizer: Optimizer) -> Optimizer:
    """Return the optimizer after checking that the classes of its schedule, and of those inside, are registered."""
    waiting: list[Any] = [optimizer.schedule]
    while waiting:
        schedule = waiting.pop()
        name_of(schedule)
        waiting += [value for value in vars(schedule).values() if isinstance(value, Schedule)]
    return optimizer


def _loss(config: Mapping[str, Any], custom: Custom) -> Loss:
    """Return the loss of a file."""
    arguments = dict(config)
    return find(arguments.pop("type"), Loss, custom)(**arguments)


def _optimizer(config: Mapping[str, Any], custom: Custom) -> Optimizer:
    """Return the optimizer of a file."""
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
    """Rebuild the trainer that `save` wrote; the documentation is at `Trainer.resume`."""
    arrays, description = read_arrays(path, "checkpoint")
    model = model_from_arrays(arrays, description, source=str(path), custom=custom)
    try:
        loss, optimizer = _loss(description["loss"], custom), _optimizer(description["optimizer"], custom)
    except (KeyError, TypeError, AttributeError, ArgumentError) as error:
        raise ModelFileError(f"{path}: its loss or its optimizer is not one that this gpunet reads: {error}") from None
    try:
        trainer = kind(
            model,
            loss=loss,
            optimizer=optimizer,
            callbacks=callbacks,
            metrics=metrics,
            seed=description["seed"],
            executor=_executor(description),
            precision=description["precision"],
            ema=description.get("ema"),  # an older gpunet had none
            accumulate=description.get("accumulate", 1),
            distributed=distributed,
        )
        trainer.attach()
        trainer.optimizer.restore(description["optimizer_state"])
        for name, flat in _state(trainer).items():
            for key, view in model.store.views(flat).items():
                model.device.assign(view, arrays[f"{name}.{key}"])
        trainer.history = History(description["history"])
        trainer.epoch, trainer.position = description["epoch"], description["position"]
        trainer.rows = description["rows"]
        if trainer.ranks.main:  # the sums of all ranks
            trainer.running.restore(description["running"])
        _restore_callbacks(trainer, arrays, description["callbacks"])
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(f"{path}: not a checkpoint that this gpunet reads: {error}") from None
    return trainer


def _executor(description: Mapping[str, Any]) -> str:
    """Return the executor of a checkpoint; one of an older gpunet says whether steps were recorded instead."""
    if "executor" in description:
        return str(description["executor"])
    return "eager" if description["plan"] is False else "auto"


def _restore_callbacks(trainer: Training, arrays: dict[str, np.ndarray], saved: list[dict[str, Any]]) -> None:
    """Give each callback the state that one of its label left, in their order."""
    waiting = list(trainer.callbacks)
    for position, entry in enumerate(saved):
        prefix = f"callbacks.{position}."
        state = {key.removeprefix(prefix): a for key, a in arrays.items() if key.startswith(prefix)} | entry["state"]
        heir = next((callback for callback in waiting if callback.label == entry["label"]), None)
        if heir is not None:
            waiting.remove(heir)
            heir.restore(state, trainer)

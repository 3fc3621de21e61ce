"""Checkpoints: a whole training in one file, from which it resumes bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from gpunet.errors import ArgumentError, ModelFileError
from gpunet.files import read_arrays, write_arrays
from gpunet.losses import LOSSES
from gpunet.models import model_from_arrays
from gpunet.optimizers import OPTIMIZERS
from gpunet.schedules import schedule_from_config
from gpunet.training.callbacks import Callback
from gpunet.training.history import History
from gpunet.training.metrics import Metric
from gpunet.training.protocol import Training

T = TypeVar("T", bound=Training)


def save(trainer: Training, path: str | Path) -> None:
    """Write model, optimizer state, callback state, history and position to `path`; of several ranks, rank 0 does."""
    for part, known in ((trainer.loss, LOSSES), (trainer.optimizer, OPTIMIZERS)):
        if type(part) not in known.values():
            raise ArgumentError(f"a training with {part!r} cannot be saved: its class is your own code, not data.")
    trainer.attach()
    running = trainer.running.state(trainer.ranks.total)
    if not trainer.ranks.main:
        return
    arrays, description = trainer.model.to_arrays()
    store, device = trainer.model.store, trainer.model.device
    for slot, flat in store.slots.items():
        arrays |= {f"slots.{slot}.{key}": device.to_host(view) for key, view in store.views(flat).items()}
    callbacks = []
    for position, callback in enumerate(trainer.callbacks):
        state = callback.state()
        arrays |= {f"callbacks.{position}.{key}": a for key, a in state.items() if isinstance(a, np.ndarray)}
        plain = {key: value for key, value in state.items() if not isinstance(value, np.ndarray)}
        callbacks.append({"label": callback.label, "state": plain})
    write_arrays(
        path,
        arrays,
        {
            "kind": "checkpoint",
            **description,
            "loss": {"type": type(trainer.loss).__name__, **trainer.loss.config()},
            "optimizer": {"type": type(trainer.optimizer).__name__, **trainer.optimizer.config()},
            "optimizer_state": trainer.optimizer.state(),
            "callbacks": callbacks,
            "history": trainer.history.epochs,
            "seed": trainer.seed,
            "executor": trainer.executor,
            "precision": trainer.precision,
            "epoch": trainer.epoch,
            "position": trainer.position,
            "rows": trainer.rows,
            "running": running,
        },
    )


def load(
    kind: Callable[..., T],
    path: str | Path,
    callbacks: Sequence[Callback],
    metrics: Mapping[str, Metric] | None,
    distributed: Literal["mpi"] | None,
) -> T:
    """Rebuild the trainer that `save` wrote; the documentation is at `Trainer.resume`."""
    arrays, description = read_arrays(path, "checkpoint")
    model = model_from_arrays(arrays, description, source=str(path))
    try:
        optimizer = dict(description["optimizer"])
        schedule = schedule_from_config(optimizer.pop("lr"))
        loss = dict(description["loss"])
        trainer = kind(
            model,
            loss=LOSSES[loss.pop("type")](**loss),
            optimizer=OPTIMIZERS[optimizer.pop("type")](schedule, **optimizer),
            callbacks=callbacks,
            metrics=metrics,
            seed=description["seed"],
            executor=_executor(description),
            precision=description["precision"],
            distributed=distributed,
        )
        trainer.attach()
        trainer.optimizer.restore(description["optimizer_state"])
        for slot, flat in model.store.slots.items():
            for key, view in model.store.views(flat).items():
                model.device.assign(view, arrays[f"slots.{slot}.{key}"])
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

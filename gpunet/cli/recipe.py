"""Build the model, loss, optimizer and callbacks of a run from its settings."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from gpunet.cli import run
from gpunet.cli.parts import Parts
from gpunet.cli.report import LOSS_OF_TASK, chosen_metrics
from gpunet.cli.run import Settings
from gpunet.cli.too_large import refuse_too_large
from gpunet.data import Dataset, Standardizer
from gpunet.data.class_weights import ClassWeights
from gpunet.data.sources import kind_of
from gpunet.errors import ArgumentError, DataError, ModelFileError
from gpunet.losses import LOSSES_BY_NAME, CrossEntropyLoss, Loss
from gpunet.models import MLP, Sequential, tabular_mlp
from gpunet.optimizers import OPTIMIZERS, Optimizer
from gpunet.schedules import ConstantLR, CosineLR, CyclicCosineLR, ReduceLROnPlateau, Schedule
from gpunet.training import Callback, Checkpoint, EarlyStopping, Log, TensorBoard, TerminateOnNaN, Trainer

LEARNING_RATES = {"Adam": 0.002, "AdamW": 0.002, "RMSprop": 0.002, "SGD": 0.1}
"""The optimizers and their default learning rates."""

DEFAULTS: dict[str, Any] = {
    "hidden": (128,),
    "activation": "relu",
    "label_smoothing": 0.1,
    "epochs": 100,
    "patience": 10,
    "batch_size": 32,
    "schedule": "constant",
}
"""Defaults of the options for all data but tables; chosen on the digits by cross-validation, without the test part."""

TABLE_DEFAULTS: dict[str, Any] = {
    "hidden": (128, 128),
    "activation": "selu",
    "label_smoothing": 0.0,
    "epochs": 64,
    "patience": None,
    "batch_size": 64,
    "schedule": "cycles",
}
"""Defaults for tables; chosen by cross-validation within the training parts of real data sets (benchmarks/tabular)."""

DIVERGED = 100
"""A training diverged if its loss is this many times that of the untrained model."""

VALUE_LOSSES = ("mse", "huber", "l1", "poisson")
SCHEDULES = ("constant", "cosine", "cycles", "plateau")
ENDING = ("cosine", "cycles")
"""The schedules whose learning rate reaches 0 after the last epoch."""


def with_defaults(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of the command, with defaults for those that are None."""
    missing = {name: value for name, value in _defaults(options["data"]).items() if options[name] is None}
    lr = LEARNING_RATES[options["optimizer"]] if options["lr"] is None else options["lr"]
    return options | missing | {"lr": lr}


def _defaults(data: str) -> dict[str, Any]:
    return TABLE_DEFAULTS if kind_of(data) == "table" else DEFAULTS


def open_trainer(
    settings: Settings,
    folder: Path,
    train: Dataset,
    callbacks: Sequence[Callback],
    distributed: Literal["mpi"] | None,
) -> Trainer:
    """Resume the trainer of the run's checkpoint, or return a new one if there is no checkpoint."""
    checkpoint = folder / run.CHECKPOINT
    if not checkpoint.exists():
        return new_trainer(settings, train, callbacks, distributed)
    metrics = chosen_metrics(train.task, settings.metric)
    trainer = Trainer.resume(checkpoint, callbacks=callbacks, metrics=metrics, distributed=distributed)
    _check_agreement(checkpoint, _told(trainer), _told(new_trainer(settings, train, [], None)))
    return trainer


def _told(trainer: Trainer) -> dict[str, Any]:
    """Return the properties of a trainer that the settings of a run determine."""
    return {
        "layers": [repr(layer) for layer in trainer.model.leaves().values()],
        "loss": type(trainer.loss).__name__,
        "optimizer": type(trainer.optimizer).__name__,
        **{name: value for name, value in trainer.optimizer.config().items() if name != "lr"},
        "seed": trainer.seed,
        "classes": trainer.model.classes,
    }


def _check_agreement(checkpoint: Path, found: dict[str, Any], expected: dict[str, Any]) -> None:
    """Raise `ModelFileError` if a checkpoint does not match the settings of its run."""
    for name, value in expected.items():
        if found[name] != value:
            raise ModelFileError(
                f"{checkpoint}: its {name} is {found[name]}, that of {run.CONFIG} is {value}; one of the files belongs "
                "to another run."
            )


def new_trainer(
    settings: Settings, train: Dataset, callbacks: Sequence[Callback], distributed: Literal["mpi"] | None
) -> Trainer:
    """Return the trainer of a new model."""
    return Trainer(
        model(settings, train),
        loss=loss(settings, train),
        optimizer=optimizer(settings, len(train)),
        callbacks=callbacks,
        metrics=chosen_metrics(train.task, settings.metric),
        seed=settings.seed,
        distributed=distributed,
    )


def callbacks(settings: Settings, folder: Path) -> tuple[EarlyStopping, list[Callback]]:
    """Return the early stopping, and all callbacks that write into the folder of the run."""
    stopper = early_stopping(settings)
    writers = [Log(folder / run.LOG), TerminateOnNaN(), stopper, Checkpoint(folder / run.CHECKPOINT)]
    return stopper, [*writers, *([TensorBoard(folder / run.TENSORBOARD)] if settings.tensorboard else [])]


def early_stopping(settings: Settings) -> EarlyStopping:
    """Return the callback that keeps the best epoch, and stops early if the settings have a patience."""
    monitor = settings.metric and f"val_{settings.metric}"
    return EarlyStopping(sys.maxsize if settings.patience is None else settings.patience, monitor=monitor)


def model(settings: Settings, train: Dataset) -> Sequential:
    """Return a new MLP that standardises by the mean and standard deviation of the training part."""
    if train.classes is not None and len(train.classes) < 2:
        raise DataError(
            f"{settings.data}: every sample is of class {train.classes[0]!r}; at least two classes are needed."
        )
    outputs = train.y[0].size if train.classes is None else len(train.classes)
    network = (settings.activation, settings.dropout, settings.seed)
    mlp: Sequential
    if train.schema is None:
        mlp = MLP([train.X.shape[1], *settings.hidden, outputs], *network, batch_norm=settings.batch_norm)
    else:
        mlp = tabular_mlp(train.schema, outputs, settings.hidden, *network, batch_norm=settings.batch_norm)
    mlp.input_scaler = Standardizer.fit(train.X, category_columns=mlp.category_columns)
    mlp.target_scaler = Standardizer.fit(train.y) if train.classes is None and settings.loss != "poisson" else None
    mlp.classes = train.classes
    return mlp


def loss(settings: Settings, train: Dataset) -> Loss:
    """Return the settings' loss, by default cross-entropy for classes and the mean squared error for values."""
    if train.classes is not None:
        if settings.loss is not None:
            raise ArgumentError(f"--loss {settings.loss}: the target holds classes, not values; leave it out.")
        ClassWeights(settings.class_weight).begin(
            train.y, None, train.classes
        )  # raises for a wrong name before any file is written
        return CrossEntropyLoss(settings.label_smoothing, settings.class_weight)
    if settings.class_weight:
        raise ArgumentError("--class-weight: the target holds values, not classes; leave it out.")
    if settings.label_smoothing not in (0, _defaults(settings.data)["label_smoothing"]):
        raise ArgumentError("--label-smoothing: the target holds values, not classes; leave it out.")
    return LOSSES_BY_NAME[settings.loss or "mse"]()


def optimizer(settings: Settings, rows: int) -> Optimizer:
    """Return the settings' optimizer; `rows` is the size of the training part."""
    kind = OPTIMIZERS[settings.optimizer]
    rate = schedule(settings, rows)
    return kind(rate) if settings.weight_decay is None else kind(rate, weight_decay=settings.weight_decay)


def schedule(settings: Settings, rows: int) -> Schedule:
    """Return the learning rate schedule over the steps of all epochs."""
    if settings.schedule in ENDING:
        kind = CosineLR if settings.schedule == "cosine" else CyclicCosineLR
        return kind(settings.lr, settings.epochs * math.ceil(rows / settings.batch_size))
    return ReduceLROnPlateau(settings.lr) if settings.schedule == "plateau" else ConstantLR(settings.lr)


def fit(trainer: Trainer, settings: Settings, parts: Parts, epochs: int) -> None:
    """Train for `epochs`; with batch normalisation, a last batch of a single row is dropped."""
    train, held_out = parts["train"], parts["validation"]
    for part in parts.values():
        refuse_too_large(trainer.model, part)
    trainer.fit(
        train.X,
        train.y,
        epochs=epochs,
        batch_size=settings.batch_size,
        drop_last=settings.batch_norm and len(train) % settings.batch_size == 1,
        validation=(held_out.X, held_out.y),
    )


def has_diverged(settings: Settings, parts: Parts, trainer: Trainer) -> bool:
    """Return whether a loss was not finite, or the validation loss is `DIVERGED` times that of the untrained model."""
    if trainer.history.stopped == "non-finite loss":
        return True
    held_out, kind = parts["validation"], LOSS_OF_TASK[trainer.model.task]
    before, after = (
        Trainer(each, loss=kind()).evaluate(held_out.X, held_out.y)["loss"]
        for each in (model(settings, parts["train"]), trainer.model)
    )
    return not after < DIVERGED * abs(before)


def train_once(settings: Settings, parts: Parts) -> Trainer:
    """Train a new model without writing any file; return its trainer."""
    stopper = early_stopping(settings)
    trainer = new_trainer(settings, parts["train"], [stopper, TerminateOnNaN()], None)
    fit(trainer, settings, parts, settings.epochs)
    return trainer

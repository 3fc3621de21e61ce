"""How a run trains: its settings as a model, a loss, an optimizer and callbacks."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from gpunet.cli import run
from gpunet.cli.report import chosen_metrics
from gpunet.cli.run import Settings
from gpunet.data import Dataset, Standardizer
from gpunet.errors import ArgumentError, DataError
from gpunet.losses import LOSSES_BY_NAME, CrossEntropyLoss, Loss
from gpunet.models import MLP, Sequential, tabular_mlp
from gpunet.optimizers import OPTIMIZERS, Optimizer
from gpunet.schedules import ConstantLR, CosineLR, ReduceLROnPlateau, Schedule
from gpunet.training import Callback, Checkpoint, EarlyStopping, Log, TensorBoard, TerminateOnNaN, Trainer

LEARNING_RATES = {"Adam": 0.002, "AdamW": 0.002, "RMSprop": 0.002, "SGD": 0.1}
"""The optimizers with their default rates. They and the options' defaults were chosen on the digits by cross-validation
within the training and validation parts."""

VALUE_LOSSES = ("mse", "huber", "l1", "poisson")
SCHEDULES = ("constant", "cosine", "plateau")


def open_trainer(
    settings: Settings,
    folder: Path,
    train: Dataset,
    callbacks: Sequence[Callback],
    distributed: Literal["mpi"] | None,
) -> Trainer:
    """Return the trainer of the checkpoint in the run's folder, or a new one where there is none yet."""
    metrics = chosen_metrics(train.task, settings.metric)
    checkpoint = folder / run.CHECKPOINT
    if checkpoint.exists():
        return Trainer.resume(checkpoint, callbacks=callbacks, metrics=metrics, distributed=distributed)
    return Trainer(
        model(settings, train),
        loss=loss(settings, train),
        optimizer=optimizer(settings, len(train)),
        callbacks=callbacks,
        metrics=metrics,
        seed=settings.seed,
        distributed=distributed,
    )


def callbacks(settings: Settings, folder: Path) -> tuple[EarlyStopping, list[Callback]]:
    """Return what ends the training and keeps its best epoch, and all callbacks that write into the run's folder."""
    monitor = settings.metric and f"val_{settings.metric}"
    stopper = EarlyStopping(sys.maxsize if settings.patience is None else settings.patience, monitor=monitor)
    writers = [Log(folder / run.LOG), TerminateOnNaN(), stopper, Checkpoint(folder / run.CHECKPOINT)]
    return stopper, [*writers, *([TensorBoard(folder / run.TENSORBOARD)] if settings.tensorboard else [])]


def model(settings: Settings, train: Dataset) -> Sequential:
    """Return a new MLP, which standardises by the statistics of the training part."""
    if train.classes is not None and len(train.classes) < 2:
        raise DataError(f"{settings.data}: every sample is of class {train.classes[0]!r}; two are needed at least.")
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
    """Return the loss of the settings, by default cross-entropy for classes and the mean squared error for values."""
    if train.classes is not None:
        if settings.loss is not None:
            raise ArgumentError(f"--loss {settings.loss}: for values; the target holds classes, leave it out.")
        return CrossEntropyLoss(settings.label_smoothing, settings.class_weight)
    if settings.class_weight:
        raise ArgumentError("--class-weight: the target holds values, not classes; leave it out.")
    return LOSSES_BY_NAME[settings.loss or "mse"]()


def optimizer(settings: Settings, rows: int) -> Optimizer:
    """Return the optimizer of the settings for a training part of so many rows."""
    kind = OPTIMIZERS[settings.optimizer]
    rate = schedule(settings, rows)
    return kind(rate) if settings.weight_decay is None else kind(rate, weight_decay=settings.weight_decay)


def schedule(settings: Settings, rows: int) -> Schedule:
    """Return the learning rate over the steps of all epochs."""
    if settings.schedule == "cosine":
        return CosineLR(settings.lr, settings.epochs * math.ceil(rows / settings.batch_size))
    return ReduceLROnPlateau(settings.lr) if settings.schedule == "plateau" else ConstantLR(settings.lr)

"""A run of `gpunet train`: its settings, its folder, its data, its trainer."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gpunet.data import Dataset, Standardizer, Task, load, split_indices
from gpunet.errors import ArgumentError, DataError, ModelFileError
from gpunet.files import write_bytes
from gpunet.formats import parse_json, read_as
from gpunet.losses import BCEWithLogitsLoss, CrossEntropyLoss, Loss, MSELoss
from gpunet.models import MLP, Model
from gpunet.optimizers import OPTIMIZERS
from gpunet.training import Callback, History, Trainer

CONFIG = "config.json"
MODEL = "model.safetensors"
CHECKPOINT = "checkpoint.safetensors"
LOG = "metrics.jsonl"
RESULTS = "results.json"
HISTORY_PLOT = "history.png"
PLOT = "plot.png"

LOSS_OF_TASK: dict[str | None, type[Loss]] = {
    loss.task: loss for loss in (CrossEntropyLoss, BCEWithLogitsLoss, MSELoss)
}

SPLIT_SEED = 0
"""The parts of a data set are the same in every run, whatever its --seed: what was held out stays held out."""


@dataclass(frozen=True)
class Settings:
    """What a run was asked for: all that `--resume` needs, as config.json holds it."""

    data: str
    target: str | None
    task: Task | None
    hidden: Sequence[int]
    activation: str
    dropout: float
    label_smoothing: float
    epochs: int
    batch_size: int
    optimizer: str
    lr: float
    device: str
    seed: int
    sha256: str | None = None
    """The checksum of the data, once it is read."""
    class_weight: Literal["balanced"] | None = None

    def write(self, folder: Path) -> None:
        """Write the settings into the run's folder, which is made where it is missing."""
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / CONFIG, (json.dumps(asdict(self), indent=2) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """Return the settings that `write` left.

        Raises:
            ModelFileError: the folder is no run's, or its settings are damaged.
        """
        path = folder / CONFIG
        if not path.is_file():
            raise ModelFileError(f"{folder}: not the folder of a training run; it has no {CONFIG}.")
        try:
            return read_as(cls, parse_json(path.read_bytes()))
        except ValueError as error:
            raise ModelFileError(f"{path}: not the settings of a training run ({error}).") from None


def read_history(folder: Path) -> History:
    """Return what the epochs of the run in `folder` gave, up to the last that is done.

    Raises:
        ModelFileError: the folder is no run's, no epoch is done yet, or the log is damaged.
    """
    Settings.read(folder)
    path = folder / LOG
    rows = path.read_bytes().splitlines() if path.is_file() else []
    if not rows:
        raise ModelFileError(f"{folder}: unfinished, no epoch is done; go on with {resume_command(folder)}")
    try:
        return History(_numbers(parse_json(row)) for row in rows)
    except ValueError as error:
        raise ModelFileError(f"{path}: not the log of a training run ({error}).") from None


def read_test_results(folder: Path) -> dict[str, float]:
    """Return the loss and the metrics on the test part, which the run in `folder` left; none if it has not ended.

    Raises:
        ModelFileError: they are damaged.
    """
    path = folder / RESULTS
    if not path.is_file():
        return {}
    try:
        return _numbers(read_as(dict[str, Any], parse_json(path.read_bytes()))["test"])
    except (ValueError, KeyError) as error:
        raise ModelFileError(f"{path}: not the results of a training run ({error}).") from None


def _numbers(row: Any) -> dict[str, float]:
    """Return a row of numbers in which null, for lack of a NaN in JSON, is one again."""
    numbers = read_as(dict[str, float | None], row)
    return {name: math.nan if value is None else float(value) for name, value in numbers.items()}


def resume_command(folder: Path) -> str:
    """Return the command, as a shell takes it, that goes on with the run in `folder`."""
    quoted = shlex.quote(str(folder)) if os.name == "posix" else f'"{folder}"'
    return f"gpunet train --resume {quoted}"


def load_parts(settings: Settings) -> dict[str, Dataset]:
    """Return the data as "train", "validation" and "test".

    The test part is the one that the source sets apart, as MNIST does, else a stratified fifth; a fifth of the rest is
    for validation.
    """
    whole = load(settings.data, settings.target, task=settings.task)
    if whole.test is None:
        indices = split_indices(whole.y, (0.64, 0.16, 0.2), seed=SPLIT_SEED)
        train, validation, test = map(whole.take, indices)
    else:
        train, validation = map(whole.take, split_indices(whole.y, (0.8, 0.2), seed=SPLIT_SEED))
        test = whole.test
    return {"train": flat(train), "validation": flat(validation), "test": flat(test)}


def checksum(parts: Mapping[str, Dataset]) -> str:
    """Return the SHA-256 of the samples, the targets and the class names."""
    digest = hashlib.sha256()
    for part in parts.values():
        digest.update(f"{part.X.shape} {part.X.dtype} {part.y.shape} {part.y.dtype} {part.classes}".encode())
        digest.update(np.ascontiguousarray(part.X).data)
        digest.update(np.ascontiguousarray(part.y).data)
    return digest.hexdigest()


def held_out(folder: Path, data: str) -> Dataset | None:
    """Return the test part of the run in `folder` where `data` is what it was trained on, else None."""
    if not (folder / CONFIG).is_file():
        return None
    settings = Settings.read(folder)
    if settings.data != place(data):
        return None
    parts = load_parts(settings)
    return parts["test"] if checksum(parts) == settings.sha256 else None


def place(data: str) -> str:
    """Return where `data` is from any working folder."""
    return data if data == "digits" else str(Path(data).resolve())


def flat(dataset: Dataset) -> Dataset:
    """Return the data set with each sample as one row of features."""
    return replace(dataset, X=dataset.X.reshape(len(dataset), -1))


def open_trainer(
    settings: Settings,
    folder: Path,
    train: Dataset,
    callbacks: Sequence[Callback],
    distributed: Literal["mpi"] | None,
) -> Trainer:
    """Return the trainer of the checkpoint in the run's folder, or a new one where there is none yet."""
    checkpoint = folder / CHECKPOINT
    if checkpoint.exists():
        return Trainer.resume(checkpoint, callbacks=callbacks, distributed=distributed)
    return _new(settings, train, callbacks, distributed)


def _new(
    settings: Settings, train: Dataset, callbacks: Sequence[Callback], distributed: Literal["mpi"] | None
) -> Trainer:
    """Return the trainer of a new MLP, which standardises by the statistics of the training part."""
    if train.classes is not None and len(train.classes) < 2:
        raise DataError(f"{settings.data}: every sample is of class {train.classes[0]!r}; two are needed at least.")
    if train.classes is None and settings.class_weight:
        raise ArgumentError("--class-weight: the target holds values, not classes; leave it out.")
    outputs = train.y[0].size if train.classes is None else len(train.classes)
    sizes = [train.X.shape[1], *settings.hidden, outputs]
    model = MLP(sizes, settings.activation, settings.dropout, seed=settings.seed)
    model.input_scaler = Standardizer.fit(train.X)
    model.target_scaler = Standardizer.fit(train.y) if train.classes is None else None
    model.classes, model.schema = train.classes, train.schema
    return Trainer(
        model,
        loss=MSELoss() if train.classes is None else CrossEntropyLoss(settings.label_smoothing, settings.class_weight),
        optimizer=OPTIMIZERS[settings.optimizer](settings.lr),
        callbacks=callbacks,
        seed=settings.seed,
        distributed=distributed,
    )


def score(model: Model, X: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Return the loss and the metrics of a trained model; the loss has no label smoothing and no class weights.

    Raises:
        ArgumentError: the model was never trained, or for pairs.
    """
    if model.task is None:
        raise ArgumentError("this model was never trained, there is nothing to evaluate.")
    if model.task not in LOSS_OF_TASK:
        raise ArgumentError(
            f"this model's task is {model.task}; the command evaluates {', '.join(map(str, LOSS_OF_TASK))}."
        )
    return Trainer(model, loss=LOSS_OF_TASK[model.task]()).evaluate(X, y)

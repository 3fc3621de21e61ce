"""`gpunet train --folds`: cross-validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from gpunet.cli import recipe
from gpunet.cli.answers import as_csv
from gpunet.cli.options import described_device, json_line, results_table
from gpunet.cli.parts import SPLIT_SEED, Source, share_of
from gpunet.cli.report import described, score
from gpunet.cli.run import Settings
from gpunet.data import split_indices
from gpunet.errors import ArgumentError
from gpunet.files import write_bytes
from gpunet.models import Model

FOLDS = "folds.json"
PREDICTIONS = "out-of-fold.csv"


def cross_validate(settings: Settings, folds: int, folder: Path, say: Callable[[str], None]) -> tuple[str, list[int]]:
    """Train once per fold on the other folds; write the scores and the out-of-fold predictions into a folder.

    Args:
        settings: of each training; the validation part is a share of the training folds.
        folds: the number of folds, stratified.
        folder: the output folder.
        say: prints a line.

    Returns:
        The scores as a line of JSON, and the numbers (from 1) of the folds whose training diverged.

    Raises:
        ArgumentError: the settings name a test part, or a validation file.
    """
    validation = share_of(settings.validation)
    if settings.test is not None or validation is None:
        raise ArgumentError("--folds: each fold is the test part in turn; leave out --test and a --validation file.")
    say(f"device  {described_device(settings.device)}")
    source = Source(settings)
    parts = split_indices(source.y, [1 / folds] * folds, seed=SPLIT_SEED)
    scores: dict[str, dict[str, float]] = {}
    answers: dict[int, tuple[object, ...]] = {}
    diverged = []
    for number, test in enumerate(parts, 1):
        rest = np.setdiff1d(np.arange(len(source.y)), test)
        train, held_out = split_indices(source.y[rest], (1 - validation, validation), seed=SPLIT_SEED)
        data = source.parts({"train": rest[train], "validation": rest[held_out], "test": test})
        if number == 1:
            say(described(data))
        trainer = recipe.train_once(settings, data)
        model = trainer.model
        if recipe.has_diverged(settings, data, trainer):
            diverged.append(number)
        own = score(model, data["test"].X, data["test"].y, settings.metric)
        scores[f"fold {number}"] = own
        answers |= dict(zip(test.tolist(), _answers(model, data["test"].X, data["test"].y), strict=True))
        say(f"fold {number} of {folds}: " + ", ".join(f"{name} {value:.4f}" for name, value in own.items()))
    summary = _summary(scores)
    folder.mkdir(parents=True, exist_ok=True)
    line = json_line({"settings": asdict(settings), "folds": scores, **summary, "run": str(folder)})
    write_bytes(folder / FOLDS, f"{line}\n".encode())
    write_bytes(folder / PREDICTIONS, _table(answers, model.classes).encode())
    say(f"\n{results_table(summary)}\n\nsee {folder}")
    return line, diverged


def _answers(model: Model, X: np.ndarray, y: np.ndarray) -> Iterator[tuple[object, ...]]:
    """Yield target, prediction and, for a classifier, class probabilities of each row."""
    targets = y if model.classes is None else np.asarray(model.classes)[y]
    probabilities = model.predict_proba(X) if model.task == "classification" else np.empty((len(X), 0))
    for target, answer, own in zip(targets.tolist(), model.predict(X).tolist(), probabilities.tolist(), strict=True):
        yield target, answer, *own


def _summary(scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return the mean and the sample standard deviation of each score over the folds."""
    names = list(next(iter(scores.values())))
    columns = {name: np.array([own[name] for own in scores.values()]) for name in names}
    return {
        "mean": {name: float(values.mean()) for name, values in columns.items()},
        "sd": {name: float(values.std(ddof=1)) for name, values in columns.items()},
    }


def _table(answers: Mapping[int, tuple[object, ...]], classes: tuple[str, ...] | None) -> str:
    """Return the predictions as CSV, one line per row of the data, counted from 0."""
    return as_csv(["row", "target", "prediction", *(classes or ())], ((row, *answers[row]) for row in sorted(answers)))

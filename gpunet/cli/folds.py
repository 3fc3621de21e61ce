"""`gpunet train --folds`: cross-validation."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from gpunet.arguments import counted
from gpunet.cli import recipe
from gpunet.cli.answers import as_csv
from gpunet.cli.options import described_device, json_line, number_text, results_table
from gpunet.cli.parts import SPLIT_SEED, Parts, Source, share_of
from gpunet.cli.report import check_defined, is_undefined, score, show_data
from gpunet.cli.run import FOLDS, OUT_OF_FOLD, Settings
from gpunet.data import split_indices
from gpunet.errors import ArgumentError, GpunetWarning
from gpunet.files import write_bytes
from gpunet.models import Model


def cross_validate(settings: Settings, folds: int, folder: Path, say: Callable[[str], None]) -> tuple[str, list[int]]:
    """Train once per fold on the other folds; write the scores and the out-of-fold predictions into a folder.

    The folds are stratified; the validation part is a share of the training folds. Returns the scores as a line of
    JSON, and the numbers (from 1) of the folds whose training diverged.
    """
    validation = share_of(settings.validation)
    if settings.test is not None or validation is None:
        raise ArgumentError("--folds: each fold is the test part in turn; leave out --test and a --validation file.")
    say(f"device  {described_device(settings.device)}")
    source = Source(settings)
    if folds > len(source.y):
        raise ArgumentError(f"--folds {folds}: the data has only {counted(len(source.y), 'row')}.")
    divisions = list(_divisions(source.y, folds, validation))
    for rows in divisions:
        check_defined(settings.metric, source.y[rows["validation"]], source.classes)
    scores: dict[str, dict[str, float]] = {}
    answers: dict[int, tuple[object, ...]] = {}
    diverged = []
    for number, rows in enumerate(divisions, 1):
        data = _data(settings, source, rows, number == 1, say)
        trainer = recipe.train_once(settings, data)
        model, test = trainer.model, data["test"]
        if recipe.has_diverged(settings, data, trainer):
            diverged.append(number)
        own = score(model, test.X, test.y, settings.metric)
        if is_undefined(settings.metric, test.y):
            own[str(settings.metric)] = math.nan
        scores[f"fold {number}"] = own
        answers |= dict(zip(source.rows[rows["test"]].tolist(), _answers(model, test.X, test.y), strict=True))
        say(f"fold {number} of {folds}: " + ", ".join(f"{name} {number_text(value)}" for name, value in own.items()))
    summary = _summary(scores)
    folder.mkdir(parents=True, exist_ok=True)
    line = json_line({"settings": asdict(settings), "folds": scores, **summary, "run": str(folder)})
    write_bytes(folder / FOLDS, f"{line}\n".encode())
    write_bytes(folder / OUT_OF_FOLD, _table(answers, model.classes).encode())
    say(f"\n{results_table(summary)}\n{_undefined(scores)}\nsee {folder}")
    return line, diverged


def _data(
    settings: Settings, source: Source, rows: Mapping[str, np.ndarray], first: bool, say: Callable[[str], None]
) -> Parts:
    """Return the parts of a fold; only the `first` fold describes the data and shows warnings about it."""
    with warnings.catch_warnings():
        if not first:
            warnings.simplefilter("ignore", GpunetWarning)
        data = source.parts(rows)
    if first:
        show_data(data, settings.class_weight, say)
    return data


def _divisions(y: np.ndarray, folds: int, validation: float) -> Iterator[dict[str, np.ndarray]]:
    """Yield the row positions of the parts of each fold."""
    for test in split_indices(y, [1 / folds] * folds, seed=SPLIT_SEED):
        rest = np.setdiff1d(np.arange(len(y)), test)
        train, held_out = split_indices(y[rest], (1 - validation, validation), seed=SPLIT_SEED)
        yield {"train": rest[train], "validation": rest[held_out], "test": test}


def _answers(model: Model, X: np.ndarray, y: np.ndarray) -> Iterator[tuple[object, ...]]:
    """Yield target, prediction and, for a classifier, class probabilities of each row."""
    targets = y if model.classes is None else np.asarray(model.classes)[y]
    probabilities = model.predict_proba(X) if model.task == "classification" else np.empty((len(X), 0))
    for target, answer, own in zip(targets.tolist(), model.predict(X).tolist(), probabilities.tolist(), strict=True):
        yield target, answer, *own


def _summary(scores: Mapping[str, Mapping[str, float]]) -> dict[str, dict[str, float]]:
    """Return the mean and the sample standard deviation of each score over the folds where it is defined."""
    names = list(next(iter(scores.values())))
    columns = {name: [own[name] for own in scores.values() if not math.isnan(own[name])] for name in names}
    return {
        "mean": {name: float(np.mean(values)) if values else math.nan for name, values in columns.items()},
        "sd": {name: float(np.std(values, ddof=1)) if values[1:] else math.nan for name, values in columns.items()},
    }


def _undefined(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Return a line for each score that is undefined in some folds."""
    names = list(next(iter(scores.values())))
    folds = {name: [fold for fold, own in scores.items() if math.isnan(own[name])] for name in names}
    return "".join(
        f"{name} is undefined in {', '.join(where)}; mean and sd are those of the other folds.\n"
        for name, where in folds.items()
        if where
    )


def _table(answers: Mapping[int, tuple[object, ...]], classes: tuple[str, ...] | None) -> str:
    """Return the predictions as CSV, one line per row, with its position in the file from 0 on."""
    return as_csv(["row", "target", "prediction", *(classes or ())], ((row, *answers[row]) for row in sorted(answers)))

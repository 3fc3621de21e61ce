"""Measure the effect of each choice in the recipe for tables: change one at a time, and cross-validate.

    python -m benchmarks.tabular.ablation [--splits 3] [--out benchmarks/results/tabular]

has the requirements of the comparison, except pytabkit. Only the training parts of the first splits are used: a third
of each part tests a model trained on the other two thirds. For each change, the table shows the geometric mean over the
problems of the ratio of its loss to the loss of the default recipe; a ratio above 1 is worse.
"""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold
from threadpoolctl import threadpool_limits

import gpunet as gn
from benchmarks.tabular import results
from benchmarks.tabular.datasets import CLASSIFICATION, NAMES, Problem, load
from benchmarks.tabular.methods import OLD_DEFAULTS, Command
from benchmarks.tabular.scoring import scored
from gpunet.cli import recipe
from gpunet.initializers import glorot_uniform

DEFAULT = "default"


def glorot_output(model: gn.Sequential) -> None:
    weight = model.layers[-1].params["weight"]
    model.layers[-1].params["weight"] = glorot_uniform(weight.shape, np.random.default_rng(0))


def zero_biases(model: gn.Sequential) -> None:
    for layer in model.layers:
        if isinstance(layer, gn.Linear):
            layer.params["bias"] = np.zeros(layer.out_features)


def without_clip(model: gn.Sequential) -> None:
    (clip,) = (layer for layer in model.layers if isinstance(layer, gn.Activation))
    clip.activation = gn.Identity()


Change = tuple[tuple[str, ...], Callable[[gn.Sequential], None] | None]

CHANGES: dict[str, Change] = {
    DEFAULT: ((), None),
    "Glorot uniform weights in the output layer": ((), glorot_output),
    "biases initialised with 0": ((), zero_biases),
    "no soft clip": ((), without_clip),
    "label smoothing 0.1": (("--label-smoothing", "0.1"), None),
    "cosine schedule": (("--schedule", "cosine"), None),
    "constant learning rate, patience 10": (("--schedule", "constant", "--patience", "10"), None),
    "relu": (("--activation", "relu"), None),
    "silu": (("--activation", "silu"), None),
    "AdamW, weight decay 0.5": (("--optimizer", "adamw", "--weight-decay", "0.5"), None),
    "learning rate 0.001": (("--lr", "0.001"), None),
    "learning rate 0.004": (("--lr", "0.004"), None),
    "batch size 32": (("--batch-size", "32"), None),
    "32 epochs": (("--epochs", "32"), None),
    "128 epochs": (("--epochs", "128"), None),
    "one hidden layer": (("--hidden", "128"), None),
    "three hidden layers": (("--hidden", "128,128,128"), None),
    "width 256": (("--hidden", "256,256"), None),
    "dropout 0.1": (("--dropout", "0.1"), None),
    "batch norm": (("--batch-norm",), None),
    "old options": (OLD_DEFAULTS, None),
}
"""By name: options of the command, and a function that changes the new model."""


def folds(problem: Problem, splits: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows for training and for testing, both from the training part of each split."""
    kind = StratifiedKFold if problem.task == "classification" else KFold
    for split, (train, _) in enumerate(problem.splits(splits)):
        thirds = list(kind(3, shuffle=True, random_state=split).split(train, problem.y[train]))
        inner, held_out = thirds[split % 3]
        yield train[inner], train[held_out]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tabular.ablation")
    parser.add_argument("--splits", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tabular"))
    options = parser.parse_args()
    threadpool_limits(1)
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    path = options.out / "ablation.jsonl"
    done = results.read(path)
    for change, (arguments, alter) in CHANGES.items():
        with patch.object(recipe, "model", _altering(recipe.model, alter)):
            for name in NAMES:
                problem = load(name)
                for split, parts in enumerate(folds(problem, options.splits)):
                    if (name, split, change) not in done:
                        estimator = Command(problem.task, split, *arguments)
                        done[name, split, change] = scored(problem, split, parts, change, estimator)
                        results.append(path, done[name, split, change])
        print(change, file=sys.stderr, flush=True)
    text = "\n".join(table(done, options.splits))
    (options.out / "ablation.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def _altering(
    make: Callable[..., gn.Sequential], alter: Callable[[gn.Sequential], None] | None
) -> Callable[..., gn.Sequential]:
    """Return a function that makes a model and then alters it."""

    def altered(*arguments: object) -> gn.Sequential:
        model = make(*arguments)
        if alter is not None:
            alter(model)
        return model

    return altered


def table(done: dict[tuple[str, int, str], results.Score], splits: int) -> Iterator[str]:
    """Yield the lines of the Markdown table."""
    losses = {
        change: np.array([np.mean([done[name, split, change].loss for split in range(splits)]) for name in NAMES])
        for change in CHANGES
    }
    classes = np.array([name in CLASSIFICATION for name in NAMES])
    yield "| change | loss, classification | loss, regression | loss, all | better on | explained |"
    yield "|---|---|---|---|---|---|"
    for change, loss in losses.items():
        ratio = np.log(loss / losses[DEFAULT])
        means = [np.exp(ratio[rows].mean()) for rows in (classes, ~classes, slice(None))]
        better = int((loss < losses[DEFAULT]).sum())
        cells = [*(f"{mean:.3f}" for mean in means), f"{better} of {len(NAMES)}", f"{1 - loss.mean():.4f}"]
        yield f"| {change} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())

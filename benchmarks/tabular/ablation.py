"""What each choice of the recipe for tables is worth: one is changed at a time, by cross-validation in training parts.

    python -m benchmarks.tabular.ablation [--splits 3] [--out benchmarks/results/tabular]

needs what the comparison needs, but for pytabkit. Of each of the first splits of a problem, the training part alone is
used: a third of it tests what was trained on the rest. The table gives, for a change, the geometric mean over the
problems of its loss over the loss of `gpunet train` as it comes: above 1 it is worse.
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

AS_IT_COMES = "as it comes"


def with_output(model: gn.Sequential) -> None:
    weight = model.layers[-1].params["weight"]
    model.layers[-1].params["weight"] = glorot_uniform(weight.shape, np.random.default_rng(0))


def without_biases(model: gn.Sequential) -> None:
    for layer in model.layers:
        if isinstance(layer, gn.Linear):
            layer.params["bias"] = np.zeros(layer.out_features)


def without_clip(model: gn.Sequential) -> None:
    (clip,) = (layer for layer in model.layers if isinstance(layer, gn.Activation))
    clip.activation = gn.Identity()


Change = tuple[tuple[str, ...], Callable[[gn.Sequential], None] | None]

CHANGES: dict[str, Change] = {
    AS_IT_COMES: ((), None),
    "output layer begins at Glorot's uniform weights": ((), with_output),
    "biases begin at 0": ((), without_biases),
    "no soft clip": ((), without_clip),
    "label smoothing 0.1": (("--label-smoothing", "0.1"), None),
    "cosine": (("--schedule", "cosine"), None),
    "constant rate, patience 10": (("--schedule", "constant", "--patience", "10"), None),
    "relu": (("--activation", "relu"), None),
    "silu": (("--activation", "silu"), None),
    "AdamW, weight decay 0.5": (("--optimizer", "adamw", "--weight-decay", "0.5"), None),
    "learning rate 0.001": (("--lr", "0.001"), None),
    "learning rate 0.004": (("--lr", "0.004"), None),
    "batches of 32": (("--batch-size", "32"), None),
    "32 epochs": (("--epochs", "32"), None),
    "128 epochs": (("--epochs", "128"), None),
    "one hidden layer": (("--hidden", "128"), None),
    "three hidden layers": (("--hidden", "128,128,128"), None),
    "256 wide": (("--hidden", "256,256"), None),
    "dropout 0.1": (("--dropout", "0.1"), None),
    "batch norm": (("--batch-norm",), None),
    "the options before": (OLD_DEFAULTS, None),
}
"""By name: options of the command, and what is done to the new model."""


def folds(problem: Problem, splits: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield rows to train on and to test with, both of the training part of a split."""
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
    for change, (arguments, altered) in CHANGES.items():
        with patch.object(recipe, "model", _altering(recipe.model, altered)):
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
    make: Callable[..., gn.Sequential], altered: Callable[[gn.Sequential], None] | None
) -> Callable[..., gn.Sequential]:
    def model(*arguments: object) -> gn.Sequential:
        made = make(*arguments)
        if altered is not None:
            altered(made)
        return made

    return model


def table(done: dict[tuple[str, int, str], results.Score], splits: int) -> Iterator[str]:
    """Yield the lines of the table in Markdown."""
    losses = {
        change: np.array([np.mean([done[name, split, change].loss for split in range(splits)]) for name in NAMES])
        for change in CHANGES
    }
    classes = np.array([name in CLASSIFICATION for name in NAMES])
    yield "| changed | loss, classes | loss, values | loss, all | better on | explained |"
    yield "|---|---|---|---|---|---|"
    for change, loss in losses.items():
        ratio = np.log(loss / losses[AS_IT_COMES])
        means = [np.exp(ratio[rows].mean()) for rows in (classes, ~classes, slice(None))]
        better = int((loss < losses[AS_IT_COMES]).sum())
        cells = [*(f"{mean:.3f}" for mean in means), f"{better} of {len(NAMES)}", f"{1 - loss.mean():.4f}"]
        yield f"| {change} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())

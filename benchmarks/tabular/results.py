"""The scores of methods on problems and splits: kept in a file as they come, and made into tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from benchmarks.tabular.datasets import CLASSIFICATION, NAMES


@dataclass(frozen=True)
class Score:
    """What a method made of a split.

    Attributes:
        loss: on the test part, over that of the constant prediction that the training part gives: of log losses for
            classes, of mean squared errors for values. 0 is perfect, 1 no better than the constant.
        value: the log loss itself, or R².
        seconds: of CPU time that the fit took.
    """

    problem: str
    split: int
    method: str
    loss: float
    value: float
    seconds: float


def read(path: Path) -> dict[tuple[str, int, str], Score]:
    """Return the scores of a file of one JSON object a line, by problem, split and method; none where it is missing."""
    lines = path.read_text().splitlines() if path.is_file() else []
    scores = [Score(**json.loads(line)) for line in lines]
    return {(score.problem, score.split, score.method): score for score in scores}


def append(path: Path, score: Score) -> None:
    """Add a score to the file."""
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(score)) + "\n")


def tables(scores: Sequence[Score]) -> Iterator[str]:
    """Yield the lines of the report in Markdown: the averages of the methods, then each problem."""
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
    """Yield the table of the averages over the problems; losses and seconds are (problems, splits, methods)."""
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
    """Return the mean and the standard deviation over the splits."""
    return f"{values.mean():.3f} ± {values.std():.3f}"


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"

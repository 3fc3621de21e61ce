"""`gpunet compare`: print a table of runs, with their settings and results."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from gpunet.cli.options import json_line, json_option, number_text
from gpunet.cli.report import CLASS_METRICS, VALUE_METRICS
from gpunet.cli.run import Settings, read_history, read_test_results
from gpunet.training.history import History, Row
from gpunet.training.metrics import is_greater_better


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@json_option
def compare(runs: tuple[Path, ...], as_json: bool) -> None:
    """Print a table of runs: the settings in which they differ, and their results.

    RUN is a run's folder. "best" is the epoch with the lowest validation loss, or with the best --metric; the run keeps
    its weights. "last" is the last epoch. "test" is measured at the end of a run, and missing before. Validation losses
    include label smoothing, the test loss does not. "seconds" is the total time of the epochs.
    """
    settings = {str(folder): asdict(Settings.read(folder)) for folder in runs}
    results = {
        name: {"settings": differing, **_results(Path(name))} for name, differing in _differences(settings).items()
    }
    if as_json:
        click.echo(json_line(results))
        return
    for line in _table(results):
        click.echo(line)


def _differences(settings: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, for each run, the settings that are not the same in all runs."""
    first, *others = settings.values()
    names = [name for name in first if any(other[name] != first[name] for other in others)]
    return {run: {name: own[name] for name in names} for run, own in settings.items()}


def _results(folder: Path) -> dict[str, Any]:
    """Return a run's results for the table."""
    history = read_history(folder)
    best = best_epoch(history, Settings.read(folder).metric)
    return {
        "epochs": len(history),
        "best": {"epoch": int(best["epoch"]), **_validation(best)},
        "last": _validation(history.last),
        "test": read_test_results(folder),
        "seconds": round(sum(history["seconds"]), 3),
    }


def best_epoch(history: History, metric: str | None) -> Row:
    """Return the first epoch with the lowest validation loss, or with the best value of `metric`."""
    greater = metric is not None and is_greater_better((CLASS_METRICS | VALUE_METRICS)[metric])
    column, sign = f"val_{metric or 'loss'}", -1 if greater else 1

    def badness(row: Row) -> float:
        return math.inf if math.isnan(row[column]) else sign * row[column]

    return min(history.epochs, key=badness)


def _validation(row: Row) -> Row:
    return {name: value for name, value in row.items() if name.startswith("val_")}


def _table(results: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """Yield the lines of the table: the header, then one line for each run."""
    rows = list(results.values())
    columns = {"run": list(results)}
    for name in rows[0]["settings"]:
        columns[name] = [_setting(name, row["settings"][name]) for row in rows]
    columns["epochs done"] = [str(row["epochs"]) for row in rows]
    for part in ("best", "last", "test"):
        for name in dict.fromkeys(name for row in rows for name in row[part]):
            columns[f"{part} {name}"] = [_number(row[part].get(name)) for row in rows]
    columns["seconds"] = [f"{row['seconds']:.1f}" for row in rows]
    widths = [max(map(len, (name, *cells))) for name, cells in columns.items()]
    sides = "<" + ">" * (len(columns) - 1)
    for line in (columns, *zip(*columns.values(), strict=True)):
        yield "  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, sides, widths, strict=True))


def _setting(name: str, value: Any) -> str:
    if value in (None, [], {}):
        return "-"
    if name == "sha256":
        return str(value)[:8]
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return number_text(value) if isinstance(value, float) else str(value)

"""`gpunet evaluate` and `gpunet predict`: what a trained model is good for."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import click
import numpy as np

from gpunet.cli.options import device_option, json_line, json_option, results_table
from gpunet.cli.report import class_scores, score
from gpunet.cli.run import flat, held_out, open_model
from gpunet.data import Column, TableSchema, Task, load, read_table
from gpunet.data.sources import kind_of
from gpunet.errors import ArgumentError, DataError
from gpunet.files import write_bytes
from gpunet.losses import VALUES
from gpunet.models import Model

MORE_METRICS: dict[str | None, tuple[str, ...]] = {
    "classification": ("auc", "log_loss"),
    "binary": ("auc", "log_loss"),
    "regression": ("rmse",),
}
"""By task, what `evaluate` reports next to what `train` does."""

model_argument = click.argument("model_path", metavar="RUN_OR_MODEL", type=click.Path(path_type=Path))


@click.command()
@model_argument
@click.argument("data")
@device_option
@json_option
def evaluate(model_path: Path, data: str, device: str, as_json: bool) -> None:
    """Print the loss and the metrics of a model on DATA, and those of each class.

    RUN_OR_MODEL is a run's folder or a model file, DATA is as for `train`. Of a run's own data, the fifth that it held
    out is taken. Of other data that has a test part, as MNIST does, that part is taken, else all of it; a model file
    doesn't know which rows it was trained on. A table needs the target's column.
    """
    model = open_model(model_path, device)
    test = held_out(model_path, data)
    X, y = _labelled(model, data) if test is None else (test.X, test.y)
    results, classes = score(model, X, y, *MORE_METRICS.get(model.task, ())), class_scores(model, X, y)
    if as_json:
        each = {"classes": classes} if classes else {}
        click.echo(json_line({"device": model.device.name, "rows": len(X), **results, **each}))
        return
    click.echo(results_table({f"{len(X):,} {'rows' if test is None else 'held-out rows'}": results}))
    if classes:
        click.echo(f"\n{results_table(classes)}")


@click.command()
@model_argument
@click.argument("input_path", metavar="INPUT", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="CSV file to write.  [default: print]")
@click.option("--proba", is_flag=True, help="Add a column with the probability of each class.")
@device_option
def predict(model_path: Path, input_path: Path, out: Path | None, proba: bool, device: str) -> None:
    """Predict each row of a table, and write the answers as CSV.

    RUN_OR_MODEL is a run's folder or a model file; INPUT is a .csv, .tsv, .csv.gz or .parquet file, or - for standard
    input. Its columns are those of the table that the model was trained on, in any order; of a model that was not
    trained on a table, one column a feature in their order.
    """
    if out is not None and out.exists() and input_path.exists() and out.samefile(input_path):
        raise ArgumentError(f"--out {out}: the input itself, which the answers would replace; name another file.")
    model = open_model(model_path, device)
    X = _unnamed(input_path) if model.schema is None else model.schema.read(input_path)
    predictions = model.predict(X)
    names, columns = ["prediction"], [predictions]
    if predictions.ndim > 1:
        names, columns = [f"prediction_{output}" for output in range(predictions.shape[1])], [*predictions.T]
    if proba:
        probabilities = model.predict_proba(X).T
        names += model.classes or map(str, range(len(probabilities)))
        columns += [*probabilities]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([names, *zip(*columns, strict=True)])
    if out is None:
        click.echo(text.getvalue(), nl=False)
    else:
        write_bytes(out, text.getvalue().encode())


def _labelled(model: Model, data: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the samples and targets of `data`, as the model's own columns and class names have them."""
    kind = kind_of(data)
    if kind == "table" and model.schema is not None:
        return model.schema.read_labelled(data, model.classes)
    task: Task | None = None
    if kind in ("table", ".npz"):
        task = "regression" if model.task in VALUES else "classification"
    whole = load(data, task=task)
    part = flat(whole if whole.test is None else whole.test)
    if part.classes is None:
        return part.X, part.y
    # by their names, since another source may number the classes in another way
    names = part.classes if model.classes is not None else _class_indices(part.classes, data)
    return part.X, np.asarray(names)[part.y]


def _class_indices(names: Iterable[str], data: str) -> list[int]:
    """Return the class indices that a model without class names was trained on, read from their text."""
    try:
        return [int(name) for name in names]
    except ValueError as error:
        raise DataError(f"{data}: the model's classes have no names, give their indices as labels ({error}).") from None


def _unnamed(path: Path) -> np.ndarray:
    """Return the numbers of a table whose columns are the features, whatever their names."""
    table = read_table(path)
    columns = tuple(Column(str(name)) for name in table.frame.columns)
    return TableSchema(columns, target="", missing="error").encode(table)

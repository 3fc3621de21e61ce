"""`gpunet evaluate` and `gpunet predict`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from gpunet.arguments import printable
from gpunet.cli.answers import as_csv
from gpunet.cli.options import device_option, json_line, json_option, results_table
from gpunet.cli.parts import held_out, labelled_like
from gpunet.cli.report import class_scores, score
from gpunet.cli.run import check_output, open_model
from gpunet.cli.table import names_of
from gpunet.cli.too_large import refuse_too_large, refuse_too_large_features
from gpunet.data import TableSchema, Task, read_table
from gpunet.data.labels import listing
from gpunet.errors import DataError, warn
from gpunet.files import write_bytes
from gpunet.losses import VALUES

MORE_METRICS: dict[str | None, tuple[str, ...]] = {
    "classification": ("auc", "log_loss"),
    "binary": ("auc", "log_loss"),
    "regression": ("rmse",),
}
"""The metrics of `evaluate`, by task, in addition to those of `train`."""

model_argument = click.argument("model_path", metavar="RUN_OR_MODEL", type=click.Path(path_type=Path))


@click.command()
@model_argument
@click.argument("data")
@device_option
@json_option
def evaluate(model_path: Path, data: str, device: str, as_json: bool) -> None:
    """Print the loss and the metrics of a model on DATA, and those of each class.

    RUN_OR_MODEL is a run's folder or a model file; DATA is as for `train`, and a table needs the target column. If the
    run was trained on DATA, evaluates the test part that the run held out. If DATA is new, evaluates its test part, as
    of MNIST. If there is no test part, evaluates all rows, with a warning if the run was trained on them; a model file
    does not know which rows it was trained on.
    """
    model = open_model(model_path, device)
    test = held_out(model_path, data)
    task: Task = "regression" if model.task in VALUES else "classification"
    part = labelled_like(data, model.schema, model.classes, task) if test is None else test
    refuse_too_large(model, part)
    X, y = part.X, part.y
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
@click.option(
    "--keep",
    metavar="NAMES",
    multiple=True,
    callback=names_of,
    help="Columns of INPUT to copy to the output, such as id,name; repeatable.",
)
@click.option("--formulas", is_flag=True, help="Do not put a ' before text that a spreadsheet would run as a formula.")
@device_option
def predict(
    model_path: Path,
    input_path: Path,
    out: Path | None,
    proba: bool,
    keep: tuple[str, ...],
    formulas: bool,
    device: str,
) -> None:
    """Predict each row of a table; write the predictions as CSV.

    RUN_OR_MODEL is a run's folder or a model file; INPUT is a table (.csv, .tsv, .txt, also .gz, .parquet, or - for
    standard input). It has the columns of the table that the model was trained on, in any order; for other models, one
    column per feature, in order.
    """
    if out is not None:
        check_output(out, input_path, model_path)
    model = open_model(model_path, device)
    schema = model.schema
    table = read_table(input_path) if schema is None else schema.open(input_path)
    if unknown := [name for name in keep if name not in table.frame]:
        raise DataError(f"--keep: {input_path} has no column {listing(unknown)}; it has {listing([*table.frame])}.")
    if table.blank:
        rows = "1 row without any value has" if table.blank == 1 else f"{table.blank:,} rows without any value have"
        warn(f"{input_path}: {rows} no prediction.")
    encoder = schema or TableSchema.of_numbers(table)
    X = encoder.encode(table)
    refuse_too_large_features(model, X, table, encoder)
    predictions = model.predict(X)
    names, columns = [*keep], []
    if keep:  # read the file again with these columns as text; as features they stay numbers
        written = read_table(input_path, text=keep) if schema is None else schema.open(input_path, keep)
        columns = [written.frame[name].fillna("") for name in keep]
    if predictions.ndim > 1:
        names += [f"prediction_{output}" for output in range(predictions.shape[1])]
        columns += [*predictions.T]
    else:
        names.append("prediction")
        columns.append(predictions)
    if proba:
        probabilities = model.predict_proba(X).T
        names += model.classes or map(str, range(len(probabilities)))
        columns += [*probabilities]
    text = as_csv(names, zip(*columns, strict=True), formulas=formulas)
    if out is not None:
        write_bytes(out, text.encode())
    elif sys.stdout.isatty():
        click.echo("\n".join(map(printable, text.split("\n"))), nl=False)
    else:
        click.echo(text.encode(), nl=False)  # the bytes of --out, whatever the encoding of text is here

"""The options of `gpunet train` that say how a model is made and trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import click

from gpunet.cli.recipe import DEFAULTS, LEARNING_RATES, SCHEDULES, TABLE_DEFAULTS, VALUE_LOSSES
from gpunet.cli.report import CLASS_METRICS, VALUE_METRICS
from gpunet.data import Task
from gpunet.ops.activations import FUNCTIONS


def _sizes(ctx: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(size) for size in text.split(",") if size.strip())
    except ValueError:
        raise click.BadParameter(f"{text!r}: give whole numbers with commas between them, such as 128,64.") from None


def _defaults(name: str) -> str:
    """Return what the help says of an option whose default depends on the data."""
    usual, of_tables = (
        ",".join(map(str, value)) if isinstance(value, tuple) else "none" if value is None else value
        for value in (DEFAULTS[name], TABLE_DEFAULTS[name])
    )
    return f"[default: {usual}; for tables {of_tables}]"


def _class_weight(ctx: click.Context, parameter: click.Parameter, text: str | None) -> dict[str, float] | str | None:
    if text in (None, "balanced"):
        return text
    try:
        pairs = [item.rsplit("=", 1) for item in text.split(",")]
        return {name: float(weight) for name, weight in pairs}
    except ValueError:
        raise click.BadParameter(f"{text!r}: give balanced, or NAME=WEIGHT with commas between them.") from None


def _share(ctx: click.Context, parameter: click.Parameter, text: str | None) -> str | None:
    least = 0 if parameter.name == "test" else 1e-9
    try:
        number = None if text is None else float(text)
    except ValueError:
        return text  # a file
    if number is not None and not least <= number < 1:
        raise click.BadParameter(f"{text}: give a share of the rows, such as 0.2, or a file.")
    return text


_OPTIONS = (
    click.option("--task", type=click.Choice(get_args(Task)), help="What the target is.  [default: by its values]"),
    click.option("--validation", metavar="SHARE|FILE", callback=_share, help="What validates.  [default: 0.2]"),
    click.option("--test", metavar="SHARE|FILE", callback=_share, help="What is held out; 0: nothing.  [default: 0.2]"),
    click.option("--folds", type=click.IntRange(min=2), help="Cross-validate with so many folds; leaves no model."),
    click.option(
        "--hidden", metavar="SIZES", callback=_sizes,
        help=f"Of the hidden layers: 128,64.  {_defaults('hidden')}",
    ),
    click.option("--activation", type=click.Choice(list(FUNCTIONS)), help=_defaults("activation")),
    click.option("--dropout", type=float, default=0.0, show_default=True, help="Share of zeros after hidden layers."),
    click.option("--batch-norm", is_flag=True, help="Normalise each hidden layer over the batch."),
    click.option("--loss", type=click.Choice(VALUE_LOSSES), help="For values.  [default: mse]"),
    click.option(
        "--label-smoothing", type=float,
        help=f"For classes: how much is spread.  {_defaults('label_smoothing')}",
    ),
    click.option(
        "--class-weight", metavar="balanced|NAME=WEIGHT,...", callback=_class_weight,
        help="For classes: 'balanced' lets each count the same.",
    ),
    click.option("--epochs", type=click.IntRange(min=1), help=f"The most epochs.  {_defaults('epochs')}"),
    click.option(
        "--patience", type=click.IntRange(min=1),
        help=f"Epochs without improvement before the training ends.  {_defaults('patience')}",
    ),
    click.option("--no-early-stopping", is_flag=True, help="Train for all --epochs, and keep the best one."),
    click.option(
        "--metric", type=click.Choice([*CLASS_METRICS, *VALUE_METRICS]),
        help="What decides which epoch is best.  [default: the loss]",
    ),
    click.option("--batch-size", type=click.IntRange(min=1), help=_defaults("batch_size")),
    click.option("--optimizer", type=click.Choice(list(LEARNING_RATES), False), default="Adam", show_default=True),
    click.option("--lr", type=float, help="Learning rate.  [default: 0.002; 0.1 for SGD]"),
    click.option(
        "--schedule", type=click.Choice(SCHEDULES),
        help=f"Of the learning rate, over all --epochs.  {_defaults('schedule')}",
    ),
    click.option("--weight-decay", type=float, help="[default: 0; 0.01 for AdamW]"),
    click.option("--tensorboard", is_flag=True, help="Write the history for TensorBoard, into the folder."),
    click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights, order and dropout."
    ),
)  # fmt: skip


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a training to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command

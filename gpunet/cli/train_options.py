"""The options of `gpunet train` for the model and its training."""

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
        raise click.BadParameter(f"{text!r}: give comma-separated integers, such as 128,64.") from None


def _defaults(name: str) -> str:
    """Return the help text for an option whose default depends on the data."""
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
        raise click.BadParameter(f"{text!r}: give balanced, or a comma-separated list of NAME=WEIGHT.") from None


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
    click.option("--task", type=click.Choice(get_args(Task)), help="What the target holds.  [default: inferred]"),
    click.option("--validation", metavar="SHARE|FILE", callback=_share, help="Validation part.  [default: 0.2]"),
    click.option("--test", metavar="SHARE|FILE", callback=_share, help="Test part; 0 for none.  [default: 0.2]"),
    click.option("--folds", type=click.IntRange(min=2), help="Number of folds for cross-validation; saves no model."),
    click.option(
        "--hidden", metavar="SIZES", callback=_sizes,
        help=f"Sizes of the hidden layers.  {_defaults('hidden')}",
    ),
    click.option(
        "--activation", type=click.Choice(list(FUNCTIONS)),
        help=f"Activation of the hidden layers.  {_defaults('activation')}",
    ),
    click.option(
        "--dropout", type=click.FloatRange(0, 1, max_open=True), default=0.0, show_default=True,
        help="Dropout after each hidden layer.",
    ),
    click.option("--batch-norm", is_flag=True, help="Batch normalisation of each hidden layer."),
    click.option("--loss", type=click.Choice(VALUE_LOSSES), help="Loss for values.  [default: mse]"),
    click.option(
        "--label-smoothing", type=float,
        help=f"Label smoothing for classes.  {_defaults('label_smoothing')}",
    ),
    click.option(
        "--class-weight", metavar="balanced|NAME=WEIGHT,...", callback=_class_weight,
        help="Weights of classes; 'balanced': inverse to their frequency.",
    ),
    click.option("--epochs", type=click.IntRange(min=1), help=f"Maximum number of epochs.  {_defaults('epochs')}"),
    click.option(
        "--patience", type=click.IntRange(min=1),
        help=f"Epochs without improvement before training stops early.  {_defaults('patience')}",
    ),
    click.option("--no-early-stopping", is_flag=True, help="Train for all --epochs; the best epoch is kept."),
    click.option(
        "--metric", type=click.Choice([*CLASS_METRICS, *VALUE_METRICS]),
        help="Validation metric that selects the best epoch.  [default: the loss]",
    ),
    click.option("--batch-size", type=click.IntRange(min=1), help=f"Rows per step.  {_defaults('batch_size')}"),
    click.option("--optimizer", type=click.Choice(list(LEARNING_RATES), False), default="Adam", show_default=True),
    click.option("--lr", type=float, help="Learning rate.  [default: 0.002; 0.1 for SGD]"),
    click.option(
        "--schedule", type=click.Choice(SCHEDULES),
        help=f"Learning rate schedule over all --epochs.  {_defaults('schedule')}",
    ),
    click.option("--weight-decay", type=float, help="Weight decay.  [default: 0; 0.01 for AdamW]"),
    click.option("--tensorboard", is_flag=True, help="Also write TensorBoard logs into the folder."),
    click.option(
        "--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Seed of the run."
    ),
)  # fmt: skip


def training_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options for the model and its training to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command

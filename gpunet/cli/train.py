"""`gpunet train`: from a data set to a run folder with the trained model."""

from __future__ import annotations

import io
import sys
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import click
from click.core import ParameterSource

from gpunet.cli import recipe, run
from gpunet.cli.options import described_device, device_option, json_line, json_option, results_table
from gpunet.cli.recipe import LEARNING_RATES, SCHEDULES, VALUE_LOSSES
from gpunet.cli.report import CLASS_METRICS, VALUE_METRICS, class_scores, never_predicted, rare_classes, score
from gpunet.cli.run import Settings
from gpunet.cli.table import table_options
from gpunet.data import Dataset, Task
from gpunet.device import use_device
from gpunet.errors import ArgumentError, DataError, MissingPackageError
from gpunet.files import write_bytes
from gpunet.models import Sequential
from gpunet.ops.activations import FUNCTIONS
from gpunet.training import EarlyStopping, ProgressBar, Trainer
from gpunet.training.batch_sizes import batch_sizes
from gpunet.training.distributed import Ranks, launched


def _sizes(ctx: click.Context, parameter: click.Parameter, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(size) for size in text.split(",") if size.strip())
    except ValueError:
        raise click.BadParameter(f"{text!r}: give whole numbers with commas between them, such as 128,64.") from None


class _RankedCommand(click.Command):
    """A command of ranks that wait for each other: one with wrong arguments tells the others, which end as well."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except click.UsageError:
            if launched():
                with suppress(MissingPackageError):
                    Ranks.join(launched()).stay_away()
            raise


@click.command(cls=_RankedCommand)
@click.argument("data", required=False)
@table_options
@click.option("--task", type=click.Choice(get_args(Task)), help="What the target is.  [default: told by its values]")
@click.option(
    "--hidden", metavar="SIZES", default="128", show_default=True, callback=_sizes, help="Of the hidden layers: 128,64."
)
@click.option("--activation", type=click.Choice(list(FUNCTIONS)), default="relu", show_default=True)
@click.option("--dropout", type=float, default=0.0, show_default=True, help="Share of zeros after each hidden layer.")
@click.option("--label-smoothing", type=float, default=0.1, show_default=True, help="For classes: how much is spread.")
@click.option("--class-weight", type=click.Choice(["balanced"]), help="For classes: rare ones count as much as others.")
@click.option("--loss", type=click.Choice(VALUE_LOSSES), help="For values.  [default: mse]")
@click.option("--batch-norm", is_flag=True, help="Normalise each hidden layer over the batch.")
@click.option("--epochs", type=click.IntRange(min=1), default=100, show_default=True, help="Maximum number of epochs.")
@click.option(
    "--patience",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="Epochs without improvement before the training ends.",
)
@click.option("--no-early-stopping", is_flag=True, help="Train for all --epochs; the best one is kept nevertheless.")
@click.option(
    "--metric",
    type=click.Choice([*CLASS_METRICS, *VALUE_METRICS]),
    help="What decides which epoch is best.  [default: the loss]",
)
@click.option("--batch-size", type=click.IntRange(min=1), default=32, show_default=True)
@click.option("--optimizer", type=click.Choice(list(LEARNING_RATES), False), default="Adam", show_default=True)
@click.option("--lr", type=float, help="Learning rate.  [default: 0.002; 0.1 for SGD]")
@click.option(
    "--schedule",
    type=click.Choice(SCHEDULES),
    default="constant",
    show_default=True,
    help="Of the learning rate, over all --epochs.",
)
@click.option("--weight-decay", type=float, help="[default: 0; 0.01 for AdamW]")
@device_option
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of weights, order and dropout.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results.  [default: runs/NAME-TIME]")
@click.option("--tensorboard", is_flag=True, help="Write the history for TensorBoard, into the folder.")
@click.option("--resume", metavar="RUN", type=click.Path(path_type=Path), help="Resume the run in this folder.")
@json_option
@click.pass_context
def train(ctx: click.Context, /, out: Path | None, resume: Path | None, as_json: bool, **options: Any) -> None:
    """Train an MLP on DATA, and leave the model and its history in a folder.

    DATA is "digits" (embedded), a table (.csv, .tsv, .csv.gz, .parquet, or - for standard input), a .npz file with X
    and y, or a folder of MNIST-style IDX files. A fifth is held out as the test part; a fifth of the rest validates,
    and ends the training when it gets no better. Ctrl-C stops; --resume goes on as if nothing had happened, with
    --epochs to more of them than were asked for at first. A run that has ended because it got no better stays as it is.

    Started by mpiexec, as in "mpiexec -n 4 gpunet train digits", the processes train together, each on its share of
    every batch: the result is that of one process.
    """
    distributed = launched()
    ranks = Ranks.join(distributed)
    if not ranks.main:
        sys.stdout = sys.stderr = io.StringIO()  # rank 0 speaks for all
    ranks.refuse_differences(ctx.params)
    settings, folder = ranks.on_main(
        lambda: _new_run(options, out) if resume is None else (_resumed(ctx, resume), resume)
    )
    say = (lambda text: None) if as_json else click.echo
    with ranks.together(), use_device(ranks.local_device(settings.device)):
        say(f"device  {described_device(settings.device)}" + (f"; {ranks.size} ranks" if ranks.size > 1 else ""))
        parts = run.load_parts(settings)
        sha256 = run.checksum(parts)
        if settings.sha256 not in (None, sha256):
            raise DataError(f"{settings.data}: changed since the run began; put the old data back, or begin a new run.")
        settings = replace(settings, sha256=sha256)
        say(f"data    {_described(parts)}")
        if hint := rare_classes(parts["train"]):
            click.echo(hint, err=True)
        if parts["train"].schema is not None:
            say(f"read    {parts['train'].found}\n\n{parts['train'].schema.describe()}")
        say("")
        stopper, callbacks = recipe.callbacks(settings, folder)
        bar = [ProgressBar()] if sys.stderr.isatty() and not as_json else []
        trainer = recipe.open_trainer(settings, folder, parts["train"], [*bar, *callbacks], distributed)
        assert isinstance(trainer.model, Sequential)  # a run trains an MLP
        if resume is None:  # before there is a file
            for count in batch_sizes(len(parts["train"].X), 0, settings.batch_size):
                ranks.rows(count)
        say(f"{trainer.model.summary()}\n")
        if ranks.main:
            settings.write(folder)
            (folder / run.RESULTS).unlink(missing_ok=True)  # of a run that now continues
    _fit(trainer, settings, parts, stopper)
    if not ranks.main:
        return
    trainer.model.save(folder / run.MODEL)
    if trainer.history.stopped == "interrupted":
        click.echo(f"Interrupted after {trainer.epoch} epochs. To resume:\n{run.resume_command(folder)}", err=True)
        ctx.exit(130)
    if find_spec("matplotlib"):
        trainer.history.plot(folder / run.HISTORY_PLOT)
    _report(trainer, settings, parts, folder, as_json)
    if trainer.history.stopped == "non-finite loss":
        click.echo("Error: the loss became infinite or NaN; the last finite weights are kept. Lower --lr.", err=True)
        ctx.exit(1)


def _report(trainer: Trainer, settings: Settings, parts: dict[str, Dataset], folder: Path, as_json: bool) -> None:
    """Write what the run gave into its folder, and print it."""
    results = {name: score(trainer.model, part.X, part.y, settings.metric) for name, part in parts.items()}
    seconds = round(sum(trainer.history["seconds"]), 3)  # also those of before a --resume
    end = {"epochs": trainer.epoch, "stopped": trainer.history.stopped, "seconds": seconds, "run": str(folder)}
    line = json_line({"device": trainer.model.device.name, **results, **end})
    write_bytes(folder / run.RESULTS, f"{line}\n".encode())
    if as_json:
        click.echo(line)
    else:
        why = f" ({trainer.history.stopped})" if trainer.history.stopped else ""
        click.echo(f"\n{results_table(results)}")
        if trainer.model.task == "classification" and (settings.label_smoothing or settings.class_weight):
            click.echo("(of the best epoch; the loss without the label smoothing and the class weights of the curves)")
        click.echo(f"\n{trainer.epoch} epochs{why}, {seconds:.1f} s; see {folder}")
    held_out = parts["validation"]
    if warning := never_predicted(class_scores(trainer.model, held_out.X, held_out.y)):
        click.echo(warning, err=True)


def _new_run(options: dict[str, Any], out: Path | None) -> tuple[Settings, Path]:
    """Return the settings of a new run and its folder, which does not exist yet or is empty."""
    data = options["data"]
    if data is None:
        raise click.UsageError("give DATA, such as digits, or --resume RUN.")
    name = "stdin" if data == "-" else Path(data).resolve().stem
    folder = out or Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S-%f}"
    if folder.exists() and any(folder.iterdir()):
        raise ArgumentError(
            f"--out {folder}: not empty; choose another folder, or resume with {run.resume_command(folder)}"
        )
    if options.pop("no_early_stopping"):
        options["patience"] = None
    lr = LEARNING_RATES[options["optimizer"]] if options["lr"] is None else options["lr"]
    return Settings(**options | {"data": run.place(data), "lr": lr}), folder


def _resumed(ctx: click.Context, folder: Path) -> Settings:
    """Return the settings of the run in `folder`, with what may be changed about it: its length and its device."""
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT}
    if fixed := given - {"resume", "epochs", "device", "as_json"}:
        raise click.UsageError(f"{', '.join(sorted(fixed))}: not with --resume, which takes it from the run.")
    begun = Settings.read(folder)
    settings = replace(begun, **{name: ctx.params[name] for name in given & {"epochs", "device"}})
    if begun.schedule == "cosine" and settings.epochs > begun.epochs:
        raise ArgumentError(f"--epochs: the learning rate reaches 0 after {begun.epochs} epochs; begin a new run.")
    return settings


def _fit(trainer: Trainer, settings: Settings, parts: dict[str, Dataset], stopper: EarlyStopping) -> None:
    """Train for the epochs that are left; a resumed run may have none."""
    left = settings.epochs - trainer.epoch
    ended = stopper.waited >= stopper.patience
    if ended:
        trainer.stop("early stopping")
    elif left <= 0:
        click.echo(f"Nothing to do: the run has its {trainer.epoch} epochs. --epochs asks for more.", err=True)
    if ended or left <= 0:
        stopper.on_fit_end(trainer)  # puts the best weights back, which the checkpoint holds beside the last ones
        return
    held_out = parts["validation"]
    trainer.fit(
        parts["train"].X,
        parts["train"].y,
        epochs=left,
        batch_size=settings.batch_size,
        validation=(held_out.X, held_out.y),
    )


def _described(parts: dict[str, Dataset]) -> str:
    first = parts["train"]
    kind = "values to predict" if first.classes is None else f"{len(first.classes)} classes"
    sizes = ", ".join(f"{len(part):,} {name}" for name, part in parts.items())
    return f"{first.name}: {first.X.shape[1]} features, {kind}; {sizes}"

"""`gpunet train`: train an MLP, write the model and its history into a run folder."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import click
from click.core import ParameterSource

from gpunet.arguments import counted
from gpunet.cli import recipe, run
from gpunet.cli.folds import cross_validate
from gpunet.cli.options import described_device, device_option, json_line, json_option, results_table
from gpunet.cli.parts import Parts, checksum, load_parts, place, same_place, share_of
from gpunet.cli.report import check_defined, class_scores, never_predicted, score, show_data
from gpunet.cli.run import Settings
from gpunet.cli.table import table_options
from gpunet.cli.train_options import training_options
from gpunet.default_device import use_device
from gpunet.errors import ArgumentError, DataError, GpunetError, MissingPackageError
from gpunet.files import write_bytes
from gpunet.locks import claimed
from gpunet.models import Sequential
from gpunet.models.files import MODEL
from gpunet.startup import INTERRUPTED
from gpunet.training import EarlyStopping, ProgressBar, Trainer
from gpunet.training.batch_sizes import batch_sizes
from gpunet.training.distributed import Ranks
from gpunet.training.launch import launched

DIVERGED = (
    f"the training diverged: the loss became infinite, NaN, or over {recipe.DIVERGED} times that of the untrained "
    "model; the last finite weights are kept. Lower --lr."
)


class _RankedCommand(click.Command):
    """A command that several MPI ranks may run; a rank with wrong arguments tells the others that it exits."""

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        try:
            return super().make_context(*args, **extra)
        except click.UsageError:
            if launched():
                with suppress(MissingPackageError):
                    Ranks.join(launched())
            raise


@click.command(cls=_RankedCommand)
@click.argument("data", required=False)
@table_options
@training_options
@device_option
@click.option("--out", type=click.Path(path_type=Path), help="Output folder.  [default: runs/NAME-TIME]")
@click.option("--resume", metavar="RUN", type=click.Path(path_type=Path), help="Resume the run in this folder.")
@json_option
@click.pass_context
def train(
    ctx: click.Context, /, out: Path | None, resume: Path | None, as_json: bool, folds: int | None, **options: Any
) -> None:
    """Train an MLP on DATA; write the model and its history into a folder.

    DATA is "digits" (embedded), a table (.csv, .tsv, .txt, also .gz, .parquet, or - for standard input), a .npz file
    with X and y, or a folder of MNIST-style IDX files. A fifth of the rows is the test part, a fifth of the rest the
    validation part. The weights of the best epoch are kept. Training stops early when the validation loss no longer
    improves; on a table, after all --epochs.

    Ctrl-C stops a run; --resume continues it with the same results as an uninterrupted one, and --epochs extends it.
    A run that stopped early, or whose learning rate has reached 0 (as on a table by default), cannot be extended.

    --folds trains once per fold on the other folds. It writes the scores and the out-of-fold predictions, but no model.

    "mpiexec -n 4 gpunet train digits" trains with 4 processes, each on a part of every batch, with the result of one
    process.
    """
    distributed = launched()
    ranks = Ranks.join(distributed)
    if not ranks.main:
        sys.stdout = sys.stderr = io.StringIO()  # rank 0 speaks for all
    ranks.refuse_differences(ctx.params)
    with ExitStack() as claims:
        settings, folder = ranks.on_main(lambda: _opened(ctx, claims, options, out, resume))
        if folds is None:
            _train(ctx, settings, folder, ranks, distributed, as_json)
        elif ranks.size > 1 or resume is not None or settings.tensorboard:
            raise click.UsageError("--folds: not with --resume, --tensorboard, nor with several ranks.")
        else:
            with use_device(settings.device):
                line, diverged = cross_validate(settings, folds, folder, _silent if as_json else click.echo)
            if as_json:
                click.echo(line)
            if diverged:
                click.echo(f"Error: folds {', '.join(map(str, diverged))}: {DIVERGED}", err=True)
                ctx.exit(1)


def _silent(text: str) -> None:
    pass


def _train(
    ctx: click.Context,
    settings: Settings,
    folder: Path,
    ranks: Ranks,
    distributed: Literal["mpi"] | None,
    as_json: bool,
) -> None:
    """Train, write the files of the run, and print the results."""
    say = _silent if as_json else click.echo
    with ranks.together(), use_device(ranks.local_device(settings.device)):
        say(f"device  {described_device(settings.device)}" + (f"; {ranks.size} ranks" if ranks.size > 1 else ""))
        settings, parts = _loaded(settings, say)
        stopper, callbacks = recipe.callbacks(settings, folder)
        bar = [ProgressBar()] if sys.stderr.isatty() and not as_json else []
        trainer = recipe.open_trainer(settings, folder, parts["train"], [*bar, *callbacks], distributed)
        assert isinstance(trainer.model, Sequential)  # a run trains an MLP
        if trainer.epoch == 0:  # before there is a file
            for count in batch_sizes(len(parts["train"].X), 0, settings.batch_size):
                ranks.rows(count)
        say(f"{trainer.model.summary()}\n")
        if ranks.main:
            settings.write(folder)
            (folder / run.RESULTS).unlink(missing_ok=True)  # of a run that now continues
    try:
        _fit(trainer, settings, parts, stopper)
    except GpunetError:
        if ranks.main and trainer.epoch == 0:  # nothing to resume; the folder can be taken again
            (folder / run.CONFIG).unlink()
        raise
    if not ranks.main:
        return
    trainer.model.save(folder / MODEL)
    if trainer.history.stopped == "interrupted":
        click.echo(
            f"Interrupted after {counted(trainer.epoch, 'epoch')}. To resume:\n{run.resume_command(folder)}", err=True
        )
        ctx.exit(INTERRUPTED)
    if find_spec("matplotlib"):
        trainer.history.plot(folder / run.HISTORY_PLOT)
    _report(trainer, settings, parts, folder, as_json)
    with use_device(trainer.model.device.name):
        diverged = recipe.has_diverged(settings, parts, trainer)
    if diverged:
        click.echo(f"Error: {DIVERGED}", err=True)
        ctx.exit(1)


def _loaded(settings: Settings, say: Callable[[str], None]) -> tuple[Settings, Parts]:
    """Return the settings with the checksum of the data, and the parts, after checking and describing them."""
    parts = load_parts(settings)
    sha256 = checksum(parts)
    if settings.sha256 not in (None, sha256):
        raise DataError(f"{settings.data}: changed since the run began; restore the old data, or start a new run.")
    show_data(parts, settings.class_weight, say)
    check_defined(settings.metric, parts["validation"].y, parts["validation"].classes)
    return replace(settings, sha256=sha256), parts


def _report(trainer: Trainer, settings: Settings, parts: Parts, folder: Path, as_json: bool) -> None:
    """Write the results into the folder of the run, and print them."""
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
            click.echo("(best epoch; loss without label smoothing and class weights, unlike in the learning curves)")
        click.echo(f"\n{counted(trainer.epoch, 'epoch')}{why}, {seconds:.1f} s; see {folder}")
    held_out = parts["validation"]
    if warning := never_predicted(class_scores(trainer.model, held_out.X, held_out.y), settings.class_weight):
        click.echo(warning, err=True)


def _opened(
    ctx: click.Context, claims: ExitStack, options: dict[str, Any], out: Path | None, resume: Path | None
) -> tuple[Settings, Path]:
    """Return the settings of a run and its folder, locked by this process; the folder of a new run is empty."""
    if resume is not None:
        settings = _resumed(ctx, resume)
        claims.enter_context(claimed(resume))
        return settings, resume
    settings, folder = _new_run(options, out)
    if folder.is_file():
        raise ArgumentError(f"--out {folder}: a file; give a folder.")
    claims.enter_context(claimed(folder))
    if any(not file.name.endswith((".tmp", ".lock")) for file in folder.iterdir()):  # what a killed process leaves
        raise ArgumentError(
            f"--out {folder}: not empty; choose another folder, or resume with {run.resume_command(folder)}"
        )
    return settings, folder


def _new_run(options: dict[str, Any], out: Path | None) -> tuple[Settings, Path]:
    """Return the settings of a new run and its folder."""
    data = options["data"]
    if data is None:
        raise click.UsageError("DATA is missing; give a data set, such as digits, or --resume RUN.")
    name = "stdin" if data == "-" else Path(os.path.abspath(data)).stem
    folder = out or Path("runs") / f"{name}-{datetime.now():%Y%m%d-%H%M%S-%f}"
    without_end = options.pop("no_early_stopping")
    if without_end and options["patience"] is not None:
        raise click.UsageError("--patience: not with --no-early-stopping; leave one of them out.")
    options = recipe.with_defaults(options) | ({"patience": None} if without_end else {})
    files = {name: place(options[name]) for name in ("validation", "test") if share_of(options[name]) is None}
    for part, file in files.items():
        if same_place(file, data):
            raise ArgumentError(f"--{part} {options[part]}: its rows train the model; give another file, or a share.")
    return Settings(**options | files | {"data": place(data)}), folder


def _resumed(ctx: click.Context, folder: Path) -> Settings:
    """Return the settings of the run in `folder`, with the options that may change: epochs and device."""
    given = {name for name in ctx.params if ctx.get_parameter_source(name) is not ParameterSource.DEFAULT}
    if fixed := given - {"resume", "epochs", "device", "as_json"}:
        names = [parameter.get_error_hint(ctx) for parameter in ctx.command.params if parameter.name in fixed]
        raise click.UsageError(f"{', '.join(names)}: cannot change with --resume; leave it out.")
    begun = Settings.read(folder)
    settings = replace(begun, **{name: ctx.params[name] for name in given & {"epochs", "device"}})
    if begun.schedule in recipe.ENDING and settings.epochs != begun.epochs:
        raise ArgumentError(
            f"--epochs: the learning rate reaches 0 after {counted(begun.epochs, 'epoch')}; start a new run with "
            f"--epochs {settings.epochs}, or with --schedule constant, which can be extended."
        )
    return settings


def _fit(trainer: Trainer, settings: Settings, parts: Parts, stopper: EarlyStopping) -> None:
    """Train for the remaining epochs; a resumed run may have none."""
    left = settings.epochs - trainer.epoch
    ended = stopper.waited >= stopper.patience
    if ended:
        trainer.stop("early stopping")
    elif left <= 0:
        more = "" if settings.schedule in recipe.ENDING else " A larger --epochs extends it."
        click.echo(f"Nothing to do: the run has completed its {counted(trainer.epoch, 'epoch')}.{more}", err=True)
    if ended or left <= 0:
        stopper.on_fit_end(trainer)  # restores the best weights; the checkpoint holds both them and the last ones
        return
    recipe.fit(trainer, settings, parts, left)

"""`gpunet plot`: plot the history and the confusion matrix of runs."""

from __future__ import annotations

import io
from pathlib import Path

import click

from gpunet.cli.parts import own_parts
from gpunet.cli.run import PLOT, Settings, check_output, open_model, read_history
from gpunet.errors import ArgumentError, DataError
from gpunet.files import write_bytes
from gpunet.training.metrics import confusion_matrix
from gpunet.training.plots import Confusion, figure


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="PNG file to write.  [default: plot.png in RUN]")
def plot(runs: tuple[Path, ...], out: Path | None) -> None:
    """Plot the loss and metrics of runs over their epochs, and the confusion matrix of each classifier.

    RUN is a run's folder; the curves of several runs share their panels. The confusion matrix is that of the test part.
    Needs matplotlib.
    """
    if out is None and len(runs) > 1:
        raise ArgumentError("several runs need an output file: give --out FILE.png.")
    place = out or runs[0] / PLOT
    if place.suffix.lower() != ".png":
        raise ArgumentError(f"--out {place}: only PNG files are supported; use a file name that ends in .png.")
    check_output(place, *runs)
    names = {folder: str(folder) if len(runs) > 1 else "" for folder in runs}
    histories = {name: read_history(folder).to_dict() for folder, name in names.items()}
    confusions = {name: found for folder, name in names.items() if (found := _confusion(folder))}
    picture = io.BytesIO()  # in memory first, so that a failure leaves no partial file
    figure(histories, confusions).savefig(picture, format="png")
    write_bytes(place, picture.getvalue())
    click.echo(f"see {place}")


def _confusion(folder: Path) -> Confusion | None:
    """Return the confusion matrix of a run's test part and the class names, or None without classes or test part."""
    model = open_model(folder, "cpu")
    if model.task != "classification":
        return None
    data = Settings.read(folder).data
    parts = own_parts(folder, data)
    if parts is None:
        raise DataError(f"{data}: changed since the run {folder} began; restore the old data.")
    if "test" not in parts:
        return None
    test = parts["test"]
    assert test.classes is not None  # `gpunet train` saves classifiers with their class names
    return confusion_matrix(test.y, model.outputs(test.X), len(test.classes)), test.classes

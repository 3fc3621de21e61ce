"""`gpunet plot`: pictures of what runs have learned."""

from __future__ import annotations

import io
from pathlib import Path

import click

from gpunet.cli.parts import own_parts
from gpunet.cli.run import PLOT, Settings, open_model, read_history
from gpunet.errors import ArgumentError, DataError
from gpunet.files import write_bytes
from gpunet.training.metrics import confusion_matrix
from gpunet.training.plots import Confusion, figure


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="PNG file to write.  [default: plot.png in RUN]")
def plot(runs: tuple[Path, ...], out: Path | None) -> None:
    """Draw the loss and the metrics of runs over their epochs, and the confusion matrix of each classifier.

    RUN is a run's folder; the curves of several come into the same panels. The confusion matrix counts the samples of
    the test part, which the run held out. Needs matplotlib.
    """
    if out is None and len(runs) > 1:
        raise ArgumentError("say where a picture of several runs goes: --out FILE.png.")
    place = out or runs[0] / PLOT
    if place.suffix.lower() != ".png":
        raise ArgumentError(f"--out {place}: the picture is a PNG; give a name that ends in .png.")
    names = {folder: str(folder) if len(runs) > 1 else "" for folder in runs}
    histories = {name: read_history(folder).to_dict() for folder, name in names.items()}
    confusions = {name: found for folder, name in names.items() if (found := _confusion(folder))}
    picture = io.BytesIO()  # so that a file is written whole or not touched
    figure(histories, confusions).savefig(picture, format="png")
    write_bytes(place, picture.getvalue())
    click.echo(f"see {place}")


def _confusion(folder: Path) -> Confusion | None:
    """Return the confusion matrix of a run's test part with the names of its classes; None if there are no classes."""
    model = open_model(folder, "cpu")
    if model.task != "classification":
        return None
    data = Settings.read(folder).data
    parts = own_parts(folder, data)
    if parts is None:
        raise DataError(f"{data}: changed since the run {folder} began; put the old data back.")
    if "test" not in parts:
        return None
    test = parts["test"]
    assert test.classes is not None  # as for every classifier that `gpunet train` leaves
    return confusion_matrix(test.y, model.outputs(test.X), len(test.classes)), test.classes

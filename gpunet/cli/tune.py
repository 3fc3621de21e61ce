"""`gpunet tune`: the fastest tiles and splits for the matrix products of a model, found and kept."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import click
import numpy as np

from gpunet.bench.cases import OPS
from gpunet.bench.measure import clock_of
from gpunet.bench.table import time_text
from gpunet.bench.timing import Spread, ratios
from gpunet.bench.tune import Result, linear_sizes, step_products
from gpunet.bench.tune import tune as tune_products
from gpunet.cli.bench import BadInput, bad_input
from gpunet.cli.options import described_device, device_option
from gpunet.cli.run import MODEL, Settings
from gpunet.device import CPU, get_device, use_device
from gpunet.models import load
from gpunet.ops import tuned
from gpunet.ops.tuned import Product


@click.command()
@click.argument("path", metavar="[RUN_OR_MODEL]", required=False, type=click.Path(path_type=Path))
@click.option("--sizes", metavar="IN-HIDDEN-...-OUT", help="Of an MLP, in place of a model.")
@click.option("--batch-size", type=click.IntRange(1), help="Rows of a training step.  [default: the run's]")
@device_option
@click.pass_context
def tune(ctx: click.Context, path: Path | None, sizes: str | None, batch_size: int | None, device: str) -> None:
    """Find the fastest way to run the matrix products of a model's training step on a GPU, and keep it.

    RUN_OR_MODEL is a run's folder or a model file. Every choice of a tile and of splits along k must compute what
    float64 does, then all are timed in turns, and the fastest are kept for this GPU in the user's cache folder, where
    gpunet finds them from then on. Another order of the sums changes their last bits: do not tune between a training
    and its resumption if they shall agree bit for bit. The device "sim" checks every choice and keeps none.
    """
    with bad_input():
        if (path is None) == (sizes is None):
            raise BadInput("name a run's folder or a model file, or give --sizes 784-128-10; one of the two.")
        products = _of_model(path, batch_size) if path else _of_sizes(sizes or "", batch_size)
        place = get_device(device)
        if place is CPU:
            raise BadInput(f"on {described_device(device)}: the CPU's products are BLAS's, there is nothing to tune.")
        simulated = place.name == "sim"
        if not simulated:
            _check_writable(tuned.table_path())
        found = tune_products(products, place, None if simulated else clock_of(place))
        click.echo(f"{products[0].dtype}, on {described_device(device)}, {tuned.gpu_name(place)}\n")
        results = []
        for result in found:
            results.append(result)
            for line in _lines(result):
                click.echo(line)
        if simulated:
            click.echo("\nThe simulated GPU has no speed: every choice was checked, none is kept.")
        elif winners := {result.product: result.winner for result in results if result.winner}:
            click.echo(f"\nkept in {tuned.keep(place, winners)}")
    ctx.exit(any(result.faults for result in results))


def _of_model(path: Path, batch_size: int | None) -> list[Product]:
    """Return the products of a model's training step, by default with the batch size of its run."""
    with use_device(CPU):
        model = load(path / MODEL if path.is_dir() else path)
    if batch_size is None and path.is_dir():
        batch_size = Settings.read(path).batch_size
    products = step_products(linear_sizes(model), _given(batch_size), model.dtype)
    if not products:
        raise BadInput(f"{path}: the model has no linear layer, there is nothing to tune.")
    return products


def _of_sizes(sizes: str, batch_size: int | None) -> list[Product]:
    *widths, batch = OPS["step"].parse(f"{sizes}/{_given(batch_size)}")
    return step_products(pairwise(widths), batch, np.dtype(np.float32))


def _given(batch_size: int | None) -> int:
    if batch_size is None:
        raise BadInput("say how many rows a training step has: --batch-size 128.")
    return batch_size


def _check_writable(path: Path) -> None:
    """Make sure, before anything is measured, that the table can be kept there."""
    tuned.read(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def _lines(result: Result) -> Iterator[str]:
    """Yield the lines of a product: what is wrong, then the fastest choice beside the default and the library."""
    product, times = result.product, result.times
    head = f"{product.m}x{product.n}x{product.k} {product.layout}"
    for name, fault in result.faults.items():
        yield f"{head:<20} {name}  WRONG: {fault}"
    if not times:
        right = sum(name not in result.faults for name in result.choices)
        yield f"{head:<20} {right} of {len(result.choices)} choices are right"
    elif result.best is not None:
        best = times[result.best]
        bases = {"default": next(iter(result.choices)), "blas": "blas"}
        speedups = [f"{ratios(best, times[b]).median:.3g} x {name}" for name, b in bases.items() if b in times]
        yield f"{head:<20} {result.best:<24} {time_text(Spread.of(best)):<30} {', '.join(speedups)}"

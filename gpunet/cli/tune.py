"""`gpunet tune`: find and save the fastest tiles and splits for a model's matrix products."""

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
from gpunet.cli.options import described_device, device_option
from gpunet.cli.run import Settings
from gpunet.default_device import use_device
from gpunet.device import CPU, get_device
from gpunet.errors import ArgumentError
from gpunet.models import load
from gpunet.models.files import MODEL
from gpunet.ops import tuned
from gpunet.ops._matmul_plan import PRECISIONS
from gpunet.ops.tuned import Product


@click.command()
@click.argument("path", metavar="[RUN_OR_MODEL]", required=False, type=click.Path(path_type=Path))
@click.option("--sizes", metavar="IN-HIDDEN-...-OUT", help="Layer sizes of an MLP, instead of a model.")
@click.option("--batch-size", type=click.IntRange(1), help="Rows of a training step.  [default: the run's]")
@click.option(
    "--precision",
    type=click.Choice(tuple(PRECISIONS)),
    default="float32",
    show_default=True,
    help="Precision of float32 products, as in Trainer(precision=...).",
)
@device_option
@click.pass_context
def tune(
    ctx: click.Context, path: Path | None, sizes: str | None, batch_size: int | None, precision: str, device: str
) -> None:
    """Find and save the fastest tiles and splits for the matrix products of a model's training step on a GPU.

    RUN_OR_MODEL is a run's folder or a model file. Every combination of tile and split-K is checked against float64,
    then timed in interleaved rounds. The fastest for each product are saved for this GPU in the user's cache folder;
    gpunet uses them from then on. Other tiles change the last bits of results: do not tune between a run and its
    --resume if both must give the same bits. The device "sim" checks every combination and saves none.
    """
    if (path is None) == (sizes is None):
        raise ArgumentError("give either a run's folder or model file, or layer sizes such as --sizes 784-128-10.")
    products = _of_model(path, batch_size) if path else _of_sizes(sizes or "", batch_size)
    place = get_device(device)
    if place is CPU:
        raise ArgumentError(f"on {described_device(device)}: the CPU uses BLAS, which has nothing to tune; use a GPU.")
    simulated = place.name == "sim"
    if not simulated:
        _check_writable(tuned.table_path())
    if precision != "float32" and products[0].dtype != np.float32:
        raise ArgumentError(f"--precision {precision}: the model is {products[0].dtype}; use a float32 model.")
    found = tune_products(products, place, None if simulated else clock_of(place), precision=precision)
    named = f" in {precision}" if precision != "float32" else ""
    click.echo(f"{products[0].dtype}{named}, on {described_device(device)}, {tuned.gpu_name(place)}\n")
    results = []
    for result in found:
        results.append(result)
        for line in _lines(result):
            click.echo(line)
    if simulated:
        click.echo("\nEvery choice was checked. None is saved, as the simulated GPU cannot be timed.")
    elif winners := {(result.kernel, result.product): result.winner for result in results if result.winner}:
        click.echo(f"\nsaved in {tuned.keep(place, winners)}")
    ctx.exit(any(result.faults for result in results))


def _of_model(path: Path, batch_size: int | None) -> list[Product]:
    """Return the matrix products of a model's training step; the batch size defaults to the run's."""
    with use_device(CPU):
        model = load(path / MODEL if path.is_dir() else path)
    if batch_size is None and path.is_dir():
        batch_size = Settings.read(path).batch_size
    products = step_products(linear_sizes(model), _required(batch_size), model.dtype)
    if not products:
        raise ArgumentError(f"{path}: the model has no linear layer, so there is nothing to tune.")
    return products


def _of_sizes(sizes: str, batch_size: int | None) -> list[Product]:
    *widths, batch = OPS["step"].parse(f"{sizes}/{_required(batch_size)}")
    return step_products(pairwise(widths), batch, np.dtype(np.float32))


def _required(batch_size: int | None) -> int:
    if batch_size is None:
        raise ArgumentError("give the rows of a training step, such as --batch-size 128.")
    return batch_size


def _check_writable(path: Path) -> None:
    """Check, before anything is measured, that the table of tuned products can be written."""
    tuned.read(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        pass


def _lines(result: Result) -> Iterator[str]:
    """Yield the lines of a product: its wrong choices, then the speedups of the fastest over the default and cuBLAS."""
    product, times = result.product, result.times
    head = f"{product.m}x{product.n}x{product.k} {product.layout}"
    for name, fault in result.faults.items():
        yield f"{head:<20} {name}  WRONG: {fault}"
    if not times:
        correct = sum(name not in result.faults for name in result.choices)
        yield f"{head:<20} {correct} of {len(result.choices)} choices are correct"
    elif result.best is not None:
        best = times[result.best]
        bases = {"default": next(iter(result.choices)), "blas": "blas"}
        speedups = [f"{ratios(best, times[b]).median:.3g} x {name}" for name, b in bases.items() if b in times]
        yield f"{head:<20} {result.best:<24} {time_text(Spread.of(best)):<30} {', '.join(speedups)}"

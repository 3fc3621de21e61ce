"""`gpunet bench`: check, time and compare kernels."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click

from gpunet.bench.cases import OPS
from gpunet.bench.compare import compare as compare_reports
from gpunet.bench.gate import library_uses_tf32
from gpunet.bench.measure import DTYPES, Request, run
from gpunet.bench.plot import check_matplotlib, plot
from gpunet.bench.results import Report, Row
from gpunet.bench.table import lines
from gpunet.cli.bench_file import FILE_COMMAND
from gpunet.cli.options import described_device, device_option
from gpunet.device import get_device
from gpunet.errors import ArgumentError


class _Bench(click.Group):
    """A group that lists the kernels if a name is unknown."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        if args and args[0].endswith(".cu"):
            return args[0], FILE_COMMAND, args[1:]
        if args and self.get_command(ctx, args[0]) is None:
            raise ArgumentError(f"unknown kernel {args[0]!r}; use one of {', '.join(OPS)}, a FILE.cu, or compare.")
        return super().resolve_command(ctx, args)


@click.group(cls=_Bench)
def bench() -> None:
    """Check kernels against float64, then time them in interleaved rounds.

    `gpunet bench FILE.cu --spec SPEC.py` compares your own kernel with those in the spec's `versus`.

    The device "sim" counts bytes, barriers and launches instead.
    """


def _words(ctx: click.Context, parameter: click.Parameter, text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _measure(op: str, device: str, out: Path | None, draw: bool, **options: Any) -> None:
    request = Request(op, device=device, **options)
    request.by_size()
    place = None if out is None else _place(out, f"{op}-{get_device(device).name.replace(':', '')}.json")
    if draw:
        check_matplotlib()
        if place is None:
            raise ArgumentError("--plot saves its figures next to the results; add --out FOLDER.")
    counted = get_device(device).name == "sim"
    on_gpu = get_device(device).name.startswith("cuda")
    library = ", blas in TF32 (CUPY_TF32=1)" if on_gpu and library_uses_tf32(request.dtype) else ""
    how = ", counted, not timed" if counted else library
    click.echo(f"{op}, {request.dtype}, on {described_device(device)}{how}\n")
    shown: list[Row] = []

    def show(rows: list[Row]) -> None:
        for line in lines(rows, head=not shown, counted=counted):
            click.echo(line)
        shown.extend(rows)

    report = run(request, show)
    if report.ceilings:
        copy, product = report.ceilings.bytes_per_second / 1e9, report.ceilings.flops_per_second / 1e9
        click.echo(f"\nceilings: a large copy {copy:,.4g} GB/s, a large matrix product {product:,.4g} GFLOP/s")
    if place is not None:
        report.write(place)
        pictures = plot(report, place.with_suffix("")) if draw else []
        click.echo(f"see {', '.join(map(str, (place, *pictures)))}")
    if any(row.fault for row in report.rows):
        raise click.exceptions.Exit(1)


def _place(out: Path, name: str) -> Path:
    """Return the result file for `out`, a file or a folder; create the folder and check that it is writable."""
    path = out if out.suffix == ".json" and not out.is_dir() else out / name
    if path is not out:
        out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path.parent):
        return path


def _command(op: str) -> click.Command:
    form, sizes, small, what = OPS[op].form, OPS[op].sizes, OPS[op].small, OPS[op].what
    options: list[click.Parameter] = [
        click.Option(
            ["--sizes"],
            metavar=form,
            default="",
            callback=_words,
            help=f"Comma-separated sizes.  [default: {sizes}; on sim {small}]",
        ),
        click.Option(["--dtype"], type=click.Choice(DTYPES), default="float32", show_default=True),
        click.Option(
            ["--kernels"],
            default="",
            callback=_words,
            help="Comma-separated kernels, such as naive,tiled,blas.  [default: all]",
        ),
        click.Option(["--out"], type=click.Path(path_type=Path), help="A folder or a .json file for the results."),
        click.Option(["--plot", "draw"], is_flag=True, help="Plot a roofline and the speeds by size into --out."),
    ]
    if OPS[op].own:
        options += [
            click.Option(
                ["--kernel", "own"], metavar="FILE.cu:NAME",
                help="Your own kernel; see `python -m pydoc gpunet.bench.own`.",
            ),
            click.Option(
                ["--limit"], type=click.FloatRange(0, min_open=True), default=120.0, show_default=True,
                help="Time limit in seconds for each size with your own kernel.",
            ),
        ]  # fmt: skip

    def call(**given: Any) -> None:
        _measure(op, **given)

    return device_option(click.Command(op, params=options, callback=call, help=f"Measure {what}."))


for name in OPS:
    bench.add_command(_command(name))


@bench.command()
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
def compare(a: Path, b: Path) -> None:
    """Print the ratios of the times in A to those in B, and mark the differences that exceed the spread."""
    reports = Report.read(a), Report.read(b)
    for line in compare_reports(*reports):
        click.echo(line)

"""`gpunet bench FILE.cu`: compare your own kernel with others, by the spec of `gpunet check`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from gpunet.bench import versus
from gpunet.bench.child import call_with_limit
from gpunet.bench.spec import Case
from gpunet.bench.spec_child import read_spec_in_child
from gpunet.bench.table import time_text
from gpunet.bench.versus import Measured
from gpunet.cli.check import FILE, counted_text, read_macros
from gpunet.cli.options import described_device, device_option, json_line, json_option
from gpunet.device import get_device
from gpunet.errors import ArgumentError, KernelError

LINE = "{:<24}  {:<24}  {:<32}  {}".format


@click.command("FILE.cu")
@click.option("--spec", "spec_path", metavar="SPEC.py", type=FILE, required=True, help="As for `gpunet check`.")
@click.option("-D", "macros", metavar="NAME=VALUE", multiple=True, callback=read_macros, help="Macro for the compiler.")
@click.option(
    "--seconds",
    type=click.FloatRange(0, min_open=True),
    default=1.0,
    show_default=True,
    help="Approximate seconds per case.",
)
@click.option(
    "--limit",
    type=click.FloatRange(0, min_open=True),
    default=120.0,
    show_default=True,
    help="Seconds for the spec, and for each case.",
)
@json_option
@device_option
@click.pass_context
def FILE_COMMAND(
    ctx: click.Context,
    spec_path: Path,
    macros: dict[str, str],
    seconds: float,
    limit: float,
    as_json: bool,
    device: str,
) -> None:
    """Compare the kernel of a spec with what the spec names as `versus`.

    Each result is first compared with the spec's reference. Correct ones are then timed in turns on CUDA; the device
    "sim" runs them in check mode and counts what they do. Without CUDA, "auto" means "sim".
    """
    path: Path = FILE.convert(ctx.info_name or "", None, ctx)  # the name of this command
    say: Callable[[str], None] = (lambda text: None) if as_json else click.echo
    found = get_device(device).name
    if found == "cpu" and device != "auto":
        raise ArgumentError("a kernel runs on --device cuda or sim, not on the CPU.")
    name = "sim" if found == "cpu" else found

    def measure(number: int, case: Case) -> list[Measured]:
        try:
            if name == "sim":
                return versus.count(path, spec_path, macros, number, case, limit)
            return call_with_limit(limit, versus.time, path, spec_path, macros, number, name, seconds)
        except KernelError as error:
            return [Measured(case.kernel, str(error))]

    results: list[dict[str, Any]] = []
    cases = read_spec_in_child(spec_path, macros, limit)
    say(f"{path.name} on {described_device(device) if name == found else name}")
    for number, case in enumerate(cases):
        rows = measure(number, case)
        for row in rows:
            say(_line(case, row))
        results.append({"case": case.label, "rows": [_told(row) for row in rows]})
    if as_json:
        click.echo(json_line({"file": str(path), "device": name, "cases": results}))
    ctx.exit(any(row["fault"] for result in results for row in result["rows"]))


def _line(case: Case, row: Measured) -> str:
    if row.fault:
        return LINE(case.label, row.name, f"WRONG: {row.fault}", "").rstrip()
    if row.seconds is None:
        return LINE(case.label, row.name, "right", counted_text(vars(row.counts)) if row.counts else "").rstrip()
    times = f"{row.speedup.median:.3g} times as fast" if row.speedup else ""
    return LINE(case.label, row.name, time_text(row.seconds), times).rstrip()


def _told(row: Measured) -> dict[str, Any]:
    parts = {name: asdict(value) for name in ("seconds", "speedup", "counts") if (value := getattr(row, name))}
    return {"name": row.name, "fault": row.fault, **parts}

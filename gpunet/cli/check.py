"""`gpunet check`: check your own kernel on the simulated GPU, and print its resource usage."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from gpunet.bench import nvrtc
from gpunet.bench.check import check as check_case
from gpunet.bench.signature import compiler_options, expressions, read_kernels
from gpunet.bench.spec import Case, even_sizes
from gpunet.bench.spec_child import read_spec_in_child
from gpunet.cli.options import json_line, json_option
from gpunet.errors import ArgumentError, MissingPackageError

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

ONLY_COMPILED = (
    "Only compiled. To find races and wrong results, describe the launch: --spec SPEC.py, as "
    "`python -m pydoc gpunet.bench.spec` shows."
)


def read_macros(ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    """Return macros by name."""
    pairs = [text.partition("=") for text in given]
    if bad := [text for text, pair in zip(given, pairs, strict=True) if not pair[0].isidentifier()]:
        raise click.BadParameter(f"{bad[0]!r}: write -D NAME=VALUE.")
    return {name: value or "1" for name, _, value in pairs}


@click.command()
@click.argument("path", metavar="FILE.cu", type=FILE)
@click.option("--spec", "spec_path", metavar="SPEC.py", type=FILE, help="The launch, and a NumPy reference.")
@click.option("--arch", metavar="LIST", help="Architectures, such as sm_75,sm_90.  [default: all from sm_75 to sm_120]")
@click.option("-D", "macros", metavar="NAME=VALUE", multiple=True, callback=read_macros, help="Define a macro.")
@click.option(
    "--limit",
    type=click.FloatRange(min=0, min_open=True),
    default=60.0,
    show_default=True,
    help="Time limit in seconds for reading the spec, and for each launch; compilation is not counted.",
)
@click.option("--no-compile", is_flag=True, help="Only run it on the simulated GPU: no registers, no spills.")
@json_option
@click.pass_context
def check(
    ctx: click.Context,
    path: Path,
    spec_path: Path | None,
    arch: str | None,
    macros: dict[str, str],
    limit: float,
    no_compile: bool,
    as_json: bool,
) -> None:
    """Compile the kernels of FILE.cu, and run one on the simulated GPU.

    Prints the registers, shared memory, stack and spilled bytes of every kernel; this needs NVRTC, but no GPU. With
    --spec, also runs a kernel in check mode on the CPU, in a separate process, and compares its results with a NumPy
    reference. Reports every race, out-of-bounds access, divergent barrier, read of uninitialized memory and wrong
    result with its grade (error, warning, benign), call stack and advice. `// gpunet: allow race` on a line makes its
    races benign. A spec is Python that runs: use only those that you trust.
    """
    if no_compile and spec_path is None:
        raise ArgumentError("--no-compile needs --spec; otherwise there is nothing to check.")
    say: Callable[[str], None] = (lambda text: None) if as_json else click.echo
    source = read_kernels(path)
    cases = read_spec_in_child(spec_path, macros, limit) if spec_path else []
    variants = [compiler_options(path, options) for options in [c.options for c in cases] or [macros]]
    wanted = dict.fromkeys(name for case in cases for name in expressions(case.kernel))
    try:
        rows = None if no_compile else _resources(source, path, dict.fromkeys(variants), list(wanted), arch, say)
    except (MissingPackageError, nvrtc.MissingHeaderError) as missing:
        if isinstance(missing, nvrtc.MissingHeaderError) and not cases:
            raise
        rows = None
        click.echo(f"Notice: {missing}", err=True)
    results = _results(path, cases, limit, say)
    if notice := even_sizes(cases):
        click.echo(f"Notice: {notice}", err=True)
    if rows is None and not results:
        raise ArgumentError("nothing was checked: install NVRTC, or run a kernel on the CPU with --spec.")
    if not results:
        say(ONLY_COMPILED)
    if as_json:
        click.echo(json_line({"file": str(path), "kernels": rows, "cases": results}))
    ctx.exit(not all(result["ok"] for result in results))


def _resources(
    source: str,
    path: Path,
    variants: Iterable[tuple[str, ...]],
    instances: Sequence[str],
    arch: str | None,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Print and return a row for each kernel, architecture and set of options."""
    wanted = [name.strip() for name in arch.split(",")] if arch else nvrtc.architectures()
    line = "{:<32} {:<7} {:>9} {:>7} {:>6} {:>7}  {}".format
    rows: list[dict[str, Any]] = []
    for options in variants:
        for name in wanted:
            given = (*nvrtc.STANDARD_HEADERS, *options)
            for kernel, r in nvrtc.compile_kernels(source, path.name, name, given, instances).items():
                if not rows:
                    say(line("kernel", "arch", "registers", "shared", "stack", "spilled", "options"))
                rows.append({"kernel": kernel, "arch": name, **r._asdict(), "options": list(options)})
                say(line(kernel, name, *r, " ".join(options)).rstrip())
    if not rows:
        raise ArgumentError(
            f'{path}: all kernels are templates without an instance; write extern "C" __global__ void name(...), or '
            'name an instance in a spec, such as kernel = "name<float>".'
        )
    return rows


def _results(path: Path, cases: list[Case], limit: float, say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Run the cases one by one; print and return each result."""
    results = []
    for case in cases:
        counts, findings = check_case(path, case, limit)
        findings.sort(key=lambda finding: finding.rank)
        ok = all(finding.grade != "error" for finding in findings)
        done = {} if counts is None else vars(counts)
        title = ", ".join(filter(None, (case.kernel, case.label)))
        say(f"{title}: ok; {counted_text(done)}" if ok else f"{title}: FAILED: {findings[0].described}")
        for finding in findings[not ok :]:
            say(f"{finding.grade}: {finding.described}")
        reported = [finding._asdict() | {"advice": finding.advice} for finding in findings]
        results.append({"kernel": case.kernel, "case": case.label, "ok": ok, "findings": reported, **done})
    return results


def counted_text(done: Mapping[str, int]) -> str:
    """Describe what a launch did."""
    return (
        f"{done['global_bytes_read']:,} bytes read and {done['global_bytes_written']:,} written in global memory, "
        f"{done['shared_bytes_read']:,} and {done['shared_bytes_written']:,} in shared memory; "
        f"{done['barriers']:,} barriers"
    )

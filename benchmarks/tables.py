"""Generate the tables of results in README.md, benchmarks/README.md and kernels/README.md from benchmarks/results.

    python -m benchmarks.tables

replaces the text between the markers `<!-- NAME: ... -->` and `<!-- end of NAME -->` of each table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.frameworks.problem import Problem
from benchmarks.gpu_report.runner import SCHEMA, finding
from benchmarks.gpu_report.section import markdown_table
from benchmarks.peers import BASE, EPOCHS, protocol, versus
from benchmarks.peers import SCHEMA as PEERS_SCHEMA
from gpunet.bench.results import Row
from gpunet.formats import read_as

CHECKOUT = Path(__file__).parents[1]
RESULTS = CHECKOUT / "benchmarks" / "results"


def gpu(results: Path) -> Iterator[str]:
    """Yield the lines about the report of each GPU, or one line if there is none."""
    paths = sorted(results.glob("*/report.json"))
    if not paths:
        yield "The CUDA code has **not run on a GPU yet**; its speed is not measured yet."
    for path in paths:
        report = read(path, SCHEMA)
        machine = finding(report, "environment")
        yield (
            f"`python -m benchmarks.gpu_report` on {machine['gpu']}, driver {machine['driver']}, "
            f"CuPy {machine['cupy']}, {machine['date'][:10]}, commit {str(machine['commit'])[:10]}; medians:"
        )
        yield ""
        nets = {
            row["net"]: row["rows"] for row in report["sections"].get("peers", {"rows": []})["rows"] if "net" in row
        }
        yield from _steps(nets, GPU_PEERS)
        yield ""
        yield from markdown_table(("kernel, float32", "gpunet", "compared with the library"), _kernels(report))
        yield f"\n{_outcome(report)}: [full report](benchmarks/results/{path.parent.name}/report.md).\n"


def _outcome(report: Mapping[str, Any]) -> str:
    """Return which sections have faults, failed or did not complete."""
    entries = report["sections"]
    faulty = [name for name, entry in entries.items() if any(row["fault"] for row in entry["rows"])]
    failed = [name for name, entry in entries.items() if entry["status"].startswith("failed") and name not in faulty]
    incomplete = [name for name, entry in entries.items() if entry["status"].startswith(("cut off", "not run"))]
    outcomes = {"**Faults** in": faulty, "**Failed**:": failed, "Not completed within the time limit:": incomplete}
    return "; ".join(f"{what} {', '.join(names)}" for what, names in outcomes.items() if names) or "No section failed"


KERNELS = (  # section, variant, kernel, name of the library path
    ("squares", "NN", "tiled", "cuBLAS"),
    ("layers", "NN", "tiled", "cuBLAS"),
    ("bias-activation", "forward", "gpunet", "CuPy's expression"),
    ("bias-activation", "backward", "gpunet", "CuPy's expression"),
)


def _kernels(report: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    """Yield a line for the largest case of each of `KERNELS`."""
    for section, variant, kernel, library in KERNELS:
        rows = [read_as(Row, row) for row in report["sections"].get(section, {"rows": []})["rows"]]
        timed = [
            row for row in rows if (row.variant, row.kernel, row.cache) == (variant, kernel, "warm") and row.speedup
        ]
        if timed:
            row = max(timed, key=lambda row: row.flops)
            yield f"{row.op} {row.size} {variant}", _speed(row), f"{_speedup(row.speedup.median)} than {library}"


def _speed(row: Row) -> str:
    unit = "GFLOP/s" if row.unit == "FLOP/s" else "GB/s"
    return f"{(row.speed or 0) / 1e9:,.0f} {unit}, {row.of_ceiling or 0:.0%} of the ceiling"


def _speedup(speedup: float) -> str:
    """Return a ratio of speeds as text, such as "1.33x slower"."""
    return f"{speedup:.3g}x faster" if speedup >= 1 else f"{1 / speedup:.3g}x slower"


GPU_PEERS = {
    "torch": "PyTorch",
    "torch-graphs": "PyTorch, CUDA graphs",
    "jax": "JAX, jit",
    "jax-scan": "JAX, scan",
    "gpunet-fit": "first `fit` of gpunet, with the data upload",
}
CPU_PEERS = {
    "numpy": "hand-written NumPy",
    "torch": "PyTorch",
    "torch-compiled": "torch.compile",
    "jax": "JAX, jit",
    "jax-scan": "JAX, scan",
}
"""The frameworks of `benchmarks.peers` in a table of steps, by name."""


def _steps(nets: Mapping[str, Sequence[Mapping[str, Any]]], frameworks: Mapping[str, str]) -> Iterator[str]:
    """Yield a table of training steps: a line for each network, a column for each framework."""
    lines = []
    for net, rows in nets.items():
        peers = {peer["name"]: peer for peer in rows if "step" in peer}
        if ours := peers.get(BASE):
            others = [_speedup(1 / peers[name]["ratio"][1]) if name in peers else "-" for name in frameworks]
            seconds = ours["step"][1]
            time = f"{1e6 * seconds:.1f} µs" if seconds < 1e-3 else f"{1e3 * seconds:.1f} ms"
            lines.append([net, time, *others])
    if lines:
        yield from markdown_table(
            ("training step (layers/batch), compared with gpunet's", "gpunet", *frameworks.values()), lines
        )


def core(results: Path) -> Iterator[str]:
    """Yield the steps of gpunet and other frameworks on one core of each CPU."""
    for path in sorted(results.glob("cpu-*/peers.json")):
        report = read(path, PEERS_SCHEMA)
        machine = report["environment"]
        yield (
            f"`{report['command']}` on one core of {machine['cpu']}, {machine['time'][:10]}, "
            f"commit {str(machine['commit'])[:10]}; medians:"
        )
        yield ""
        yield from _steps(report["nets"], CPU_PEERS)


def cpu(results: Path) -> Iterator[str]:
    """Yield the results of each CPU, or one line if there are none."""
    folders = sorted(folder for folder in results.glob("cpu-*") if folder.is_dir())
    if not folders:
        yield "There are no results of a CPU yet."
    for folder in folders:
        if (folder / "benchmarks.json").exists():
            yield from _benchmarks(json.loads((folder / "benchmarks.json").read_text(encoding="utf-8")))
        for path in sorted(folder.glob("peers*.json")):
            yield from _peers(read(path, PEERS_SCHEMA))


def _benchmarks(report: Mapping[str, Any]) -> Iterator[str]:
    machine = report["machine_info"]
    yield f"`pytest benchmarks/` on {machine['cpu']}, {machine['date'][:10]}, commit {str(machine['commit'])[:10]}:"
    yield ""
    figures = [benchmark["extra_info"] for benchmark in report["benchmarks"]]
    yield from markdown_table(
        ("", "compared with its baseline (quartiles)", "limit"),
        (_compared(figure) for figure in figures if "figure" in figure),
    )
    yield ""


def _compared(figure: Mapping[str, Any]) -> Sequence[str]:
    """Return a line of the table: the name, the ratio or difference, and its limit; a result above it is marked."""
    unit = " ms more" if figure["unit"] == " ms" else figure["unit"]  # a difference
    limit = figure.get("limit")
    shown = "-" if limit is None else f"{limit:g}{unit}{', **above**' if figure['figure'] > limit else ''}"
    return figure["what"], f"{figure['figure']:.3g}{unit} ({figure['low']:.3g} .. {figure['high']:.3g})", shown


def _peers(report: Mapping[str, Any]) -> Iterator[str]:
    """Yield the ratios to gpunet, which depend less on the machine than the times."""
    machine = report["environment"]
    yield f"`{report['command']}` on {machine['cpu']}, {machine['time'][:10]}, commit {str(machine['commit'])[:10]}."
    yield protocol(machine.get("threads", 1))
    yield ""
    names = list(dict.fromkeys(row["name"] for rows in report["nets"].values() for row in rows if row["name"] != BASE))
    theirs, ours = EPOCHS
    lines = []
    epochs = False
    for net, rows in report["nets"].items():
        by_name = {row["name"]: row for row in rows}
        cells = [_ratio(by_name.get(name, {"status": "-"})) for name in names]
        of_epochs = by_name.get(theirs, {}).get("ratio_of_epochs")
        epochs = epochs or of_epochs is not None
        lines.append([str(Problem.parse(net)), *cells, versus(of_epochs) if of_epochs else "-"])
    heads = ("time of a step, vs gpunet", *names, f"{theirs} vs {ours}")
    shown = len(heads) if epochs else -1  # older results do not compare whole epochs
    yield from markdown_table(heads[:shown], [line[:shown] for line in lines])
    yield ""


def _ratio(row: Mapping[str, Any]) -> str:
    if "ratio" not in row:
        return str(row["status"])
    return versus(row["ratio"])


def read(path: Path, schema: str) -> Any:
    """Return the content of a result file; raise `ValueError` if it has another schema."""
    report = json.loads(path.read_text(encoding="utf-8"))
    if report.get("schema") != schema:
        raise ValueError(f"{path}: the schema is {report.get('schema')!r}, expected {schema!r}.")
    return report


IDEAS = {  # what each matrix product kernel adds to the previous one
    "naive": "one thread per element",
    "shared": "tiles in shared memory",
    "register": "thread tiles in registers",
    "vectorized": "16-byte loads from global and shared memory",
    "double_buffered": "asynchronous copies in two stages",
    "warp_tiled": "warp tiles",
    "split_k": "several blocks per tile, for a small c",
    "tiled": "larger thread tiles, more stages, double-buffered fragments, k-slices",
    "mma": "tensor cores, in TF32",
    "mma3": "tensor cores, with the error of float32 (3xTF32)",
}


def matmul(results: Path) -> Iterator[str]:
    """Yield the speed of each kernel of the matrix product, and of cuBLAS, on each GPU."""
    reports = [read(path, SCHEMA) for path in sorted(results.glob("*/report.json"))]
    machines = [finding(report, "environment") for report in reports]
    heads = [f"GFLOP/s, {m['gpu']}, {m['date'][:10]}, commit {str(m['commit'])[:10]}" for m in machines]
    rows = [
        (f"[{name}](matmul_{name}.cu)", idea, *(_square(report, name) for report in reports))
        for name, idea in IDEAS.items()
    ]
    library = ("cuBLAS", "", *(_square(report, "blas") for report in reports))
    yield from markdown_table(("kernel", "what it adds", *heads), [*rows, library])


def _square(report: Mapping[str, Any], kernel: str) -> str:
    """Return the GFLOP/s of a kernel for the square product of 4096, without transposes."""
    key = "matmul", "NN", "4096x4096x4096", "float32", kernel, "warm"
    rows = [read_as(Row, row) for row in report["sections"].get("squares", {"rows": []})["rows"]]
    return next((f"{row.speed / 1e9:,.0f}" for row in rows if row.key == key and row.speed), "not measured yet")


TABLES: dict[str, tuple[Path, Callable[[Path], Iterator[str]]]] = {
    "gpu": (CHECKOUT / "README.md", gpu),
    "core": (CHECKOUT / "README.md", core),
    "cpu": (CHECKOUT / "benchmarks" / "README.md", cpu),
    "matmul": (CHECKOUT / "kernels" / "README.md", matmul),
}


def regenerated(text: str, name: str, lines: Iterator[str]) -> str:
    """Return `text` with new lines between the markers of a table; raise `ValueError` unless they occur once."""
    block = re.compile(rf"(<!-- {name}: .*? -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    new = "\n".join(lines).strip()
    text, count = block.subn(lambda found: f"{found[1]}{new}\n{found[2]}", text)
    if count != 1:
        raise ValueError(f"the markers of {name} must occur once, not {count} times.")
    return text


def main() -> None:
    """Write all tables."""
    for name, (path, table) in TABLES.items():
        text = path.read_text(encoding="utf-8")
        path.write_text(regenerated(text, name, table(RESULTS)), encoding="utf-8")


if __name__ == "__main__":
    main()

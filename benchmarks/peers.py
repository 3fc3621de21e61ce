"""The same training step in gpunet and in every framework that is installed, side by side.

    python -m benchmarks.peers [--nets 784-128-10/128 ...] [--frameworks gpunet torch ...] [--device cuda] [--out FILE]

Each framework runs in a process of its own, first does the same first steps as the NumPy reference, and is then timed
in turns with the others: A B C A B C. What is not installed, differs, fails or hangs is a row that says so.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.frameworks.problem import Problem
from benchmarks.frameworks.worker import LOSS_TOLERANCE, WEIGHT_TOLERANCE, Failed, Worker, agrees

NETS = ("64-64-10/32", "784-128-10/128", "784-512-512-10/256", "1024-1024-1024-1024/1024")
BASE = "gpunet"  # the framework whose time the others' are divided by
ROUNDS = 40
LEAST_ROUNDS, MOST_SECONDS = 5, 15.0  # a framework whose rounds took this long all together is asked no more
ANSWER_SECONDS = 180.0  # the longest silence: a framework may have to compile
SCHEMA = "gpunet peers 1"

ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1"),
    "NUM_CPU_THREADS": "1",  # tinygrad
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
    "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # the workers share the GPU
    "NVIDIA_TF32_OVERRIDE": "0",  # float32 is float32 in every NVIDIA library
}


class Framework(NamedTuple):
    """A row of the table.

    Attributes:
        module: the file that does the step.
        mode: which way of it.
        package: what must be installed.
        devices: where it runs.
        note: where its work is not quite equal.
    """

    module: str
    mode: str
    package: str
    devices: tuple[str, ...] = ("cpu", "cuda")
    note: str = ""


HERE = "benchmarks.frameworks"
FRAMEWORKS: dict[str, Framework] = {
    "gpunet": Framework(f"{HERE}.gpunet_step", "step", "gpunet", ("cpu", "cuda", "sim")),
    "gpunet-eager": Framework(
        f"{HERE}.gpunet_step", "eager", "gpunet", ("cpu", "cuda", "sim"), "executor='eager': no recorded step"
    ),
    "gpunet-fit": Framework(
        f"{HERE}.gpunet_step", "fit", "gpunet", ("cpu", "cuda", "sim"), "an epoch of fit: also checks, gather, metrics"
    ),
    "numpy": Framework(f"{HERE}.numpy_step", "", "numpy", ("cpu",)),
    "torch": Framework(f"{HERE}.torch_step", "eager", "torch"),
    "torch-compiled": Framework(f"{HERE}.torch_step", "compiled", "torch"),
    "torch-graphs": Framework(f"{HERE}.torch_step", "graphs", "torch", ("cuda",)),
    "jax": Framework(f"{HERE}.jax_step", "jit", "jax"),
    "jax-scan": Framework(f"{HERE}.jax_step", "scan", "jax", note="all steps of a round in one call"),
    "sklearn": Framework(
        f"{HERE}.sklearn_step", "", "sklearn", ("cpu",), "partial_fit: also checks its input, encodes the labels"
    ),
    "tinygrad": Framework(f"{HERE}.tinygrad_step", "", "tinygrad"),
}

Row = dict[str, Any]


def measure(
    problem: Problem,
    frameworks: Mapping[str, Framework],
    *,
    device: str = "cpu",
    rounds: int = ROUNDS,
    patience: float = ANSWER_SECONDS,
) -> list[Row]:
    """Check the frameworks on a problem and time them in turns.

    Args:
        problem: what to train.
        frameworks: the rows by name.
        device: "cpu" or "cuda"; on "sim" frameworks are checked, and nothing is timed.
        rounds: how often each is timed, >= 1.
        patience: the seconds after which a worker that does not answer is cut off.

    Returns:
        The rows. Each has "name", "status" and "note"; a timed one ("ok") also "seconds" a step of every round, their
        quartiles "step", and, where gpunet was timed, the quartiles of their ratios to gpunet's round, "ratio".
    """
    cores: list[int | None] = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]
    at_once = device == "cuda" and len(cores) > len(frameworks)  # compiling takes longest there, and wants a core each
    rows: list[Row] = []
    workers: dict[str, Worker] = {}
    try:
        for name, framework in frameworks.items():
            row: Row = {"name": name, "status": "ok", "note": framework.note, "seconds": []}
            rows.append(row)
            if importlib.util.find_spec(framework.package) is None:
                row["status"] = "not installed"
            elif device not in framework.devices:
                row["status"] = f"not for {device}"
            else:
                core = cores[-1 - len(workers)] if at_once else cores[-1]
                workers[name] = Worker(framework.module, framework.mode, problem, device, core, patience)
                if not at_once:
                    prepare(row, workers[name], device)
        for row in rows:
            if at_once and row["name"] in workers:
                prepare(row, workers[row["name"]], device)
        for _ in range(rounds):
            for row in rows:
                time_round(row, workers)
    finally:
        for worker in workers.values():
            worker.stop()
    base: list[float] = next((row["seconds"] for row in rows if row["name"] == BASE), [])
    for row in rows:
        summarise(row, base)
    return rows


def prepare(row: Row, worker: Worker, device: str) -> None:
    """Let a worker check its framework and settle on its rounds."""
    try:
        errors = worker.answer()
        if not agrees(errors):
            row["status"] = "differs: loss by {loss_error:.1e}, weights by {weight_error:.1e}".format(**errors)
            return
        row |= errors
        if device == "sim":
            row["status"] = "agrees; a simulated GPU is not timed"
        else:
            row |= worker.answer()
    except Failed as error:
        row["status"] = str(error)


def time_round(row: Row, workers: Mapping[str, Worker]) -> None:
    """Time a round more, unless the row has ended or had its time."""
    spent = sum(row["seconds"]) * row.get("steps_a_round", 0)
    if row["status"] != "ok" or (len(row["seconds"]) >= LEAST_ROUNDS and spent > MOST_SECONDS):
        return
    try:
        row["seconds"].append(workers[row["name"]].round())
    except Failed as error:
        row["status"] = str(error)


def summarise(row: Row, base: Sequence[float]) -> None:
    """Add the quartiles of the times and of their ratios to the rounds of the base."""
    if row["status"] == "ok":
        row["step"] = quartiles(row["seconds"])
        if base:
            row["ratio"] = quartiles([own / its for own, its in zip(row["seconds"], base, strict=False)])


def quartiles(values: Sequence[float]) -> list[float]:
    return statistics.quantiles(values, n=4) if len(values) > 1 else list(values) * 3


def table(problem: Problem, rows: Sequence[Row]) -> str:
    """Return the rows as text."""
    lines = [
        f"{problem}",
        f"{'':16}{'µs a step':>10} {'(quartiles)':<25}{'x gpunet':>8} {'(quartiles)':<14}rounds x steps",
    ]
    for row in rows:
        if row["status"] == "ok":
            low, middle, high = (f"{1e6 * value:,.{1 if value < 1e-3 else 0}f}" for value in row["step"])
            cells = f"{middle:>10} {f'({low} .. {high})':<25}"
            if "ratio" in row:
                low, middle, high = (f"{value:.2f}" for value in row["ratio"])
                cells += f"{middle:>8} {f'({low} .. {high})':<14}"
            cells += f"{len(row['seconds']):>5} x {row['steps_a_round']:<6}{row['note']}"
        else:
            cells = f"    {row['status']}"
        lines.append(f"{row['name']:<16}{cells}".rstrip())
    return "\n".join(lines)


def environment(frameworks: Mapping[str, Framework], device: str) -> Row:
    """Return what the figures depend on."""
    packages = {framework.package for framework in frameworks.values()} | {"jaxlib", "cupy"}
    distributions = importlib.metadata.packages_distributions()
    found = {name: distributions[name][0] for name in sorted(packages) if name in distributions}
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": device,
        "gpu": said_by("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"),
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(distribution) for name, distribution in found.items()},
        "commit": said_by("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"),
        "variables": {**ENVIRONMENT, "OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE")},
        "tolerance": {"loss": LOSS_TOLERANCE, "weights": WEIGHT_TOLERANCE},
    }


def cpu() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def said_by(*command: str) -> str | None:
    """Return what a program prints, or None where there is no such program or it fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def net(text: str) -> Problem:
    try:
        return Problem.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no net; write sizes and batch as 784-128-10/128") from None


def rounds(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--nets", type=net, nargs="+", default=[net(text) for text in NETS], metavar="SIZES/BATCH")
    parser.add_argument("--frameworks", choices=FRAMEWORKS, nargs="+", help="default: all that know the device")
    parser.add_argument("--device", choices=("cpu", "cuda", "sim"), default="cpu", help="default: %(default)s")
    parser.add_argument("--rounds", type=rounds, default=ROUNDS, help="default: %(default)s")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="where the results are kept")
    options = parser.parse_args(arguments)
    if options.out and not (options.out.parent.is_dir() and os.access(options.out.parent, os.W_OK)):
        parser.error(f"--out: no file can be written in the folder {options.out.parent}")
    names = options.frameworks or [name for name, row in FRAMEWORKS.items() if options.device in row.devices]
    frameworks = {name: FRAMEWORKS[name] for name in names}
    os.environ.update(ENVIRONMENT)  # for the workers, who read it as they start

    report: Row = {"schema": SCHEMA, "environment": environment(frameworks, options.device), "nets": {}}
    for problem in options.nets:
        rows = measure(problem, frameworks, device=options.device, rounds=options.rounds)
        print(table(problem, rows), end="\n\n", flush=True)
        report["nets"][str(problem)] = rows
        if options.out:  # after every net, so that a run that is cut off keeps what it has
            partial = options.out.with_name(options.out.name + ".partial")
            partial.write_text(json.dumps(report, indent=1), encoding="utf-8")
            partial.replace(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

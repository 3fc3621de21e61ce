"""The same training step in gpunet and in every framework that is installed, side by side.

    python -m benchmarks.peers [--nets 784-128-10/128 ...] [--frameworks gpunet torch ...] [--threads 2] [--out FILE]

Each framework runs in a process of its own, first does the same first steps as the NumPy reference, and is then timed:
with one thread, all on one core, in turns with the others, A B C A B C; with more threads, pinned to no core, one after
the other, A A A B B B, with no other process there. What is not installed, differs, fails or hangs is a row that says
so.
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
from benchmarks.frameworks.worker import LOSS_TOLERANCE, WEIGHT_TOLERANCE, Failed, Rounds, Worker, agrees

NETS = ("64-64-10/32", "784-128-10/128", "784-512-512-10/256", "1024-1024-1024-1024/1024")
BASE = "gpunet"  # the framework that the others are compared with
EPOCHS = ("jax-scan", "gpunet-fit")  # equal work, which is more than a step: these two are compared too
ROUNDS, ROUNDS_OF_THREADS = 40, 10
IN_TURNS = Rounds(least=0.02, warm_ups=1)
ONE_BY_ONE = Rounds(least=0.5, warm_ups=3)  # the second core of a virtual machine takes milliseconds to wake
LEAST_ROUNDS, MOST_SECONDS = 5, 15.0  # a framework whose rounds took this long all together is asked no more
ANSWER_SECONDS = 180.0  # the longest silence: a framework may have to compile
SCHEMA = "gpunet peers 1"

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "GPUNET_THREADS",
    "NUM_CPU_THREADS",  # tinygrad
    "NPROC",  # JAX: the size of its pool
)


def variables(threads: int) -> dict[str, str]:
    """Return the environment of the workers, each of which uses so many threads."""
    return {
        **dict.fromkeys(THREADS, str(threads)),
        "XLA_FLAGS": f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'}",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # the workers share the GPU
        "NVIDIA_TF32_OVERRIDE": "0",  # float32 is float32 in every NVIDIA library
    }


ENVIRONMENT = variables(1)


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
EPOCH = "epochs with new order, gather, loss, accuracy"
FRAMEWORKS: dict[str, Framework] = {
    "gpunet": Framework(f"{HERE}.gpunet_step", "step", "gpunet", ("cpu", "cuda", "sim")),
    "gpunet-eager": Framework(
        f"{HERE}.gpunet_step", "eager", "gpunet", ("cpu", "cuda", "sim"), "executor='eager': no recorded step"
    ),
    "gpunet-numpy": Framework(
        f"{HERE}.gpunet_step", "numpy", "gpunet", ("cpu",), "executor='numpy': the recorded NumPy calls"
    ),
    "gpunet-fit": Framework(
        f"{HERE}.gpunet_step", "fit", "gpunet", ("cpu", "cuda", "sim"), f"fit: {EPOCH}; its first is not timed"
    ),
    "numpy": Framework(f"{HERE}.numpy_step", "", "numpy", ("cpu",)),
    "torch": Framework(f"{HERE}.torch_step", "eager", "torch"),
    "torch-compiled": Framework(f"{HERE}.torch_step", "compiled", "torch"),
    "torch-graphs": Framework(f"{HERE}.torch_step", "graphs", "torch", ("cuda",)),
    "jax": Framework(f"{HERE}.jax_step", "jit", "jax"),
    "jax-scan": Framework(f"{HERE}.jax_step", "scan", "jax", note=f"lax.scan: {EPOCH}; the first is not timed"),
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
    rounds: int | None = None,
    threads: int = 1,
    patience: float = ANSWER_SECONDS,
) -> list[Row]:
    """Check the frameworks on a problem and time them: in turns, or where threads are more than one, one by one.

    Args:
        problem: what to train.
        frameworks: the rows by name.
        device: "cpu" or "cuda"; on "sim" frameworks are checked, and nothing is timed.
        rounds: how often each is timed, >= 1; by default 40 times in turns, 10 times one by one.
        threads: how many `variables` has let the workers use.
        patience: the seconds after which a worker that does not answer is cut off.

    Returns:
        The rows. Each has "name", "status" and "note"; a timed one ("ok") also "seconds" a step of every round, their
        quartiles "step", and, where gpunet was timed, the quartiles of their ratios to gpunet's round, "ratio"; one by
        one, the ratios of the quartiles to gpunet's median. "ratio_of_epochs" is that of two rows that do equal work.
    """
    run = _one_by_one if threads > 1 else _in_turns
    if rounds is None:
        rounds = ROUNDS_OF_THREADS if threads > 1 else ROUNDS
    measured = run(problem, frameworks, device, rounds, patience)
    for row in measured:
        summarise(row, measured, paired=threads == 1)
    return measured


def _one_by_one(
    problem: Problem, frameworks: Mapping[str, Framework], device: str, rounds: int, patience: float
) -> list[Row]:
    rows = []
    for name, framework in frameworks.items():
        row = begun(name, framework, device)
        rows.append(row)
        if row["status"] == "ok":
            worker = Worker(framework.module, framework.mode, problem, device, None, patience, ONE_BY_ONE)
            try:
                prepare(row, worker, device)
                for _ in range(rounds):
                    time_round(row, worker)
            finally:
                worker.stop()
    return rows


def _in_turns(
    problem: Problem, frameworks: Mapping[str, Framework], device: str, rounds: int, patience: float
) -> list[Row]:
    cores: list[int | None] = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]
    at_once = device == "cuda" and len(cores) > len(frameworks)  # compiling takes longest there, and wants a core each
    rows: list[Row] = []
    workers: dict[str, Worker] = {}
    try:
        for name, framework in frameworks.items():
            row = begun(name, framework, device)
            rows.append(row)
            if row["status"] == "ok":
                core = cores[-1 - len(workers)] if at_once else cores[-1]
                workers[name] = Worker(framework.module, framework.mode, problem, device, core, patience, IN_TURNS)
                if not at_once:
                    prepare(row, workers[name], device)
        for row in rows:
            if at_once and row["name"] in workers:
                prepare(row, workers[row["name"]], device)
        for _ in range(rounds):
            for row in rows:
                if row["name"] in workers:
                    time_round(row, workers[row["name"]])
    finally:
        for worker in workers.values():
            worker.stop()
    return rows


def begun(name: str, framework: Framework, device: str) -> Row:
    """Return the row of a framework, with why it cannot run if that is so."""
    row: Row = {"name": name, "status": "ok", "note": framework.note, "seconds": [], "cores": []}
    if importlib.util.find_spec(framework.package) is None:
        row["status"] = "not installed"
    elif device not in framework.devices:
        row["status"] = f"not for {device}"
    return row


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


def time_round(row: Row, worker: Worker) -> None:
    """Time a round more, unless the row has ended or had its time."""
    spent = sum(row["seconds"]) * row.get("steps_a_round", 0)
    if row["status"] != "ok" or (len(row["seconds"]) >= LEAST_ROUNDS and spent > MOST_SECONDS):
        return
    try:
        seconds, cores = worker.round()
    except Failed as error:
        row["status"] = str(error)
        return
    row["seconds"].append(seconds)
    row["cores"].append(round(cores, 3))


def summarise(row: Row, rows: Sequence[Row], *, paired: bool) -> None:
    """Add the quartiles of the times, and of their ratios: round by round where the rounds were in turns."""
    if row["status"] != "ok":
        return
    row["step"] = quartiles(row["seconds"])
    whole, its = EPOCHS
    for name, base in (("ratio", BASE), ("ratio_of_epochs", its if row["name"] == whole else None)):
        seconds: list[float] = next((other["seconds"] for other in rows if other["name"] == base), [])
        if seconds and paired:
            row[name] = quartiles([a / b for a, b in zip(row["seconds"], seconds, strict=False)])
        elif seconds:
            row[name] = [value / statistics.median(seconds) for value in row["step"]]


def quartiles(values: Sequence[float]) -> list[float]:
    return statistics.quantiles(values, n=4) if len(values) > 1 else list(values) * 3


def versus(ratio: Sequence[float]) -> str:
    """Return the quartiles of a ratio of times in words, as "1.52x slower (1.50 .. 1.55)"."""
    word = "slower" if ratio[1] >= 1 else "faster"
    low, middle, high = ratio if ratio[1] >= 1 else (1 / ratio[2], 1 / ratio[1], 1 / ratio[0])
    said = f"{middle:.2f}x {word}" if f"{middle:.2f}" != "1.00" else "same speed"
    return f"{said} ({low:.2f} .. {high:.2f})"


def table(problem: Problem, rows: Sequence[Row]) -> str:
    """Return the rows as text."""
    head = f"{'':16}{'µs a step':>10} {'(quartiles)':<24} {'vs gpunet (quartiles)':<31}{'cores':>5}  rounds x steps"
    lines = [f"{problem}", head]
    for row in rows:
        if row["status"] == "ok":
            low, middle, high = (f"{1e6 * value:,.{1 if value < 1e-3 else 0}f}" for value in row["step"])
            compared = versus(row["ratio"]) if "ratio" in row and row["name"] != BASE else "-"
            busy = f"{statistics.median(row['cores']):.2f}" if row.get("cores") else "-"
            cells = f"{middle:>10} {f'({low} .. {high})':<24} {compared:<31}{busy:>5}"
            cells += f"{len(row['seconds']):>5} x {row['steps_a_round']:<6}{row['note']}"
        else:
            cells = f"    {row['status']}"
        lines.append(f"{row['name']:<16}{cells}".rstrip())
    epochs = (row for row in rows if "ratio_of_epochs" in row)
    lines += [f"{row['name']} vs {EPOCHS[1]}, equal work: {versus(row['ratio_of_epochs'])}" for row in epochs]
    return "\n".join(lines)


def manner(threads: int) -> str:
    """Return how the figures come about."""
    if threads > 1:
        return (
            f"{threads} threads, pinned to no core; one framework after the other, rounds of at least "
            f"{ONE_BY_ONE.least:g} s; ratios are of medians, to gpunet's."
        )
    return "One thread, all pinned to one core; rounds in turns; medians and quartiles, ratios round by round."


def environment(frameworks: Mapping[str, Framework], device: str, threads: int = 1) -> Row:
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
        "threads": threads,
        "variables": {**variables(threads), "OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE")},
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


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least 1")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> int:
    from gpunet.native.threads import available_cores  # here, as the workers of all frameworks import this module

    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--nets", type=net, nargs="+", default=[net(text) for text in NETS], metavar="SIZES/BATCH")
    parser.add_argument("--frameworks", choices=FRAMEWORKS, nargs="+", help="default: all that know the device")
    parser.add_argument("--device", choices=("cpu", "cuda", "sim"), default="cpu", help="default: %(default)s")
    parser.add_argument("--threads", type=count, default=1, help="of each framework, on the CPU; default: %(default)s")
    parser.add_argument(
        "--rounds", type=count, help=f"default: {ROUNDS}, or {ROUNDS_OF_THREADS} with more than one thread"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="where the results are kept")
    options = parser.parse_args(arguments)
    if options.out and not (options.out.parent.is_dir() and os.access(options.out.parent, os.W_OK)):
        parser.error(f"--out: no file can be written in the folder {options.out.parent}")
    if options.threads > 1 and options.device != "cpu":
        parser.error("--threads: more than one are for the CPU")
    if options.threads > available_cores():
        parser.error(f"--threads: this process may use {available_cores()} cores")
    names = options.frameworks or [name for name, row in FRAMEWORKS.items() if options.device in row.devices]
    frameworks = {name: FRAMEWORKS[name] for name in names}
    os.environ.update(variables(options.threads))  # for the workers, who read it as they start
    known = environment(frameworks, options.device, options.threads)
    report: Row = {"schema": SCHEMA, "environment": known, "nets": {}}
    if options.device == "cpu":
        print(manner(options.threads), end="\n\n", flush=True)
    for problem in options.nets:
        rows = measure(problem, frameworks, device=options.device, rounds=options.rounds, threads=options.threads)
        print(table(problem, rows), end="\n\n", flush=True)
        report["nets"][str(problem)] = rows
        if options.out:  # after every net, so that a run that is cut off keeps what it has
            partial = options.out.with_name(options.out.name + ".partial")
            partial.write_text(json.dumps(report, indent=1), encoding="utf-8")
            partial.replace(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Time the same training step in gpunet and in every installed framework.

    python -m benchmarks.peers [--nets 784-128-10/128 ...] [--frameworks gpunet torch ...] [--threads 2] [--out FILE]

Each framework runs in a separate process. Its first steps are compared with NumPy's in float64, then it is timed. With
one thread, all processes are pinned to one core, and their rounds are interleaved: A B C A B C. With more threads,
processes are not pinned and run one after the other: A A A B B B. If a framework is not installed, differs, fails or
hangs, its row in the table says so.
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
BASE = "gpunet"  # the denominator of the ratios
EPOCHS = ("jax-scan", "gpunet-fit")  # two rows that run whole epochs of equal work; they are also compared
ROUNDS, SEQUENTIAL_ROUNDS = 40, 10
INTERLEAVED = Rounds(min_seconds=0.02, warmups=1)
SEQUENTIAL = Rounds(min_seconds=0.5, warmups=3)  # the second core of a virtual machine takes milliseconds to wake
MIN_ROUNDS, MAX_SECONDS = 5, 15.0  # after this many rounds, a framework stops once its rounds exceed MAX_SECONDS
ANSWER_SECONDS = 180.0  # time limit for an answer of a worker, which may have to compile
SCHEMA = "gpunet peers 1"

THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "GPUNET_THREADS",
    "NUM_CPU_THREADS",  # tinygrad
    "NPROC",  # JAX: the size of its thread pool
)


def variables(threads: int) -> dict[str, str]:
    """Return the environment variables that make each worker use `threads` threads."""
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
        module: the module with the framework's `Steps`.
        mode: the mode of `Steps`.
        package: the package that must be installed.
        devices: the devices that it supports.
        note: how its work differs from the others'.
    """

    module: str
    mode: str
    package: str
    devices: tuple[str, ...] = ("cpu", "cuda")
    note: str = ""


PACKAGE = "benchmarks.frameworks"
EPOCH = "epochs with shuffling, gather, loss, accuracy"
FRAMEWORKS: dict[str, Framework] = {
    "gpunet": Framework(f"{PACKAGE}.gpunet_step", "step", "gpunet", ("cpu", "cuda", "sim")),
    "gpunet-eager": Framework(
        f"{PACKAGE}.gpunet_step", "eager", "gpunet", ("cpu", "cuda", "sim"), "executor='eager': no recorded step"
    ),
    "gpunet-numpy": Framework(
        f"{PACKAGE}.gpunet_step", "numpy", "gpunet", ("cpu",), "executor='numpy': the recorded NumPy calls"
    ),
    "gpunet-fit": Framework(
        f"{PACKAGE}.gpunet_step", "fit", "gpunet", ("cpu", "cuda", "sim"), f"fit: {EPOCH}; the first is not timed"
    ),
    "numpy": Framework(f"{PACKAGE}.numpy_step", "", "numpy", ("cpu",)),
    "torch": Framework(f"{PACKAGE}.torch_step", "eager", "torch"),
    "torch-compiled": Framework(f"{PACKAGE}.torch_step", "compiled", "torch"),
    "torch-graphs": Framework(f"{PACKAGE}.torch_step", "graphs", "torch", ("cuda",)),
    "jax": Framework(f"{PACKAGE}.jax_step", "jit", "jax"),
    "jax-scan": Framework(f"{PACKAGE}.jax_step", "scan", "jax", note=f"lax.scan: {EPOCH}; the first is not timed"),
    "sklearn": Framework(
        f"{PACKAGE}.sklearn_step", "", "sklearn", ("cpu",), "partial_fit: also checks its input and encodes the labels"
    ),
    "tinygrad": Framework(f"{PACKAGE}.tinygrad_step", "", "tinygrad"),
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
    """Check and time the frameworks on a problem: in interleaved rounds, or one by one if `threads` exceeds one.

    Args:
        problem: the network and its batches.
        frameworks: the rows by name.
        device: "cpu" or "cuda"; on "sim" frameworks are checked, but not timed.
        rounds: the number of timed rounds, >= 1; 40 interleaved or 10 sequential ones by default.
        threads: the number of threads that the environment (`variables`) gives each worker.
        patience: seconds after which a worker that does not answer is killed.

    Returns:
        The rows. Each has "name", "status" and "note". A timed row ("ok") also has the "seconds" per step of every
        round and their quartiles "step". If gpunet was timed, "ratio" has the quartiles of the ratios to gpunet's
        round; of sequential rounds, the ratios of the quartiles to gpunet's median. "ratio_of_epochs" is the same for
        the two rows of `EPOCHS`.
    """
    run = _sequential if threads > 1 else _interleaved
    if rounds is None:
        rounds = SEQUENTIAL_ROUNDS if threads > 1 else ROUNDS
    measured = run(problem, frameworks, device, rounds, patience)
    for row in measured:
        summarise(row, measured, paired=threads == 1)
    return measured


def _sequential(
    problem: Problem, frameworks: Mapping[str, Framework], device: str, rounds: int, patience: float
) -> list[Row]:
    rows = []
    for name, framework in frameworks.items():
        row = new_row(name, framework, device)
        rows.append(row)
        if row["status"] == "ok":
            worker = Worker(framework.module, framework.mode, problem, device, None, patience, SEQUENTIAL)
            try:
                prepare(row, worker, device)
                for _ in range(rounds):
                    time_round(row, worker)
            finally:
                worker.stop()
    return rows


def _interleaved(
    problem: Problem, frameworks: Mapping[str, Framework], device: str, rounds: int, patience: float
) -> list[Row]:
    cores: list[int | None] = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]
    # on a GPU, preparing takes longest, as it compiles: all workers prepare at once if each can have its own core
    at_once = device == "cuda" and len(cores) > len(frameworks)
    rows: list[Row] = []
    workers: dict[str, Worker] = {}
    try:
        for name, framework in frameworks.items():
            row = new_row(name, framework, device)
            rows.append(row)
            if row["status"] == "ok":
                core = cores[-1 - len(workers)] if at_once else cores[-1]
                workers[name] = Worker(framework.module, framework.mode, problem, device, core, patience, INTERLEAVED)
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


def new_row(name: str, framework: Framework, device: str) -> Row:
    """Return the row of a framework; its status says whether it can run."""
    row: Row = {"name": name, "status": "ok", "note": framework.note, "seconds": [], "cores": []}
    if importlib.util.find_spec(framework.package) is None:
        row["status"] = "not installed"
    elif device not in framework.devices:
        row["status"] = f"not for {device}"
    return row


def prepare(row: Row, worker: Worker, device: str) -> None:
    """Wait until a worker has checked its framework and chosen the length of its rounds."""
    try:
        errors = worker.answer()
        if not agrees(errors):
            row["status"] = "differs: loss by {loss_error:.1e}, weights by {weight_error:.1e}".format(**errors)
            return
        row |= errors
        if device == "sim":
            row["status"] = "agrees; not timed on the simulated GPU"
        else:
            row |= worker.answer()
    except Failed as error:
        row["status"] = str(error)


def time_round(row: Row, worker: Worker) -> None:
    """Time one more round, unless the row has failed or used up its time."""
    spent = sum(row["seconds"]) * row.get("steps_a_round", 0)
    if row["status"] != "ok" or (len(row["seconds"]) >= MIN_ROUNDS and spent > MAX_SECONDS):
        return
    try:
        seconds, cores = worker.round()
    except Failed as error:
        row["status"] = str(error)
        return
    row["seconds"].append(seconds)
    row["cores"].append(round(cores, 3))


def summarise(row: Row, rows: Sequence[Row], *, paired: bool) -> None:
    """Add the quartiles of the times and ratios to a row; `paired` rounds are divided round by round."""
    if row["status"] != "ok":
        return
    row["step"] = quartiles(row["seconds"])
    theirs, ours = EPOCHS
    for name, base in (("ratio", BASE), ("ratio_of_epochs", ours if row["name"] == theirs else None)):
        seconds: list[float] = next((other["seconds"] for other in rows if other["name"] == base), [])
        if seconds and paired:
            row[name] = quartiles([a / b for a, b in zip(row["seconds"], seconds, strict=False)])
        elif seconds:
            row[name] = [value / statistics.median(seconds) for value in row["step"]]


def quartiles(values: Sequence[float]) -> list[float]:
    return statistics.quantiles(values, n=4) if len(values) > 1 else list(values) * 3


def versus(ratio: Sequence[float]) -> str:
    """Return the quartiles of a ratio of times as text, such as "1.52x slower (1.50 .. 1.55)"."""
    word = "slower" if ratio[1] >= 1 else "faster"
    low, middle, high = ratio if ratio[1] >= 1 else (1 / ratio[2], 1 / ratio[1], 1 / ratio[0])
    median = f"{middle:.2f}x {word}" if f"{middle:.2f}" != "1.00" else "same speed"
    return f"{median} ({low:.2f} .. {high:.2f})"


def table(problem: Problem, rows: Sequence[Row]) -> str:
    """Return the rows as a table in plain text."""
    head = f"{'':16}{'µs/step':>10} {'(quartiles)':<24} {'vs gpunet (quartiles)':<31}{'cores':>5}  rounds x steps"
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


def protocol(threads: int) -> str:
    """Describe in one line how the frameworks are timed."""
    if threads > 1:
        return (
            f"{threads} threads, not pinned to cores; one framework after the other, in rounds of at least "
            f"{SEQUENTIAL.min_seconds:g} s; ratios to gpunet's median."
        )
    return "One thread, all processes pinned to one core; interleaved rounds; quartiles of the ratios of each round."


def environment(frameworks: Mapping[str, Framework], device: str, threads: int = 1) -> Row:
    """Return what the times depend on: device, processor, versions, commit, environment variables."""
    packages = {framework.package for framework in frameworks.values()} | {"jaxlib", "cupy"}
    distributions = importlib.metadata.packages_distributions()
    found = {name: distributions[name][0] for name in sorted(packages) if name in distributions}
    return {
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "device": device,
        "gpu": output_of("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"),
        "cpu": cpu(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(distribution) for name, distribution in found.items()},
        "commit": output_of("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD"),
        "threads": threads,
        "variables": {**variables(threads), "OPENBLAS_CORETYPE": os.environ.get("OPENBLAS_CORETYPE")},
        "tolerance": {"loss": LOSS_TOLERANCE, "weights": WEIGHT_TOLERANCE},
    }


def cpu() -> str:
    """Return the processor's name."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


def output_of(*command: str) -> str | None:
    """Return the output of a program, or None if it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def net(text: str) -> Problem:
    try:
        return Problem.parse(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a net; write SIZES/BATCH, like 784-128-10/128") from None


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer >= 1")
    return int(text)


def command(options: argparse.Namespace, parser: argparse.ArgumentParser) -> str:
    """Return the command that repeats a run: with the options that differ from their defaults, without `--out`."""
    words = [parser.prog]
    for name, value in vars(options).items():
        if name != "out" and value != parser.get_default(name):
            words += [f"--{name}", *map(str, value if isinstance(value, list) else [value])]
    return " ".join(words)


def main(arguments: Sequence[str] | None = None) -> int:
    from gpunet.native.threads import available_cores  # not above: the workers of all frameworks import this module

    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--nets", type=net, nargs="+", default=[net(text) for text in NETS], metavar="SIZES/BATCH")
    parser.add_argument("--frameworks", choices=FRAMEWORKS, nargs="+", help="default: all that support the device")
    parser.add_argument("--device", choices=("cpu", "cuda", "sim"), default="cpu", help="default: %(default)s")
    parser.add_argument("--threads", type=count, default=1, help="CPU threads of each framework; default: %(default)s")
    parser.add_argument(
        "--rounds", type=count, help=f"default: {ROUNDS}, or {SEQUENTIAL_ROUNDS} with more than one thread"
    )
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="file for the results")
    options = parser.parse_args(arguments)
    if options.out and not (options.out.parent.is_dir() and os.access(options.out.parent, os.W_OK)):
        parser.error(f"--out: the folder {options.out.parent} is missing or not writable")
    if options.threads > 1 and options.device != "cpu":
        parser.error("--threads: only the CPU supports more than one")
    if options.threads > available_cores():
        parser.error(f"--threads: only {available_cores()} cores are available to this process")
    names = options.frameworks or [name for name, row in FRAMEWORKS.items() if options.device in row.devices]
    frameworks = {name: FRAMEWORKS[name] for name in names}
    os.environ.update(variables(options.threads))  # inherited by the workers
    machine = environment(frameworks, options.device, options.threads)
    report: Row = {"schema": SCHEMA, "command": command(options, parser), "environment": machine, "nets": {}}
    if options.device == "cpu":
        print(protocol(options.threads), end="\n\n", flush=True)
    for problem in options.nets:
        rows = measure(problem, frameworks, device=options.device, rounds=options.rounds, threads=options.threads)
        print(table(problem, rows), end="\n\n", flush=True)
        report["nets"][str(problem)] = rows
        if options.out:  # after every net, so that an interrupted run leaves its results
            partial = options.out.with_name(options.out.name + ".partial")
            partial.write_text(json.dumps(report, indent=1), encoding="utf-8")
            partial.replace(options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())

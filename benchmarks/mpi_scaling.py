"""Measure how training scales over MPI ranks on one machine: the time of a step with a fixed global batch size.

    python -m benchmarks.mpi_scaling [--ranks 1 2] [--nets 784-128-10] [--rounds 5]

Each rank uses one BLAS thread; the row "2 threads" is a single process with as many threads as the largest number of
ranks. A run trains for several epochs and reports the fastest. Runs are interleaved; the table shows the fastest and
the median round, the speedup over one rank, and the time of the gradient all-reduce alone. Needs 'gpunet[mpi]'.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import gpunet as gn

NETS = {"64-64-10": (32, 200), "784-128-10": (128, 50), "784-512-512-10": (256, 20), "1024-1024-1024-1024": (1024, 5)}
"""Layer sizes, with the global batch size and the steps of an epoch."""

EPOCHS = 5


def train(net: str) -> None:
    """Train as one of the ranks; rank 0 prints the seconds of a step and of an all-reduce of the gradients."""
    sizes, (batch, steps) = list(map(int, net.split("-"))), NETS[net]
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(steps * batch, sizes[0])).astype(np.float32), rng.integers(0, sizes[-1], steps * batch)
    trainer = gn.Trainer(gn.MLP(sizes, seed=0).to("cpu"), distributed="mpi")
    history = trainer.fit(X, y, epochs=EPOCHS, batch_size=batch)
    sums = []
    if trainer.ranks.size > 1:
        reduce = trainer.ranks.reducer(trainer.model.store.grads)
        for _ in range(steps):
            began = time.perf_counter()
            reduce()
            sums.append(time.perf_counter() - began)
    if trainer.ranks.main:
        print(json.dumps([min(history["seconds"]) / steps, min(sums, default=0.0)]))


def measure(net: str, ranks: int, threads: int) -> list[float]:
    mpiexec = Path(sys.executable).parent / "mpiexec"
    command = [mpiexec, "-n", str(ranks), sys.executable, "-m", "benchmarks.mpi_scaling", "--train", net]
    environment = os.environ | {"OPENBLAS_NUM_THREADS": str(threads)}
    return json.loads(subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--train", choices=NETS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        train(given.train)
        return
    most = max(given.ranks)
    runs = {f"{n} rank{'s' * (n > 1)}": (n, 1) for n in given.ranks} | {f"{most} threads": (1, most)}
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}, {given.rounds} rounds; milliseconds of a step")
    print(f"{'net / batch':28}{'':12}{'fastest':>9}{'median':>9}{'speedup':>9}{'all-reduce':>12}")
    for net in given.nets:
        found = {name: [] for name in runs}
        for _ in range(given.rounds):
            for name, how in runs.items():
                found[name].append(measure(net, *how))
        fastest = {name: [min(column) for column in zip(*rows, strict=True)] for name, rows in found.items()}
        base = next(iter(fastest.values()))[0]
        for name, (step, alone) in fastest.items():
            median = statistics.median(row[0] for row in found[name])
            numbers = f"{step * 1e3:9.3f}{median * 1e3:9.3f}{base / step:9.2f}{alone * 1e3:12.3f}"
            print(f"{f'{net} / {NETS[net][0]}':28}{name:12}{numbers}", flush=True)


if __name__ == "__main__":
    main()

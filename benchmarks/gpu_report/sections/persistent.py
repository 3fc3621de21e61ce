"""Check the persistent kernel against the CPU, and time its steps next to those of a graph, and its parts."""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

import gpunet as gn
from benchmarks.frameworks.problem import Problem
from benchmarks.gpu_report.section import Row, Section, Setup, markdown_table
from gpunet.bench.table import time_text
from gpunet.bench.timing import EventClock, Spread, interleave
from gpunet.cuda import Kernel
from gpunet.device import Device, kernels_path
from gpunet.training.step import Step, persistent

NETS = ("784-128-10/128", "64-64-10/32", "784-512-512-10/256", "256-256-256-256-10/128")
STEPS = 200
"""Steps of a timed call."""

MARKED = 4
"""Steps of the run that measures the parts of a step; only the last one is reported."""

TOLERANCE = 1e-4
"""Maximum difference of the parameters from the CPU's, after steps of Adam with learning rate 1e-3."""

BARRIER = (
    ("        __shared__ Word now;\n", "        __shared__ Word now;\n        mark();\n"),
    ("        return now;\n", "        mark();\n        return now;\n"),
    (
        "    Word* words;",
        """    Word* next_mark;

    DEVICE void mark() {
        if (threadIdx.x == 0) *next_mark++ = CLOCK;
    }

    Word* words;""",
    ),
    ("        : words(counter),", "        : next_mark(counter + 2 + blockIdx.x * MARKS), words(counter),"),
)
"""Edits of the source that write the clock before and after each barrier, behind the counter: (text, replacement)."""


def measure(setup: Setup) -> Iterator[list[Row]]:
    """Yield the check, the times and the parts of each net, then the time of an epoch of MNIST's size."""
    device, _ = setup.open()
    nets = ("12-16-5/8",) if setup.simulated else NETS
    steps = 4 if setup.simulated else 20
    for net in map(Problem.parse, nets):
        yield [compare(net, device, steps)]
        if not setup.simulated:
            yield times(net, device)
        yield parts(net, device)
    yield [epoch(device, (64, 20) if setup.simulated else (60_000, 784))]


def trained(net: Problem, device: Device, executor: str, steps: int) -> tuple[gn.Trainer, Step]:
    """Train an epoch of `steps` steps; return the trainer and its recorded step."""
    rng = np.random.default_rng(0)
    rows = steps * net.batch
    X, y = rng.standard_normal((rows, net.sizes[0]), np.float32), rng.integers(0, net.sizes[-1], rows)
    created: list[Step] = []
    with gn.use_device(device), patch.object(Step, "__init__", _recording(created)):
        trainer = gn.Trainer(gn.MLP(net.sizes, seed=0), optimizer=gn.Adam(1e-3), executor=executor)  # type: ignore[arg-type]
        trainer.fit(X, y, epochs=1, batch_size=net.batch)
    return trainer, created[0]


def _recording(created: list[Step]) -> Any:
    real = Step.__init__

    def init(step: Step, *args: Any, **keywords: Any) -> None:
        real(step, *args, **keywords)
        created.append(step)

    return init


def compare(net: Problem, device: Device, steps: int) -> Row:
    """Return the largest difference of the parameters from the CPU's after `steps` steps."""
    cpu, gpu = (
        gn.to_host(trained(net, where, executor, steps)[0].model.store.params)
        for where, executor in ((gn.get_device("cpu"), "eager"), (device, "persistent"))
    )
    error = float(np.abs(gpu - cpu).max())
    fault = "" if error <= TOLERANCE else f"parameters differ by {error:.1e}"
    return {
        "what": f"{net}: largest difference from the CPU after {steps} steps",
        "value": f"{error:.1e}",
        "fault": fault,
    }


def times(net: Problem, device: Device) -> list[Row]:
    """Return the GPU time of a step with each executor, measured in interleaved rounds."""
    calls = {}
    for executor in ("persistent", "graph"):
        _, step = trained(net, device, executor, 8)
        calls[executor] = _run_of(step)
    spreads = interleave(calls, EventClock(device), seconds=0.5)
    return [
        {
            "what": f"{net}: a step, {executor}",
            "value": time_text(Spread.of([t / STEPS for t in spreads[executor]])),
            "seconds": asdict(Spread.of([t / STEPS for t in spreads[executor]])),
            "fault": "",
        }
        for executor in calls
    ]


def _run_of(step: Step) -> Any:
    place = step.source.advances[0]

    def run() -> None:
        place.fill(0)
        step.run(STEPS)  # past the end of the data, steps reuse the last row

    return run


def parts(net: Problem, device: Device) -> list[Row]:
    """Return the cycles of each part of a step, on its slowest block, and of the barrier after it."""
    barriers = 2 * (len(net.sizes) - 1) - 1
    marks = 2 * (1 + MARKED * barriers)
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(kernels_path(), Path(folder) / "kernels")
        text = (copy / "grid_barrier.cuh").read_text(encoding="utf-8")
        for before, after in BARRIER:
            assert before in text, before
            text = text.replace(before, after)
        clock = "0" if device.name == "sim" else "clock64()"
        text = text.replace("MARKS", str(marks)).replace("CLOCK", clock)
        (copy / "grid_barrier.cuh").write_text(text, encoding="utf-8")
        with (
            patch.object(persistent, "KERNEL", Kernel(copy / "mlp_train.cu", "mlp_train")),
            patch.object(persistent, "BARRIER_WORDS", 2 + marks * persistent.multiprocessors(device)),
        ):
            _, step = trained(net, device, "persistent", MARKED)
    words = gn.to_host(step.executor.memory["arrived"])[2:]  # type: ignore[attr-defined]
    blocks = step.executor.blocks  # type: ignore[attr-defined]
    clocks = words[: blocks * marks].reshape(blocks, marks)[:, -2 * barriers - 1 :].astype(np.int64)
    cycles = np.diff(clocks, axis=1)  # work, barrier, work, barrier, ... of the last step
    work, waits = cycles[:, 0::2].max(axis=0), cycles[:, 1::2].min(axis=0)
    shown = ", ".join(f"{w:,} / {b:,}" for w, b in zip(work.tolist(), waits.tolist(), strict=True))
    return [{"what": f"{net}: cycles of each part of a step / of its barrier", "value": shown, "fault": ""}]


def epoch(device: Device, shape: tuple[int, int]) -> Row:
    """Return the time of a second `fit` of one epoch on data of MNIST's size, including the upload."""
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, 256, shape, np.uint8), rng.integers(0, 10, shape[0])
    with gn.use_device(device):
        trainer = gn.Trainer(gn.MLP([shape[1], 128, 10], seed=0))
        for _ in range(2):  # the first one compiles
            began = time.perf_counter()
            history = trainer.fit(X, y, epochs=1, batch_size=128)
            seconds = time.perf_counter() - began
    value = f"{1e3 * seconds:.1f} ms, its steps {1e3 * history.epochs[-1]['seconds']:.1f} ms"
    return {"what": f"fit of an epoch, {shape[0]} x {shape[1]}, batch 128", "value": value, "fault": ""}


def show(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table of all values."""
    yield from markdown_table(("what", "value", "fault"), ((row["what"], row["value"], row["fault"]) for row in rows))


SECTION = Section("The persistent kernel", 60, measure, show)

"""Measure the latencies that dominate the step of a small network: launches, graph nodes, barriers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.gpu_report.section import Row, Section, Setup, markdown_table
from gpunet import simulator
from gpunet.bench.table import time_text
from gpunet.bench.timing import Clock, EventClock, Spread, WallClock, interleave
from gpunet.cuda import Kernel
from gpunet.device import Device

SOURCE = Path(__file__).parents[1] / "latency.cu"
THREADS = 256

Call = Callable[[], object]


def measure(setup: Setup) -> Iterator[list[Row]]:
    """Yield one latency at a time; the barrier of cooperative groups comes last, as it needs the CUDA headers."""
    device, _ = setup.open()
    nodes, barriers = (4, 4) if setup.simulated else (100, 1000)
    blocks = device.xp.cuda.runtime.getDeviceProperties(device.index)["multiProcessorCount"]
    with device.activate():
        x = device.xp.zeros(1, np.int32)
        empty = Kernel(SOURCE, "nothing").prepare((1,), (32,), x, 0)
        several = graph_of(device, empty, nodes)
        single = graph_of(device, empty, 1)
        on_gpu, on_host = (None, None) if setup.simulated else (EventClock(device), WallClock(device))
        yield [latency("launch of an empty kernel, on the GPU", empty, 1, on_gpu)]
        yield [latency("launch of an empty kernel, including the host", empty, 1, on_host)]
        yield [latency(f"node of a graph of {nodes} empty kernels, on the GPU", several.launch, nodes, on_gpu)]
        yield [latency("launch of a graph of one empty kernel, including the host", single.launch, 1, on_host)]
        block = Kernel(SOURCE, "block_barriers").prepare((blocks,), (THREADS,), x, barriers)
        yield [latency(f"barrier of a block of {THREADS} threads", block, barriers, on_gpu)]
        words = device.xp.zeros(2, np.uint64)
        for size in sorted({min(n, blocks) for n in (8, 32, blocks)}):
            own = Kernel(SOURCE, "own_grid_barriers").prepare((size,), (THREADS,), words, barriers, cooperative=True)
            yield [latency(f"barrier of a grid of {size} blocks, grid_barrier.cuh", own, barriers, on_gpu)]
        groups = Kernel(SOURCE, "grid_barriers").prepare(
            (blocks,), (THREADS,), x, barriers, options={"GRID": 1}, cooperative=True
        )
        yield [latency(f"barrier of a grid of {blocks} blocks, cooperative groups", groups, barriers, on_gpu)]


def graph_of(device: Device, call: Call, nodes: int) -> Any:
    """Capture `nodes` calls into a graph."""
    call()  # load the kernel before the capture
    stream = device.xp.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        for _ in range(nodes):
            call()
        return stream.end_capture()


def latency(what: str, call: Call, parts: int, clock: Clock | None) -> Row:
    """Return the time of a call divided by `parts`, or, without a clock, the counts of the simulated GPU."""
    row: Row = {"what": what, "seconds": None, "counts": None, "fault": ""}
    with simulator.check_mode() if clock is None else nullcontext(), simulator.counting() as launches:
        if clock is None:
            call()
            return row | {"counts": asdict(sum(launches, simulator.Counts()))}
    (times,) = interleave({what: call}, clock, seconds=0.2).values()
    return row | {"seconds": asdict(Spread.of([time / parts for time in times]))}


def show(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a table of the latencies."""
    yield from markdown_table(
        ("latency", "time (quartiles)", "launches", "barriers"),
        (
            (
                row["what"],
                time_text(Spread(**row["seconds"])) if row["seconds"] else "-",
                *((row["counts"] or {}).get(name, "-") for name in ("launches", "barriers")),
            )
            for row in rows
        ),
    )


SECTION = Section("Latencies", 15, measure, show)

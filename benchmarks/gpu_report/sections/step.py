"""Time the training step: gpunet with each matrix product kernel, then compared with other frameworks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from benchmarks.frameworks.problem import Problem
from benchmarks.gpu_report.section import Row, Section, Setup, cases_of, markdown_table, measure_cases, show_cases
from benchmarks.peers import ENVIRONMENT, FRAMEWORKS, NETS, environment, measure, table

ORDER = ("784-128-10/128", "64-64-10/32", "784-512-512-10/256", "1024-1024-1024-1024/1024")
assert set(ORDER) == set(NETS)
SLOW = ("torch-compiled", "tinygrad")  # compile for minutes; PyTorch with CUDA graphs is faster than torch-compiled
PATIENCE = 100.0


def measure_kernels(setup: Setup) -> Iterator[list[Row]]:
    """Measure the eager step with cuBLAS, and the replayed graph with the tiled kernel."""
    nets = ("12-16-5/8",) if setup.simulated else ORDER
    return measure_cases(setup, cases_of("step", nets), ("blas", "tiled"))


def measure_peers(setup: Setup) -> Iterator[list[Row]]:
    """Yield the rows of `benchmarks.peers` for each network."""
    frameworks = {name: row for name, row in FRAMEWORKS.items() if setup.device in row.devices and name not in SLOW}
    os.environ.update(ENVIRONMENT)
    yield [{"versions": environment(frameworks, setup.device)["versions"], "fault": ""}]
    for net in ("8-8-3/4",) if setup.simulated else ORDER:
        rows = measure(Problem.parse(net), frameworks, device=setup.device, patience=PATIENCE)
        failed = [f"{row['name']} {row['status']}" for row in rows if row["name"].startswith("gpunet") and not ok(row)]
        yield [{"net": net, "rows": rows, "fault": "; ".join(failed)}]


def ok(row: Row) -> bool:
    """Return whether a framework was timed, or, on the simulated GPU, checked."""
    status: str = row["status"]
    return status == "ok" or status.startswith("agrees")


def show_peers(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the tables of `benchmarks.peers`."""
    for row in rows:
        if "versions" in row:
            yield from markdown_table(("package", "version"), row["versions"].items())
        else:
            yield from ("", "```", table(Problem.parse(row["net"]), row["rows"]), "```")


KERNELS = Section("The training step, including the host", 15, measure_kernels, show_cases)
PEERS = Section("The training step compared with other frameworks", 135, measure_peers, show_peers)

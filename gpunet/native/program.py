"""Native nodes as a program: which of them may run concurrently, and one call that runs many steps of them.

Nodes are divided into tasks and grouped into phases. The tasks of a phase are independent, so threads share them, and a
barrier ends the phase:

    ROWS     for each chunk of rows, a task runs all nodes of the phase, while the chunk is in the cache
    SLICES   each part of each node is a task
    WHOLE    one task runs the nodes one after the other

A node joins the first phase of its kind after all nodes that it depends on. So the forward pass, the loss and the input
gradients of a network are one phase of rows, and the gradients of all its weights are the next.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from gpunet import builds
from gpunet.device import kernels_path
from gpunet.native.blas import find_blas
from gpunet.native.compiler import RUNTIME
from gpunet.native.kernel import Division, Node, Range, address, library
from gpunet.native.threads import thread_count

SMALLEST_CHUNK = 32
LARGEST_CHUNK = 512
"""Rows of a chunk. A product of fewer rows is slower per row, since each packs the whole weight again."""

PARALLEL_FLOPS = 2_000_000
"""Minimum FLOPs of a step for which a program uses several threads; below, barriers cost more than the threads save."""

WAKING_FLOPS = 20_000_000
"""Minimum FLOPs of a prediction for which it uses several threads, which sleep and take about 50 microseconds to
wake."""


class Phase:
    """Nodes that may run between two barriers."""

    def __init__(self, division: Division, count: int):
        self.division, self.count = division, count
        self.nodes: list[Node] = []

    def conflicts(self, node: Node) -> list[tuple[Range, Range]]:
        """Return the pairs of overlapping ranges, one of `node` and one of this phase, of which at least one is
        written.
        """
        return [
            pair
            for own in self.nodes
            for one, other in ((node.reads, own.writes), (node.writes, own.writes), (node.writes, own.reads))
            for pair in itertools.product(one, other)
            if pair[0][0] < pair[1][1] and pair[1][0] < pair[0][1]
        ]

    def follows(self, node: Node, conflicts: Sequence[tuple[Range, Range]]) -> bool:
        """Return whether a node may run after the nodes that it conflicts with, in the same task.

        In a phase of rows it may if each conflict is over one whole array, of which both nodes access only the rows of
        their chunk.
        """
        if self.division == "ROWS":
            shared = node.shared.union(*(own.shared for own in self.nodes))
            return self.takes(node) and all(one == other and one not in shared for one, other in conflicts)
        return self.takes(node) and self.division == "WHOLE"

    def takes(self, node: Node) -> bool:
        """Return whether a node is divided like those of this phase."""
        return node.kernel.division == self.division and (self.division != "ROWS" or node.count == self.count)

    def tasks(self) -> list[list[tuple[Node, int, int]]]:
        """Return the tasks, each a list of (node, begin, end)."""
        if self.division == "WHOLE":
            return [[(node, 0, 1) for node in self.nodes]]
        if self.division == "SLICES":
            return [[(node, *part)] for node in self.nodes for part in _parts(node.count, node.grain)]
        return [[(node, *part) for node in self.nodes] for part in _parts(self.count, chunk_rows(self.count))]


class Program:
    """Nodes that run in their order, or concurrently if they are independent.

    Raises:
        CompileError: a kernel does not compile.
    """

    def __init__(self, nodes: Sequence[Node]):
        self.nodes = list(nodes)
        self.phases = schedule(nodes)
        variants = {(node.kernel.path, node.flags): None for node in nodes}
        longest_first = sorted(variants, key=lambda variant: -variant[0].stat().st_size)  # for compilation
        run_source = kernels_path() / "cpu" / RUNTIME
        builds.together([partial(library, *variant) for variant in ((run_source, ()), *longest_first)])
        tasks = [phase.tasks() for phase in self.phases]
        calls = [
            (node.function(), address(node.slots), begin, end)
            for of_phase in tasks
            for task in of_phase
            for node, begin, end in task
        ]
        self._calls = np.array(calls, np.int64)
        self._ends = self._calls[:, 3].copy()
        self._tasks = _offsets([len(task) for of_phase in tasks for task in of_phase])
        self._phases = _offsets([len(of_phase) for of_phase in tasks])
        blas = find_blas()
        setting = (0, 0) if blas is None or not blas.set_threads else (blas.get_threads, blas.set_threads)
        arrays = map(address, (self._calls, self._tasks, self._phases))
        self._program = np.array([*arrays, len(self.phases), *setting], np.int64)
        self.flops = sum(node.cost[1] or 0 for node in nodes)
        most = max(map(len, tasks), default=1)
        self.threads = min(thread_count(), most) if self.flops >= PARALLEL_FLOPS else 1
        run = library(run_source, ()).gpunet_run
        run.restype = None
        self._run = partial(run, ctypes.c_void_p(address(self._program)))
        self._run_one = partial(self._run, ctypes.c_int64(1), ctypes.c_int(self.threads))

    @property
    def divides_by_rows(self) -> bool:
        """Whether all nodes are divided by the same rows, so that the program can run on some of them."""
        return len(self.phases) == 1 and self.phases[0].division == "ROWS"

    def run_rows(self, rows: int) -> None:
        """Run the first `rows` rows, once, of a program that is divided by rows."""
        tasks = -(-rows // chunk_rows(self.phases[0].count))
        self._calls[:, 3] = np.minimum(self._ends, rows)  # not restored afterwards, as Ctrl-C may interrupt
        self._phases[1] = tasks
        worth_waking = self.flops * rows >= WAKING_FLOPS * self.phases[0].count
        self.run(threads=self.threads if worth_waking else 1)

    def run(self, steps: int = 1, threads: int | None = None) -> None:
        """Run `steps` steps, by default on `self.threads` threads."""
        if steps == 1 and threads is None:
            self._run_one()  # saves a third of a microsecond
        else:
            self._run(ctypes.c_int64(steps), ctypes.c_int(threads or self.threads))


@functools.cache
def _all_below() -> Callable[[int, int, int], int]:
    function = library(kernels_path() / "cpu" / RUNTIME, ()).gpunet_all_below
    function.argtypes = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
    return function


def all_below(start: int, count: int, limit: int) -> bool:
    """Return whether all `count` int64 elements from address `start` on are in [0, limit)."""
    return bool(_all_below()(start, count, limit))


def schedule(nodes: Sequence[Node]) -> list[Phase]:
    """Group nodes, given in a valid sequential order, into phases."""
    phases: list[Phase] = []
    for node in nodes:
        first = 0
        for position, phase in enumerate(phases):
            if conflicts := phase.conflicts(node):
                first = position if phase.follows(node, conflicts) else position + 1
        found = next((phase for phase in phases[first:] if phase.takes(node)), None)
        if found is None:
            found = Phase(node.kernel.division, node.count)
            phases.append(found)
        found.nodes.append(node)
    return phases


def chunk_rows(rows: int) -> int:
    """Return the rows of a chunk; they depend only on the batch size, and so do the bits of results."""
    return min(max(-(-rows // 2), SMALLEST_CHUNK), LARGEST_CHUNK)


def _parts(count: int, grain: int) -> list[tuple[int, int]]:
    return [(begin, min(begin + grain, count)) for begin in range(0, count, max(grain, 1))]


def _offsets(sizes: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

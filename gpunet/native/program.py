"""Native nodes as a program: which of them run at the same time, and one call that runs many steps of them.

Nodes are divided into tasks and gathered in phases. The tasks of a phase are independent, so threads share them, and a
barrier ends it:

    ROWS     the nodes of a phase run chunk by chunk of the rows, all of them on a chunk while it is in the cache
    SLICES   each part of each node is a task
    WHOLE    the nodes run one after the other, on one thread

A node joins the first phase of its kind after all that it depends on, so the forward pass, the loss and the input
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
"""Rows of a chunk. A product of fewer rows is slower per row, as each packs the whole weight for itself."""

PARALLEL_FLOPS = 2_000_000
"""FLOPs of a step from which a program uses several threads; below, barriers cost more than the threads save."""

WAKING_FLOPS = 20_000_000
"""FLOPs of a run from which a prediction uses several threads: they are asleep, and wake in some 50 microseconds."""


class Phase:
    """Nodes that may run between two barriers."""

    def __init__(self, division: Division, count: int):
        self.division, self.count = division, count
        self.nodes: list[Node] = []

    def conflicts(self, node: Node) -> list[tuple[Range, Range]]:
        """Return the pairs of a range of a node and one of this phase that overlap and of which one is written."""
        return [
            pair
            for own in self.nodes
            for one, other in ((node.reads, own.writes), (node.writes, own.writes), (node.writes, own.reads))
            for pair in itertools.product(one, other)
            if pair[0][0] < pair[1][1] and pair[1][0] < pair[0][1]
        ]

    def follows(self, node: Node, conflicts: Sequence[tuple[Range, Range]]) -> bool:
        """Return whether a node may run after those that it conflicts with, in the same task.

        With rows it may where each conflict is over one whole array, of which both nodes see nothing but the rows of
        their own chunk.
        """
        if self.division == "ROWS":
            shared = node.shared.union(*(own.shared for own in self.nodes))
            return self.takes(node) and all(one == other and one not in shared for one, other in conflicts)
        return self.takes(node) and self.division == "WHOLE"

    def takes(self, node: Node) -> bool:
        """Return whether a node divides as those of this phase do."""
        return node.kernel.division == self.division and (self.division != "ROWS" or node.count == self.count)

    def tasks(self) -> list[list[tuple[Node, int, int]]]:
        """Return the tasks: calls of nodes with the part of each."""
        if self.division == "WHOLE":
            return [[(node, 0, 1) for node in self.nodes]]
        if self.division == "SLICES":
            return [[(node, *part)] for node in self.nodes for part in _parts(node.count, node.grain)]
        return [[(node, *part) for node in self.nodes] for part in _parts(self.count, chunk_rows(self.count))]


class Program:
    """Nodes that are run in their order, or at the same time where they do not depend on each other.

    Args:
        nodes: the nodes of a step.

    Raises:
        CompileError: a kernel does not compile.
    """

    def __init__(self, nodes: Sequence[Node]):
        self.nodes = list(nodes)
        self.phases = schedule(nodes)
        variants = {(node.kernel.path, node.flags): None for node in nodes}
        longest_first = sorted(variants, key=lambda variant: -variant[0].stat().st_size)  # to compile
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
        """Whether all nodes divide by the same rows, so that the program can run a part of them."""
        return len(self.phases) == 1 and self.phases[0].division == "ROWS"

    def run_rows(self, rows: int) -> None:
        """Run the first `rows` rows of a program that divides by rows, once."""
        tasks = -(-rows // chunk_rows(self.phases[0].count))
        self._calls[:, 3] = np.minimum(self._ends, rows)  # not put back afterwards: Ctrl-C may come in between
        self._phases[1] = tasks
        worth_waking = self.flops * rows >= WAKING_FLOPS * self.phases[0].count
        self.run(threads=self.threads if worth_waking else 1)

    def run(self, steps: int = 1, threads: int | None = None) -> None:
        """Run the nodes for so many steps, by default on the threads that are worth it."""
        if steps == 1 and threads is None:
            self._run_one()  # a third of a microsecond less
        else:
            self._run(ctypes.c_int64(steps), ctypes.c_int(threads or self.threads))


@functools.cache
def _all_below() -> Callable[[int, int, int], int]:
    function = library(kernels_path() / "cpu" / RUNTIME, ()).gpunet_all_below
    function.argtypes = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
    return function


def all_below(start: int, count: int, limit: int) -> bool:
    """Return whether all int64 elements from an address on lie in [0, limit)."""
    return bool(_all_below()(start, count, limit))


def schedule(nodes: Sequence[Node]) -> list[Phase]:
    """Put nodes, given in an order in which they could run one by one, into phases."""
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
    """Return how many rows a chunk of a batch has: by the batch alone, so that the bits depend on nothing else."""
    return min(max(-(-rows // 2), SMALLEST_CHUNK), LARGEST_CHUNK)


def _parts(count: int, grain: int) -> list[tuple[int, int]]:
    return [(begin, min(begin + grain, count)) for begin in range(0, count, max(grain, 1))]


def _offsets(sizes: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

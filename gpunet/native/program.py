"""Native nodes as a program: which of them may run concurrently, and one call that runs many steps of them.

Nodes are grouped into phases, which barriers separate. Threads share the independent tasks of a phase:

    ROWS     for each chunk of rows, a task runs all nodes of the phase, while the chunk is in the cache
    SLICES   each node is divided into tasks
    WHOLE    one task runs the nodes one after the other

A node joins the first phase of its kind after all nodes that it depends on. So the forward pass, the loss and the input
gradients of a network are one phase of rows, and all weight gradients are the next.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial

from gpunet import builds
from gpunet.native.division import chunk_rows, row_tasks, slice_tasks
from gpunet.native.kernel import Division, Node, Range, library
from gpunet.native.runtime import SOURCE, Calls, Task
from gpunet.native.threads import thread_count

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
        """Return the pairs of overlapping ranges, of `node` and of this phase, of which at least one is written."""
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

    def tasks(self, threads: int, rows: int | None = None) -> list[Task]:
        """Return the tasks for a number of threads; in a phase of rows, those of the first `rows` (default: all)."""
        if self.division == "WHOLE":
            return [[(node, 0, 1) for node in self.nodes]]
        if self.division == "SLICES":
            return [task for node in self.nodes for task in slice_tasks(node, threads)]
        return row_tasks(self.nodes, self.count, threads, self.count if rows is None else rows)


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
        builds.together([partial(library, *variant) for variant in ((SOURCE, ()), *longest_first)])
        self.flops = sum(node.cost[1] or 0 for node in nodes)
        threads = thread_count() if self.flops >= PARALLEL_FLOPS else 1
        self._calls = Calls([phase.tasks(threads) for phase in self.phases])
        self.threads = min(threads, self._calls.most_tasks)
        self._run_one = self._calls.one_step(self.threads)
        self._of_parts: dict[int, Calls] = {}

    @property
    def divides_by_rows(self) -> bool:
        """Whether all nodes are divided by the same rows, so that the program can run on some of them."""
        return len(self.phases) == 1 and self.phases[0].division == "ROWS"

    def run_rows(self, rows: int) -> None:
        """Run the first `rows` rows, once, of a program that is divided by rows."""
        worth_waking = self.flops * rows >= WAKING_FLOPS * self.phases[0].count
        self._calls_of_rows(rows).run(threads=self.threads if worth_waking else 1)

    def _calls_of_rows(self, rows: int) -> Calls:
        """Return the calls for the first `rows` rows, which are kept for each number of parts."""
        phase = self.phases[0]
        if rows >= phase.count:
            return self._calls
        chunk = chunk_rows(phase.count)
        parts = min(-(-rows // chunk), phase.count // chunk)  # the last part includes the remainder
        if parts not in self._of_parts:
            self._of_parts[parts] = Calls([phase.tasks(self.threads, rows)])
        self._of_parts[parts].end_at(rows)
        return self._of_parts[parts]

    def run(self, steps: int = 1, threads: int | None = None) -> None:
        """Run `steps` steps, by default on `self.threads` threads."""
        if steps == 1 and threads is None:
            self._run_one()
        else:
            self._calls.run(steps, threads or self.threads)


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

"""How the nodes of a phase are divided into parts, which depend only on shapes, and tasks of consecutive parts.

Results do not depend on the number of threads, because the parts do not, and a kernel is called once for each part. A
matrix product is faster in one call for all parts of a task, because BLAS packs the second operand anew in each call.
Its order of summation may then be another one. So both are tried with random numbers, once for each shape: a product is
called once for each task only if this gives the same bits.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import numpy as np

from gpunet.device import aligned
from gpunet.native.kernel import Node, address
from gpunet.native.runtime import Calls, Task

Part = tuple[int, int]
"""The first row or element of a call, and the first one after it."""

SMALLEST_CHUNK = 32
"""Minimum rows of a part: BLAS needs more time per row for fewer."""

MOST_CHUNKS = 16
"""Maximum parts of a batch of up to 8192 rows, and so the maximum number of threads that its rows keep busy."""

LARGEST_CHUNK = 512
"""Maximum rows of a task, so that they are still in the cache when the next node reads them."""

MOST_FLOPS = 10_000_000_000
"""Maximum FLOPs of a product that is tried, which takes about 0.1 seconds."""


def chunk_rows(rows: int) -> int:
    """Return the rows of a part of a batch of `rows` rows."""
    return min(max(-(-rows // MOST_CHUNKS), SMALLEST_CHUNK), LARGEST_CHUNK)


def parts_of(count: int, grain: int) -> list[Part]:
    """Divide `count` rows or elements into parts of `grain`; the last part includes the remainder."""
    edges = [*range(0, max(count - grain + 1, 1), grain), count]
    return list(itertools.pairwise(edges)) if count else []


def row_tasks(nodes: Sequence[Node], count: int, threads: int, rows: int) -> list[Task]:
    """Return the tasks of a phase of rows, for the first `rows` rows of a batch of `count`."""
    rounds = -(-count // (threads * LARGEST_CHUNK))
    groups = _groups(parts_of(count, chunk_rows(count)), threads * rounds)
    merged = [merges(node, groups) for node in nodes]
    tasks: list[Task] = []
    for group in groups:
        begin, end = group[0][0], group[-1][1]
        divided = [(first, min(last, rows)) for first, last in group if first < rows]
        tasks.append(
            [
                (node, *part)
                for node, one_call in zip(nodes, merged, strict=True)
                for part in ([(begin, end)] if one_call and end <= rows else divided)
            ]
        )
    return [task for task in tasks if task]


def slice_tasks(node: Node, threads: int) -> list[Task]:
    """Return the tasks of a node that is divided by slices."""
    groups = _groups(parts_of(node.count, node.grain), threads)
    if merges(node, groups):
        return [[(node, group[0][0], group[-1][1])] for group in groups]
    return [[(node, *part)] for group in groups for part in group]


def _groups(parts: Sequence[Part], count: int) -> list[Sequence[Part]]:
    """Divide parts into at most `count` groups of consecutive ones."""
    count = min(count, len(parts))
    edges = [len(parts) * i // count for i in range(count + 1)] if count else []
    return [parts[begin:end] for begin, end in itertools.pairwise(edges)]


_TRIED: dict[tuple[object, ...], bool] = {}


def merges(node: Node, groups: Sequence[Sequence[Part]]) -> bool:
    """Return whether one call of a matrix product for each group gives the same bits as one for each of its parts."""
    if not node.calls_blas or (node.cost[1] or 0) > MOST_FLOPS or all(len(group) == 1 for group in groups):
        return False
    scalars = [0 if place in node.ranges else int(value) for place, value in enumerate(node.slots)]
    whole = [(group[0][0], group[-1][1]) for group in groups]
    parts = [part for group in groups for part in group]
    key = (node.function(), *scalars, *whole, *parts)
    if key not in _TRIED:
        _TRIED[key] = all(map(np.array_equal, _trial(node, whole), _trial(node, parts)))
    return _TRIED[key]


def _trial(node: Node, parts: Sequence[Part]) -> list[np.ndarray]:
    """Call a matrix product for each part, with random numbers in place of its arrays; return these arrays."""
    rng = np.random.default_rng(0)
    trial, arrays = copy.copy(node), []
    trial.slots = node.slots.copy()
    for place in node.ranges:
        a = aligned(node.args[place].size, node.args[place].dtype, np)
        rng.standard_normal(out=a, dtype=a.dtype)
        trial.slots[place] = address(a)
        arrays.append(a)
    Calls([[[(trial, *part) for part in parts]]]).run()
    return arrays

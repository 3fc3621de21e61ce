"""How the nodes of a phase are divided into parts, which depend only on shapes, and tasks of consecutive parts.

Results do not depend on the number of threads, because a kernel is called once for each part. A matrix product is
faster in one call for all parts of a task, because BLAS packs the second operand anew in each call; but then it may sum
in another order. So both are tried with random numbers, once for each shape, and only a product with the same bits is
called once. A part has whole tiles of BLAS, except the last one: with random numbers, a few remaining rows often have
the same bits by chance.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Sequence

import numpy as np

from gpunet.memory import aligned
from gpunet.native.blas import tile_rows
from gpunet.native.kernel import Node, address
from gpunet.native.runtime import Calls, Task

Part = tuple[int, int]
"""The first row or element of a call, and the first one after it."""

SMALLEST_CHUNK = 2
"""Minimum tiles of a part: BLAS needs more time per row for fewer."""

MOST_CHUNKS = 16
"""Maximum parts of a batch of up to 8192 rows, and so the maximum number of threads that its rows keep busy."""

LARGEST_CHUNK = 512
"""Maximum rows of a task of equal parts, so that they are still in the cache when the next node reads them."""

MOST_FLOPS = 10_000_000_000
"""Maximum FLOPs of a product that is tried: the trial delays the first step or prediction."""


def chunk_rows(rows: int) -> int:
    """Return the rows of a part of a batch of `rows` rows."""
    tile = tile_rows()
    tiles = -(-rows // (MOST_CHUNKS * tile))
    return min(max(tiles, SMALLEST_CHUNK), LARGEST_CHUNK // tile) * tile


def parts_of(count: int, grain: int) -> list[Part]:
    """Divide `count` rows or elements into parts of `grain`; the last part includes the remainder."""
    edges = [*range(0, max(count - grain + 1, 1), grain), count]
    return list(itertools.pairwise(edges)) if count else []


def row_tasks(nodes: Sequence[Node], count: int, threads: int, rows: int) -> list[Task]:
    """Return the tasks of a phase of rows, for the first `rows` rows of a batch of `count`.

    If these are not all, the last part has calls of its own, so that it may end at any row.
    """
    parts = [(first, min(last, rows)) for first, last in parts_of(count, chunk_rows(count)) if first < rows]
    rounds = -(-rows // (threads * LARGEST_CHUNK))
    tasks = []
    for group in _groups(parts, threads * rounds):
        own = group[-1:] if group[-1] == parts[-1] and rows < count else []
        others = group[: len(group) - len(own)]
        tasks.append([(node, *part) for node in nodes for part in (*calls(node, others), *own)])
    return tasks


def slice_tasks(node: Node, threads: int) -> list[Task]:
    """Return the tasks of a node that is divided by slices."""
    groups = _groups(parts_of(node.count, node.grain), threads)
    return [[(node, *part)] for group in groups for part in calls(node, group)]


def _groups(parts: Sequence[Part], count: int) -> list[Sequence[Part]]:
    """Divide parts into at most `count` groups of consecutive ones; the last ones have fewer, as the last part is the
    largest.
    """
    count = min(count, len(parts))
    edges = [-(-len(parts) * i // count) for i in range(count + 1)] if count else []
    return [parts[begin:end] for begin, end in itertools.pairwise(edges)]


_TRIED: dict[tuple[object, ...], bool] = {}


def calls(node: Node, parts: Sequence[Part]) -> Sequence[Part]:
    """Return the parts of a node's calls: a single one for all consecutive `parts` if `merges`."""
    return [(parts[0][0], parts[-1][1])] if len(parts) > 1 and merges(node, parts) else parts


def merges(node: Node, parts: Sequence[Part]) -> bool:
    """Return whether one call of a matrix product gives the same bits as one for each of its consecutive parts."""
    start, end = parts[0][0], parts[-1][1]
    if not node.calls_blas or (node.cost[1] or 0) * (end - start) > MOST_FLOPS * node.count:
        return False
    scalars = [0 if place in node.ranges else int(value) for place, value in enumerate(node.slots)]
    from_0 = tuple((first - start, last - start) for first, last in parts)
    key = (node.function(), *scalars, from_0)
    if key not in _TRIED:
        _TRIED[key] = _has_same_bits(node, from_0)
    return _TRIED[key]


def _has_same_bits(node: Node, parts: Sequence[Part]) -> bool:
    """Call a product at once and in parts, with random numbers for its arrays; return whether it is the same."""
    rng, end = np.random.default_rng(0), parts[-1][1]
    trial, arrays = copy.copy(node), []
    trial.slots = node.slots.copy()
    for place, extent in node.ranges.items():
        own = node.args[place]
        a = aligned(own.size if extent in node.shared else own.size * end // node.count, own.dtype, np)
        rng.random(out=a, dtype=a.dtype)
        a -= 0.5  # sums of both signs are rounded differently in more orders
        trial.slots[place] = address(a)
        arrays.append(a)
    *_, product = arrays
    Calls([[[(trial, 0, end)]]]).run()
    at_once = product.copy()
    Calls([[[(trial, *part) for part in parts]]]).run()
    return np.array_equal(at_once, product)

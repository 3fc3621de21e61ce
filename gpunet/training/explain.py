"""Describe the nodes of a recorded training step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from gpunet.arguments import counted
from gpunet.cuda import Launch
from gpunet.native import Program
from gpunet.ops.tiles import Tile

PRODUCTS = ("dot", "matmul")


class Node(NamedTuple):
    """A node of the recorded step: a launch on a GPU, or a call of a C++ kernel or of NumPy on the CPU.

    Attributes:
        choice: launch configuration (grid, block, tile, splits); on the CPU the division among threads.
        nbytes: of its arrays.
        flops: floating-point operations, counting an exponential as one; None if unknown.
    """

    kernel: str
    shapes: tuple[tuple[int, ...], ...]
    choice: str
    nbytes: int
    flops: int | None


class Explanation(NamedTuple):
    """The description of a recorded step; prints as a table.

    Attributes:
        arena_bytes: bytes of the allocation that holds all buffers.
        executor: its name, and how it runs the nodes.
    """

    nodes: list[Node]
    arena_bytes: int
    executor: str

    def __str__(self) -> str:
        rows = [("", "kernel", "shapes", "how it runs", "bytes", "FLOPs")]
        for number, node in enumerate(self.nodes, 1):
            shapes = " ".join("x".join(map(str, shape)) or "()" for shape in node.shapes)
            flops = "?" if node.flops is None else f"{node.flops:,}"
            rows.append((str(number), node.kernel, shapes, node.choice, f"{node.nbytes:,}", flops))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        aligned = "  ".join(f"{{:{side}{width}}}" for side, width in zip("><<<>>", widths, strict=True)).format
        work = sum(node.flops or 0 for node in self.nodes)
        count = counted(len(self.nodes), "node")
        total = f"{count}, {work:,} FLOPs per step, buffers of {self.arena_bytes:,} bytes in one allocation"
        return "\n".join([*(aligned(*row).rstrip() for row in rows), total, self.executor])

    def __repr__(self) -> str:
        return str(self)


def launch_node(launch: Launch) -> Node:
    """Return the node of a launch on a GPU."""
    options = launch.options
    choice = f"grid {'x'.join(map(str, launch.grid))}, block {'x'.join(map(str, launch.block))}"
    if tile := options.get("TILE"):
        sizes = str(tile).split(",")
        choice += f", tile {Tile(*map(int, sizes)) if len(sizes) == len(Tile._fields) - 1 else tile}"
    if activation := options.get("ACTIVATION"):
        choice += f", {activation}{'' if not options.get('GRADIENT') else ' backward'}"
    return Node(launch.kernel, tuple(launch.shapes.values()), choice, launch.nbytes, launch.flops)


def native_nodes(program: Program) -> Iterator[Node]:
    """Yield the nodes of a native program, in the order in which one thread would run them."""
    for phase in program.phases:
        tasks = phase.tasks(program.threads)
        for node in phase.nodes:
            count = sum(any(node is own for own, *_ in task) for task in tasks)
            tasks_by = f"{counted(count, 'task')} by {phase.division.lower()}"
            choice = "one thread" if phase.division == "WHOLE" else tasks_by
            shapes = tuple(a.shape for a in node.args if isinstance(a, np.ndarray))
            yield Node(node.kernel.name, shapes, choice, *node.cost)


def call_nodes(calls: Sequence[Callable[[], Any]]) -> Iterator[Node]:
    """Yield the nodes of recorded NumPy calls."""
    for call in calls:
        function, arguments = call, []
        while isinstance(function, functools.partial):  # the outer call may store the result of an inner one
            arguments += [*function.args, *function.keywords.values()]
            inner = next((a for a in function.args if isinstance(a, functools.partial)), None)
            function = function.func if inner is None else inner
        owner = getattr(function, "__self__", None)
        if isinstance(owner, np.ndarray):  # a method of an array
            arguments.insert(0, owner)
        arrays = [a for a in arguments if isinstance(a, np.ndarray)]
        name = getattr(function, "__name__", str(function))
        if isinstance(owner, np.ufunc):
            name = f"{owner.__name__}.{name}"
        yield Node(name, tuple(a.shape for a in arrays), "NumPy", sum(a.nbytes for a in arrays), _flops(name, arrays))


def _flops(name: str, arrays: Sequence[np.ndarray]) -> int:
    if name in PRODUCTS:
        a, b = arrays[:2]
        return 2 * a.size * (b.shape[-1] if b.ndim > 1 else 1)
    is_ufunc = isinstance(getattr(np, name.partition(".")[0], None), np.ufunc)
    return max((a.size for a in arrays), default=0) if is_ufunc else 0

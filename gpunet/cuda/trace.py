"""Note the launches of kernels: which, on what shapes, with what options, bytes and FLOPs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple


class Launch(NamedTuple):
    """A launch, as `traced_launches` tells of it.

    Attributes:
        kernel: its name.
        shapes: of its arrays, by the names of the parameters.
        grid: blocks along each axis.
        block: threads along each axis.
        options: the macros.
        nbytes: of the elements that its declaration asks for: the least that it moves where it touches each once.
        flops: by the line "FLOPs: ..." before the kernel; None where there is none.
    """

    kernel: str
    shapes: dict[str, tuple[int, ...]]
    grid: tuple[int, ...]
    block: tuple[int, ...]
    options: dict[str, Any]
    nbytes: int
    flops: int | None


tracing: ContextVar[list[Launch] | None] = ContextVar("gpunet_traced_launches", default=None)


@contextmanager
def traced_launches() -> Iterator[list[Launch]]:
    """Take note of the launches inside the block, in the list given."""
    launches: list[Launch] = []
    token = tracing.set(launches)
    try:
        yield launches
    finally:
        tracing.reset(token)

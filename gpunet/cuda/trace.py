"""Record the launches of kernels, with their shapes, options, bytes and FLOPs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple


class Launch(NamedTuple):
    """A recorded launch.

    Attributes:
        shapes: shapes of the arrays, by parameter name.
        nbytes: minimum bytes moved, each declared element touched once.
        flops: the FLOPs declared in the source, or None.
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
    """Record the launches inside the `with` block in the returned list."""
    launches: list[Launch] = []
    token = tracing.set(launches)
    try:
        yield launches
    finally:
        tracing.reset(token)

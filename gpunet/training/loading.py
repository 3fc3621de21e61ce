"""Prefetch batches: a thread copies the next batches into one buffer while steps run on the previous ones."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass

import numpy as np

LOAD = 2**23
"""Maximum bytes of a load, which has at least one batch."""

MOST_BATCHES = 256
"""Maximum batches of a load."""

LONGEST_LOAD = 0.05
"""Seconds after which an incomplete load is returned."""

Batch = Sequence[np.ndarray]


@dataclass(frozen=True)
class Load:
    """Consecutive batches of the same size, concatenated.

    Attributes:
        arrays: buffers whose first `rows` rows are the batches; the rest is undefined.
        count: rows of each batch.
    """

    arrays: list[np.ndarray]
    rows: int
    count: int


def loads(batches: Iterator[Batch]) -> Generator[Load]:
    """Yield batches in loads, while a thread prepares the next load; a load is valid until the next is requested.

    An error of the iterator is raised after the batches before it.
    """
    from concurrent.futures import ThreadPoolExecutor  # this import takes milliseconds

    filled, context = _filled(batches), copy_context()  # the context contains the device of a `with gn.use_device`

    def fill() -> Load | None:
        return context.run(lambda: next(filled, None))

    with ThreadPoolExecutor(1, "gpunet-loader") as pool:
        coming = pool.submit(fill)
        while (load := coming.result()) is not None:
            coming = pool.submit(fill)
            yield load


def _filled(batches: Iterator[Batch]) -> Iterator[Load]:
    """Yield loads in two alternating buffers of the same size, so that a recorded step can read both."""
    items = _with_error(batches)
    buffers: list[list[np.ndarray]] = [[], []]
    size = 0
    batch = next(items, None)
    while batch is not None:
        if isinstance(batch, Exception):
            raise batch
        count, rows, began = len(batch[0]), 0, time.perf_counter()
        if count > size:
            size = count * max(min(LOAD // sum(a.nbytes for a in batch), MOST_BATCHES), 1)
        buffers.reverse()
        if not buffers[0] or len(buffers[0][0]) != size:
            buffers[0] = [np.zeros((size, *a.shape[1:]), a.dtype) for a in batch]
        arrays = buffers[0]
        while not (batch is None or isinstance(batch, Exception)) and len(batch[0]) == count:
            if rows + count > size or (rows and time.perf_counter() - began > LONGEST_LOAD):
                break
            for a, array in zip(batch, arrays, strict=True):
                array[rows : rows + count] = a
            rows += count
            batch = next(items, None)
        yield Load(arrays, rows, count)


def _with_error(batches: Iterator[Batch]) -> Iterator[Batch | Exception]:
    """Yield the batches and, if the iterator raises an error, the error as the last item."""
    try:
        yield from batches
    except Exception as error:
        yield error

"""Loading ahead: a thread copies the next batches to one place while the steps on the last ones run."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass

import numpy as np

LOAD = 2**23
"""Bytes of the batches that are loaded at once; one batch at least."""

MOST_BATCHES = 256
"""Batches that are loaded at once."""

LONGEST_LOAD = 0.05
"""Seconds after which a load is handed on as it is."""

Batch = Sequence[np.ndarray]


@dataclass(frozen=True)
class Load:
    """Some batches of one size, one behind the other.

    Attributes:
        arrays: what each array of the batches begins with; what lies behind is not defined.
        rows: rows of all batches together.
        count: rows of a batch.
    """

    arrays: list[np.ndarray]
    rows: int
    count: int


def loads(batches: Iterator[Batch]) -> Generator[Load]:
    """Yield batches in loads; one is valid until the next is asked for, which a thread prepares meanwhile.

    An error of the iterator comes after the batches before it.
    """
    from concurrent.futures import ThreadPoolExecutor  # which takes some milliseconds

    filled, context = _filled(batches), copy_context()  # which has the device of a `with gn.use_device`

    def fill() -> Load | None:
        return context.run(lambda: next(filled, None))

    with ThreadPoolExecutor(1, "gpunet-loader") as pool:
        coming = pool.submit(fill)
        while (load := coming.result()) is not None:
            coming = pool.submit(fill)
            yield load


def _filled(batches: Iterator[Batch]) -> Iterator[Load]:
    """Yield loads in two places by turns, which are of one size, so that steps serve both."""
    items = _with_error(batches)
    places: list[list[np.ndarray]] = [[], []]
    size = 0
    batch = next(items, None)
    while batch is not None:
        if isinstance(batch, Exception):
            raise batch
        count, rows, began = len(batch[0]), 0, time.perf_counter()
        if count > size:
            size = count * max(min(LOAD // sum(a.nbytes for a in batch), MOST_BATCHES), 1)
        places.reverse()
        if not places[0] or len(places[0][0]) != size:
            places[0] = [np.zeros((size, *a.shape[1:]), a.dtype) for a in batch]
        arrays = places[0]
        while not (batch is None or isinstance(batch, Exception)) and len(batch[0]) == count:
            if rows + count > size or (rows and time.perf_counter() - began > LONGEST_LOAD):
                break
            for a, array in zip(batch, arrays, strict=True):
                array[rows : rows + count] = a
            rows += count
            batch = next(items, None)
        yield Load(arrays, rows, count)


def _with_error(batches: Iterator[Batch]) -> Iterator[Batch | Exception]:
    """Yield the batches and, where the iterator fails, its error as the last."""
    try:
        yield from batches
    except Exception as error:
        yield error

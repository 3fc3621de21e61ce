"""Calls of native kernels in the tables that `kernels/cpu/run.cpp` reads."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunet.device import kernels_path
from gpunet.native.blas import find_blas
from gpunet.native.compiler import RUNTIME
from gpunet.native.kernel import Node, address, library

Task = list[tuple[Node, int, int]]
"""Calls that one thread makes in their order: a node and the part of its work, [begin, end)."""

MOST_ARRAYS = 3
"""Maximum arrays of a batch: features, targets and row weights."""

SOURCE = kernels_path() / "cpu" / RUNTIME


class Calls:
    """The calls of several phases, each a list of independent tasks."""

    def __init__(self, phases: Sequence[Sequence[Task]]):
        calls = [
            (node.function(), address(node.slots), begin, end)
            for tasks in phases
            for task in tasks
            for node, begin, end in task
        ]
        self.most_tasks = max(map(len, phases), default=1)
        blas = find_blas()
        setting = (0, 0) if blas is None or not blas.set_threads else (blas.get_threads, blas.set_threads)
        self._calls = np.array(calls, np.int64).reshape(-1, 4)
        self._last = np.flatnonzero(self._calls[:, 3] == self._calls[:, 3].max(initial=0))
        self._tables = [
            self._calls,
            _offsets([len(task) for tasks in phases for task in tasks]),
            _offsets([len(tasks) for tasks in phases]),
        ]
        self._program = np.array([*map(address, self._tables), len(phases), *setting], np.int64)
        run = library(SOURCE, ()).gpunet_run
        run.restype = None
        self._run = partial(run, ctypes.c_void_p(address(self._program)))

    def end_at(self, row: int) -> None:
        """Shorten the calls that reach the last row: they end at `row`."""
        self._calls[self._last, 3] = row

    def run(self, steps: int = 1, threads: int = 1) -> None:
        """Run all calls `steps` times."""
        self._run(ctypes.c_int64(steps), ctypes.c_int(threads))

    def one_step(self, threads: int) -> Callable[[], None]:
        """Return a function that runs all calls once; it is a third of a microsecond faster than `run`."""
        return partial(self._run, ctypes.c_int64(1), ctypes.c_int(threads))


class Binding:
    """The node arguments that refer to the arrays of a batch: features, targets and row weights, or the first of them.

    Args:
        places: for each array, the arguments that refer to it, as (slots of a node, index).
        alignments: for each array, the alignment that kernels need, in bytes.
        labels: number of class labels in the targets, 0 if they are not labels.
        classes: number of classes.
    """

    def __init__(
        self, places: Sequence[Sequence[tuple[np.ndarray, int]]], alignments: Sequence[int], labels: int, classes: int
    ):
        slots = [address(slots) + slots.itemsize * place for of_array in places for slots, place in of_array]
        self._tables = [np.array(alignments, np.int64), _offsets(list(map(len, places))), np.array(slots, np.int64)]
        self._batch = np.array([len(places), *map(address, self._tables), labels, classes], np.int64)
        self._bind = partial(library(SOURCE, ()).gpunet_bind, ctypes.c_void_p(address(self._batch)))
        self._missing = (None,) * (MOST_ARRAYS - len(places))

    def bind(self, arrays: Sequence[Any]) -> bool:
        """Make the nodes read these arrays, which the caller must keep alive.

        Return False, and change nothing, if an array is not C-contiguous or aligned, or a label is not in [0, classes).
        """
        try:
            return bool(self._bind(*map(_memory, arrays), *self._missing))
        except (TypeError, ValueError):  # read-only, empty or strided
            if not all(isinstance(a, np.ndarray) and a.flags.c_contiguous for a in arrays):
                return False
            return bool(self._bind(*(ctypes.c_void_p(address(a)) for a in arrays), *self._missing))


_memory = (ctypes.c_char * 0).from_buffer
"""Return the memory of a writable, C-contiguous array as an argument of a C function; other arrays raise."""


def _offsets(sizes: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

"""Calls of native kernels in the tables that `kernels/cpu/run.cpp` reads."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from gpunet.device import kernels_path
from gpunet.native.blas import find_blas
from gpunet.native.compiler import RUNTIME
from gpunet.native.kernel import Node, address, library

Task = list[tuple[Node, int, int]]
"""Calls that one thread makes in their order: a node and the part of its work, [begin, end)."""

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
        """Let the calls that end last end at `row`."""
        self._calls[self._last, 3] = row

    def run(self, steps: int = 1, threads: int = 1) -> None:
        """Run all calls `steps` times."""
        self._run(ctypes.c_int64(steps), ctypes.c_int(threads))

    def one_step(self, threads: int) -> Callable[[], None]:
        """Return a function that runs all calls once; it is a third of a microsecond faster than `run`."""
        return partial(self._run, ctypes.c_int64(1), ctypes.c_int(threads))


@functools.cache
def all_below() -> Callable[[int, int, int], int]:
    """Return a function of (start, count, limit): whether `count` int64 at address `start` are all in [0, limit)."""
    function = library(SOURCE, ()).gpunet_all_below
    function.argtypes = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64
    return function


def _offsets(sizes: Sequence[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)

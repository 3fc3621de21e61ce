"""Run the forward pass of a model on the CPU as one native program, for any number of rows."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, Self

import numpy as np

from gpunet import native, versions
from gpunet.errors import GpunetError
from gpunet.layers import Layer
from gpunet.recording import RecordedArray, rebinding, recording

LARGEST_BATCH = 4096
"""Maximum rows of a forward pass; larger batches are split to bound the memory."""


@contextmanager
def _recorded(model: Layer) -> Iterator[None]:
    """Replace parameters and buffers by recording views; works also for layers that belong to several models."""
    views = [which for leaf in model.leaves().values() for which in (leaf.params, leaf.buffers)]
    kept = [dict(which) for which in views]
    try:
        for which in views:
            which.rebind({name: RecordedArray.of(a) for name, a in which.items()})
        yield
    finally:
        for which, arrays in zip(views, kept, strict=True):
            which.rebind(arrays)


MOST_PROGRAMS = 16
"""Maximum programs cached per model. Batches of 32 to LARGEST_BATCH rows need eight."""


class Kind(NamedTuple):
    """The batches that a program can run.

    Attributes:
        rows: maximum rows, a power of two from 32 to LARGEST_BATCH. It decides how rows are split, and thus the last
            bits of the outputs, so it depends only on the batch.
        features: the shape of a row.
    """

    rows: int
    features: tuple[int, ...]
    dtype: np.dtype[np.generic]

    @classmethod
    def of(cls, x: np.ndarray) -> Self:
        """Return the kind of the batch `x` (rows, features...)."""
        return cls(min(1 << max(len(x) - 1, 31).bit_length(), LARGEST_BATCH), x.shape[1:], x.dtype)


class Inference:
    """The forward pass of a model as a native program, if all operations have C++ kernels that work row by row.

    The program is recorded for the maximum number of rows, and also runs fewer.
    """

    def __init__(self, model: Layer, kind: Kind):
        self._parts = versions.parts(model)
        self._versions = [part.version for part in self._parts]
        self._lock, self._process = threading.Lock(), os.getpid()
        self.rows = kind.rows
        self._x = np.zeros((self.rows, *kind.features), kind.dtype)
        self._program: native.Program | None = None
        if native.why_unavailable() is None and all(part.is_own_code for part in self._parts):
            with suppress(GpunetError):  # the eager forward pass raises the error again
                self._record(model)

    def _record(self, model: Layer) -> None:
        with rebinding(), _recorded(model), recording(native=True) as nodes, np.errstate(all="ignore"):
            self._y = model.forward(RecordedArray.of(self._x)).view(np.ndarray)
        if nodes and all(isinstance(node, native.Node) for node in nodes):
            program = native.Program(nodes)
            if program.divides_by_rows and program.phases[0].count % self.rows == 0:
                self._program = program
                self._positions = program.phases[0].count // self.rows  # a node may have several rows per row of x

    @property
    def is_current(self) -> bool:
        """Whether the model has not changed since the recording."""
        if self._process != os.getpid():  # in a forked child, the lock may be held forever
            return False
        return self._versions == [part.version for part in self._parts]

    def run(self, x: np.ndarray, y: np.ndarray) -> bool:
        """Write the outputs for `x` (rows, features...) to `y`; return False if there is no program."""
        if self._program is None:
            return False
        with self._lock:  # the program has one set of buffers
            for start in range(0, len(x), self.rows):
                rows = min(self.rows, len(x) - start)
                self._x[:rows] = x[start : start + rows]
                self._program.run_rows(rows * self._positions)
                y[start : start + rows] = self._y[:rows]
        return True


def run_native(model: Layer, programs: dict[Kind, Inference], x: np.ndarray, y: np.ndarray) -> bool:
    """Write the outputs for `x` to `y` with a program from the cache `programs`; return False if there is none."""
    kind = Kind.of(x)
    inference = programs.get(kind)
    if inference is None or not inference.is_current:
        if len(programs) >= MOST_PROGRAMS:
            programs.clear()
        inference = programs[kind] = Inference(model, kind)
    return inference.run(x, y)

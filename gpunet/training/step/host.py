"""The CPU executors: they replay a recorded step as NumPy calls or as C++ nodes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from gpunet import native
from gpunet.arguments import counted
from gpunet.device import Array
from gpunet.recording import OPT_OUT, NotRecordableError, do, note, recording
from gpunet.tape import Tape
from gpunet.training.explain import Explanation, call_nodes, native_nodes
from gpunet.training.explain import Node as NodeDescription
from gpunet.training.step.eager import without_warnings


class NumpyExecutor:
    """Record the NumPy calls of the step and replay them."""

    name = "numpy"
    native = False

    def __init__(self, step: Any):
        self.step = step
        self.nodes: list[Any] = []
        self._arena_bytes = 0
        self._trusted = False

    def record(self) -> None:
        """Record the step over zeroed buffers, twice: first to find the buffers, then with them in one allocation."""
        step = self.step
        for first in (True, False):
            with step.unchanged(), step.store.recorded(), recording(self.native) as nodes, np.errstate(all="ignore"):
                if not first:
                    self._arena_bytes = step.pack()
                step.work()
                if step.reduce is not None:
                    note(step.reduce)
                self._record_update()
        step.value, step.prediction = np.asarray(step.value), np.asarray(step.prediction)
        self.nodes = nodes

    def _record_update(self) -> None:
        note(self.step.optimizer.step)

    def run(self, steps: int) -> None:
        """Replay the calls `steps` times."""
        if not self._trusted:
            self._check_user_code()
        with without_warnings():
            for _ in range(steps):
                for call in self.nodes:
                    call()

    def _check_user_code(self) -> None:
        """Raise `NotRecordableError` if a replay of user code gives different results from the code itself.

        Calls that the recording misses return constants, computed from the zeros of the recording.
        """
        if not (all(part.is_own_code for part in self.step.parts) or _replays_exactly(self.step)):
            raise NotRecordableError(
                "a replay of the recorded calls gave different results from the code; compute with the arrays that the "
                f"step passes, not with copies by np.asarray, or {OPT_OUT}."
            )
        self._trusted = True

    def describe(self) -> Explanation:
        """Return the calls, including those of the optimizer's update."""
        reason = native.why_unavailable()
        summary = "numpy: each node is a NumPy call" + (f"; no native kernels: {reason}" if reason else "")
        return Explanation(self._described(self.nodes), self._arena_bytes, summary)

    def _described(self, calls: Sequence[Any]) -> list[NodeDescription]:
        """Return the descriptions of recorded NumPy calls."""
        own = [call for call in calls if call not in (self.step.reduce, self.step.optimizer.step)]
        update = (self.step.optimizer.prepare().calls or []) if len(own) < len(calls) else []
        return list(call_nodes([*own, *update]))


class NativeExecutor(NumpyExecutor):
    """Record the step as C++ nodes, or NumPy calls for operations without a kernel; one call runs many steps."""

    name = "native"
    native = True

    def record(self) -> None:
        """Record the step and compile its kernels."""
        super().record()
        groups = itertools.groupby(self.nodes, lambda node: isinstance(node, native.Node))
        self._segments = [native.Program(list(group)) if is_native else list(group) for is_native, group in groups]
        first, *others = self._segments
        self._program = first if isinstance(first, native.Program) and not others else None

    def _record_update(self) -> None:
        optimizer = self.step.optimizer
        self._progress = optimizer.prepare().progress if optimizer.record_nodes() else None
        if self._progress is None:
            super()._record_update()

    def run(self, steps: int) -> None:
        """Run the steps; in one call if all nodes are native."""
        if not self._trusted:
            self._check_user_code()
        if self._progress is not None:
            self._progress.look_ahead(steps)
        try:
            if self._program is not None:
                self._program.run(steps)
                self._count(steps)
            else:
                with without_warnings():
                    for _ in range(steps):
                        self._run_segments()
                        self._count(1)
        except BaseException:  # Ctrl-C may come after the steps and before they are counted
            if self._progress is not None:
                self.step.optimizer.steps = int(self._progress.words[0])
            raise

    def _count(self, steps: int) -> None:
        """Add the steps of a native update, which counts only in memory, to the host's counter."""
        if self._progress is not None:
            self.step.optimizer.counter.advance(steps)

    def describe(self) -> Explanation:
        """Return the nodes, phase by phase, and their division among threads."""
        described: list[NodeDescription] = []
        programs = [segment for segment in self._segments if isinstance(segment, native.Program)]
        for segment in self._segments:
            described += native_nodes(segment) if isinstance(segment, native.Program) else self._described(segment)
        blas = native.find_blas()
        threads = max((program.threads for program in programs), default=1)
        calls = "" if len(programs) == len(self._segments) else "; NumPy calls where an operation has no C++ kernel"
        products = "products by NumPy" if blas is None else f"products by {blas.path}"
        how_many = counted(len(programs), "program")
        summary = f"native: C++ nodes in {how_many}{calls}; threads: {threads}; {products}"
        return Explanation(described, self._arena_bytes, summary)

    def _run_segments(self) -> None:
        for segment in self._segments:
            if isinstance(segment, native.Program):
                segment.run()
            else:
                for call in segment:
                    call()

    def places(self, a: np.ndarray) -> list[tuple[np.ndarray, int]] | None:
        """Return the node arguments that refer to an array, as (slots, index), so that they can be changed.

        Return None if a NumPy call may read the array, or a node reads only a part of it.
        """
        if self._program is None:
            return None
        start, end = native.address(a), native.address(a) + a.nbytes
        found = [(node, place, begin) for node in self.nodes for place, (begin, _) in node.ranges.items()]
        inside = [(node.slots, place, begin) for node, place, begin in found if start <= begin < end]
        if any(begin != start for *_, begin in inside):
            return None
        return [(slots, place) for slots, place, _ in inside]


def _replays_exactly(step: Any) -> bool:
    """Return whether a replay of the NumPy calls of a step's gradients gives the same bits as its code."""
    store, seed, counter = step.store, step.seed, step.optimizer.counter

    def load(tape: Tape) -> list[Array]:
        """Return copies of the batch, which are zero during the recording, so that missed calls give other results."""
        batch = step.source.load(step.source.parts[0], tape)
        copies = [tape.empty(a.shape, a.dtype, np) for a in batch]
        for a, copy in zip(batch, copies, strict=True):
            do(partial(np.copyto, copy.view(np.ndarray), a.view(np.ndarray)))
        return copies

    tape = Tape(seed, counter)
    tape.reset(first_row=step.first_row)
    with step.unchanged(), store.recorded(), recording() as calls, np.errstate(all="ignore"):
        value, prediction, _ = step.gradients(tape, load)
    results = []
    for replayed in (True, False):
        with step.unchanged(), np.errstate(all="ignore"):
            if replayed:
                for call in calls:
                    call()
            else:
                fresh = Tape(seed, counter)
                fresh.reset(first_row=step.first_row)
                value, prediction, _ = step.gradients(fresh, load)
            results.append([np.array(a) for a in (value, prediction, store.grads, store.buffers)])
    return all(np.array_equal(a, b, equal_nan=True) for a, b in zip(*results, strict=True))

"""The GPU executor, real or simulated: the step as captured graphs of kernels."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from gpunet.cuda import Launch, traced_launches
from gpunet.optimizers.step import DeviceStep
from gpunet.recording import Call, NotRecordableError
from gpunet.training.explain import Explanation, launch_node

GRAPH = "graph: kernels in a CUDA graph"

STEPS_OF_A_GRAPH = 8
"""Steps per graph, if many run: the gap between two graphs is about 3 µs, between nodes of a graph 0.8 µs."""


class GraphExecutor:
    """Capture the kernels of the step, including the optimizer's, in a graph, and several steps in another one.

    In distributed training the all-reduce of the gradients runs between two graphs. The update of an optimizer in array
    code, or with an overridden `step`, runs after the graph of a single step.

    Attributes:
        place: key of the batch that the next run reads; a graph refers to its arrays, so each key has its own graphs.
    """

    name = "graph"

    def __init__(self, step: Any):
        self.step = step
        self.place: Hashable = ()
        self._graphs: dict[tuple[Hashable, int], list[Call]] = {}
        self._arena_bytes: int | None = None
        self._launches: list[Launch] = []

    def record(self) -> None:
        """Run the step without its update to compile the kernels and find the buffers, then capture a graph."""
        step = self.step
        with step.unchanged(), step.products():
            step.work()
        self._graph(1)

    def run(self, steps: int) -> None:
        """Launch graphs of several steps, then graphs of a single step for the rest."""
        optimizer, update = self.step.optimizer, self._captured_update()
        if update is not None:
            update.progress.look_ahead(steps)
        many = STEPS_OF_A_GRAPH if self.step.reduce is None and update is not None else 1
        for size in (many, 1):
            while steps >= size:
                for call in self._graph(size):
                    call()
                if update is not None:  # otherwise the optimizer's code has counted the step
                    optimizer.counter.advance(size)
                steps -= size

    def describe(self) -> Explanation:
        """Return the launches of one step."""
        own = "" if self._captured_update() is not None else "; then the optimizer's update as Python code"
        reason = f"; no persistent kernel: {self.step.refusal}" if self.step.refusal else ""
        return Explanation(list(map(launch_node, self._launches)), self._arena_bytes or 0, GRAPH + own + reason)

    def _captured_update(self) -> DeviceStep | None:
        """Return the optimizer's update; None if it cannot be captured."""
        optimizer = self.step.optimizer
        update = optimizer.prepare()
        return update if isinstance(update, DeviceStep) and not optimizer.has_own_step else None

    def _graph(self, steps: int) -> list[Call]:
        """Return the calls that run the given number of steps on the batch at `place`."""
        key = self.place, steps
        if key not in self._graphs:
            self._graphs[key] = self._capture(steps)
        return self._graphs[key]

    def _capture(self, steps: int) -> list[Call]:
        step, cuda = self.step, self.step.device.xp.cuda
        if self._arena_bytes is None:  # pack the buffers before the first capture; all graphs use them
            self._arena_bytes = step.pack()
        captured = self._captured_update()
        update = None if captured is None else captured.launches
        stream = cuda.Stream(non_blocking=True)
        with stream, cuda.using_allocator(_refuse), step.products(), traced_launches() as launches:
            reduce = [] if step.reduce is None else [step.reduce]
            if update is None:
                graphs = [_captured(stream, [step.work]), *reduce, step.optimizer.step]
            elif not reduce:
                graphs = [_captured(stream, [step.work, *update] * steps)]
            else:
                graphs = [_captured(stream, [step.work]), *reduce, _captured(stream, update)]
        if steps == 1:
            self._launches = launches
        return graphs


def _refuse(nbytes: int) -> NoReturn:
    """Refuse an allocation during a capture, because the memory pool could reuse the memory before a replay."""
    raise NotRecordableError(f"{nbytes} bytes were allocated inside the step; use tape.empty(...).")


def _captured(stream: Any, calls: Sequence[Callable[[], Any]]) -> Call:
    """Capture calls on the current stream as a graph; return a function that launches it."""
    stream.begin_capture()
    try:
        for call in calls:
            call()
    except BaseException:
        with suppress(RuntimeError):  # ending a failed capture raises again
            stream.end_capture()
        raise
    return stream.end_capture().launch

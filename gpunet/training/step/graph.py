"""The executor of a GPU, real or simulated: the step as captured graphs of kernels."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any, NoReturn

from gpunet.cuda import Launch, traced_launches
from gpunet.optimizers import Optimizer
from gpunet.recording import Call, NotRecordableError
from gpunet.training.explain import Explanation, launch_node

GRAPH = "graph: kernels in a CUDA graph"

STEPS_OF_A_GRAPH = 8
"""Steps in the graph of many: consecutive graphs are some 3 µs apart, nodes of a graph 0.8."""


class GraphExecutor:
    """Captures the step's kernels, the optimizer's among them, in a graph; another one holds several steps.

    Where several ranks share the batch, the sum of their gradients comes between two graphs.

    Args:
        step: the step.

    Attributes:
        place: which batch the next run reads: a graph names its arrays, so each place has graphs of its own.
    """

    name = "graph"

    def __init__(self, step: Any):
        self.step = step
        self.place: Hashable = ()
        self._graphs: dict[tuple[Hashable, int], list[Call]] = {}
        self._arena_bytes: int | None = None
        self._launches: list[Launch] = []

    def record(self) -> None:
        """Run the step up to its update, without an effect, to compile its kernels and learn its buffers."""
        step = self.step
        if type(step.optimizer).step is not Optimizer.step:
            raise NotRecordableError(f"{type(step.optimizer).__name__} has a `step` of its own, which a graph skips.")
        with step.unchanged(), step.products():
            step.work()
        self._graph(1)

    def run(self, steps: int) -> None:
        """Launch graphs of many steps, and single ones for the rest."""
        optimizer = self.step.optimizer
        optimizer.prepare().progress.look_ahead(steps)
        many = STEPS_OF_A_GRAPH if self.step.reduce is None else 1
        for size in (many, 1):
            while steps >= size:
                for call in self._graph(size):
                    call()
                optimizer.counter.advance(size)
                steps -= size

    def describe(self) -> Explanation:
        """Return the launches of one step."""
        reason = f"; no persistent kernel: {self.step.refusal}" if self.step.refusal else ""
        return Explanation(list(map(launch_node, self._launches)), self._arena_bytes or 0, GRAPH + reason)

    def _graph(self, steps: int) -> list[Call]:
        """Return the calls that run the given number of steps on the batch at `place`."""
        key = self.place, steps
        if key not in self._graphs:
            self._graphs[key] = self._capture(steps)
        return self._graphs[key]

    def _capture(self, steps: int) -> list[Call]:
        step, cuda = self.step, self.step.device.xp.cuda
        if self._arena_bytes is None:  # the first graph has its buffers in one piece, all others use them
            self._arena_bytes = step.tape.pack()
        update = step.optimizer.prepare().launches
        stream = cuda.Stream(non_blocking=True)
        with stream, cuda.using_allocator(_refuse), step.products(), traced_launches() as launches:
            if step.reduce is None:
                graphs = [_captured(stream, [step.work, *update] * steps)]
            else:
                graphs = [_captured(stream, [step.work]), step.reduce, _captured(stream, update)]
        if steps == 1:
            self._launches = launches
        return graphs


def _refuse(nbytes: int) -> NoReturn:
    """Refuse to allocate during a capture: the pool could hand the memory out again before the replay."""
    raise NotRecordableError(f"{nbytes} bytes were allocated inside the step; use tape.empty(...).")


def _captured(stream: Any, calls: Sequence[Callable[[], Any]]) -> Call:
    """Capture some calls on the current stream as a graph; return what launches it."""
    stream.begin_capture()
    try:
        for call in calls:
            call()
    except BaseException:
        with suppress(RuntimeError):  # ending a capture that failed raises once more
            stream.end_capture()
        raise
    return stream.end_capture().launch  # type: ignore[no-any-return]

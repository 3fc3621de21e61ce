"""CuPy's streams, events and graphs for the single simulated GPU.

Work runs in order, as soon as it is submitted. `counters` counts what would wait or copy on a GPU. While a stream is
captured, work is only recorded, and a graph replays it on the same memory.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar, TypeAlias

from gpunet.errors import KernelError

Work: TypeAlias = Callable[[], Any]

_MESSAGES = {
    101: "cudaErrorInvalidDevice: invalid device ordinal",
    400: "cudaErrorInvalidResourceHandle: invalid resource handle",
    900: "cudaErrorStreamCaptureUnsupported: operation not permitted when stream is capturing",
    901: "cudaErrorStreamCaptureInvalidated: operation failed due to a previous error during capture",
    1000: "cudaErrorIllegalState: the operation cannot be performed in the present state",
}


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime; `status` is its number."""

    def __init__(self, status: int):
        super().__init__(_MESSAGES[status])
        self.status = status


@dataclass
class Counters:
    """The operations of a GPU since the last `reset`.

    Attributes:
        uploads: copies from the host to the device.
        downloads: copies from the device to the host; each is a synchronization, too.
        synchronizations: how often the host waited for the device.
        launches: kernels launched one by one, those of array code included.

    Example:
        >>> import gpunet.simulator as cp
        >>> cp.counters.reset()
        >>> a = cp.asarray([1.0, 2.0]) + 1
        >>> cp.counters
        Counters(allocations=2, uploads=1, downloads=0, synchronizations=0, launches=1, graph_launches=0)
    """

    allocations: int = 0
    uploads: int = 0
    downloads: int = 0
    synchronizations: int = 0
    launches: int = 0
    graph_launches: int = 0

    def reset(self) -> None:
        """Set all counters to zero."""
        for field in fields(self):
            setattr(self, field.name, 0)


counters = Counters()
_ticks = itertools.count()
_pointers = itertools.count(2)  # CUDA's handles 0 and 1 are the default streams


class _Thread(threading.local):
    def __init__(self) -> None:
        self.streams = [Stream.null]


class Stream:
    """A queue of work; `with stream:` makes it the current stream of this thread.

    Args:
        null: return the default stream, which cannot be captured.
        non_blocking: has no effect: work on different streams never overlaps.
    """

    null: ClassVar[Stream]

    def __init__(self, null: bool = False, non_blocking: bool = False):
        self.ptr = 0 if null else next(_pointers)
        self.device_id = 0
        self.is_non_blocking = non_blocking
        self._nodes: list[_Node] | None = None
        self._invalidated = False

    def __enter__(self) -> Stream:
        _thread.streams.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        _thread.streams.pop()

    def use(self) -> Stream:
        """Make this the current stream of the thread."""
        _thread.streams[-1] = self
        return self

    @property
    def done(self) -> bool:
        """Whether all work is done: always True."""
        return True

    def synchronize(self) -> None:
        """Wait for all work."""
        synchronize(self)

    def record(self, event: Event | None = None) -> Event:
        """Record an event, by default a new one, and return it."""
        event = event or Event()
        event.record(self)
        return event

    def wait_event(self, event: Event) -> None:
        """Make later work wait for the event."""

    def begin_capture(self, mode: int | None = None) -> None:
        """Record subsequent work instead of running it; `mode` has no effect."""
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self._nodes is not None:
            raise CUDARuntimeError(1000)
        self._nodes, self._invalidated = [], False

    def end_capture(self) -> Graph:
        """End the capture and return the recorded work."""
        nodes, self._nodes = self._nodes, None
        if nodes is None:
            raise CUDARuntimeError(1000)
        if self._invalidated:
            raise CUDARuntimeError(901)
        return Graph(nodes)

    def is_capturing(self) -> bool:
        """Return whether the stream is captured."""
        return self._nodes is not None

    def _submit(self, work: Work, memories: Iterable[object]) -> None:
        if self._nodes is None:
            counters.launches += 1
            work()
        else:
            self._nodes.append(_Node(work, [weakref.ref(memory) for memory in memories]))

    def _refuse_capture(self) -> None:
        if self._nodes is not None:
            self._invalidated = True
            raise CUDARuntimeError(900)


Stream.null = Stream(null=True)
_thread = _Thread()


@dataclass
class _Node:
    work: Work
    memories: list[weakref.ref[Any]]


class Graph:
    """Captured work; `Stream.end_capture` returns it."""

    def __init__(self, nodes: list[_Node]):
        self._nodes = nodes

    def launch(self, stream: Stream | None = None) -> None:
        """Replay the work on the memory that it was captured with.

        Raises:
            KernelError: some of that memory was freed since; a GPU would access whatever is there now.
        """
        (stream or get_current_stream())._refuse_capture()
        if any(memory() is None for node in self._nodes for memory in node.memories):
            raise KernelError(
                "graph: an array used in the capture was freed; keep a reference to it while you replay the graph."
            )
        counters.graph_launches += 1
        for node in self._nodes:
            node.work()

    def upload(self, stream: Stream | None = None) -> None:
        """Prepare the first launch."""


class Event:
    """A point in the order of work. The arguments have no effect."""

    def __init__(self, block: bool = False, disable_timing: bool = False):
        self._tick: int | None = None

    @property
    def done(self) -> bool:
        """Whether the work before the event is done: always True."""
        return True

    def record(self, stream: Stream | None = None) -> None:
        """Record the current position of the stream."""
        self._tick = next(_ticks)

    def synchronize(self) -> None:
        """Wait for the work before the event."""
        synchronize()


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Return the number of events recorded from one to the other: the simulated GPU has no clock."""
    if start_event._tick is None or end_event._tick is None:
        raise CUDARuntimeError(400)
    return float(end_event._tick - start_event._tick)


def get_current_stream() -> Stream:
    """Return the current stream of this thread."""
    return _thread.streams[-1]


def submit(work: Work, memories: Iterable[object] = ()) -> None:
    """Run `work`, or record it if the current stream is captured; `memories` is what it accesses."""
    get_current_stream()._submit(work, memories)


def refuse_capture() -> None:
    """Raise `CUDARuntimeError` if the current stream is captured, and invalidate the capture, as CUDA does."""
    get_current_stream()._refuse_capture()


def synchronize(stream: Stream | None = None) -> None:
    """Count a synchronization of the host with the device."""
    (stream or get_current_stream())._refuse_capture()
    counters.synchronizations += 1

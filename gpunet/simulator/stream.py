"""Streams, events, graphs and the one simulated GPU, as CuPy has them.

Work runs where it is submitted, at once and in order, so there is nothing to wait for; what would wait or copy on a GPU
is counted. While a stream is captured, work is only recorded, and a graph replays it over the same memory.
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
    """An error of the CUDA runtime, by its number, which is the attribute `status`."""

    def __init__(self, status: int):
        super().__init__(_MESSAGES[status])
        self.status = status


@dataclass
class Counters:
    """What a GPU would have done since the last `reset`.

    Attributes:
        allocations: pieces of device memory taken.
        uploads: copies from the host to the device.
        downloads: copies from the device to the host.
        synchronizations: times that the host waited for the device; every download is one too.
        launches: kernels started one by one, those of array code included.
        graph_launches: graphs started.

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
    """A queue of work; `with stream:` makes it the current one of this thread.

    Args:
        null: return the default stream, which cannot be captured.
        non_blocking: kept, without effect: nothing runs at the same time as something else.
    """

    null: ClassVar[Stream]

    def __init__(self, null: bool = False, non_blocking: bool = False):
        self.ptr = 0 if null else next(_pointers)
        self.device_id = 0
        self.is_non_blocking = non_blocking
        self._nodes: list[_Node] | None = None
        self._spoilt = False

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
        """Whether all work is done."""
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
        """Let later work wait for the event."""

    def begin_capture(self, mode: int | None = None) -> None:
        """Record the work that follows instead of doing it; `mode` makes no difference here."""
        if self.ptr == 0:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        if self._nodes is not None:
            raise CUDARuntimeError(1000)
        self._nodes, self._spoilt = [], False

    def end_capture(self) -> Graph:
        """End the capture and return the recorded work."""
        nodes, self._nodes = self._nodes, None
        if nodes is None:
            raise CUDARuntimeError(1000)
        if self._spoilt:
            raise CUDARuntimeError(901)
        return Graph(nodes)

    def is_capturing(self) -> bool:
        """Return whether work is recorded."""
        return self._nodes is not None

    def _submit(self, work: Work, memories: Iterable[object]) -> None:
        if self._nodes is None:
            counters.launches += 1
            work()
        else:
            self._nodes.append(_Node(work, [weakref.ref(memory) for memory in memories]))

    def _refuse_capture(self) -> None:
        if self._nodes is not None:
            self._spoilt = True
            raise CUDARuntimeError(900)


Stream.null = Stream(null=True)
_thread = _Thread()


@dataclass
class _Node:
    work: Work
    memories: list[weakref.ref[Any]]


class Graph:
    """Captured work; made by `Stream.end_capture`."""

    def __init__(self, nodes: list[_Node]):
        self._nodes = nodes

    def launch(self, stream: Stream | None = None) -> None:
        """Do the work again over the memory that it was captured with.

        Raises:
            KernelError: some of that memory was freed since; a GPU would read or spoil whatever lies there now.
        """
        (stream or get_current_stream())._refuse_capture()
        if any(memory() is None for node in self._nodes for memory in node.memories):
            raise KernelError("graph: an array that was used in the capture was freed since; keep it for the replays.")
        counters.graph_launches += 1
        for node in self._nodes:
            node.work()

    def upload(self, stream: Stream | None = None) -> None:
        """Prepare the first launch."""


class Event:
    """A point in the order of work. The arguments make no difference here."""

    def __init__(self, block: bool = False, disable_timing: bool = False):
        self._tick: int | None = None

    @property
    def done(self) -> bool:
        """Whether the work before it is done."""
        return True

    def record(self, stream: Stream | None = None) -> None:
        """Mark the point that the stream has reached."""
        self._tick = next(_ticks)

    def synchronize(self) -> None:
        """Wait for the work before it."""
        synchronize()


def get_elapsed_time(start_event: Event, end_event: Event) -> float:
    """Return how many events later `end_event` was recorded: the simulated GPU has an order and no clock."""
    if start_event._tick is None or end_event._tick is None:
        raise CUDARuntimeError(400)
    return float(end_event._tick - start_event._tick)


def get_current_stream() -> Stream:
    """Return the stream to which this thread's work goes."""
    return _thread.streams[-1]


def submit(work: Work, memories: Iterable[object] = ()) -> None:
    """Do `work` on the current stream, or record it there; `memories` are what it touches."""
    get_current_stream()._submit(work, memories)


def refuse_capture() -> None:
    """Raise `CUDARuntimeError` where the current stream is captured, and spoil the capture, as CUDA does."""
    get_current_stream()._refuse_capture()


def synchronize(stream: Stream | None = None) -> None:
    """Count a wait of the host for the device."""
    (stream or get_current_stream())._refuse_capture()
    counters.synchronizations += 1


class Device:
    """A simulated GPU; there is one, number 0."""

    compute_capability = "90"

    def __init__(self, device: int | Device | None = None):
        self.id = int(device or 0)

    def __int__(self) -> int:
        return self.id

    def __enter__(self) -> Device:
        self.use()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def use(self) -> None:
        """Make it the current device."""
        if self.id != 0:
            raise CUDARuntimeError(101)

    def synchronize(self) -> None:
        """Wait for all work on it."""
        synchronize()

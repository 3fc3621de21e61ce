"""Time calls in turns, A, B, A, B, so that all of them see the same state of the machine."""

from __future__ import annotations

import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from gpunet.device import Device

MIN_SECONDS = 2e-3
"""Minimum duration of a measurement: far above the resolution of the CPU's clock."""

ROUNDS = 7, 24
"""Minimum and maximum number of rounds; between them, the time limit ends the measurement."""


@dataclass(frozen=True)
class Spread:
    """The median and the quartiles of repeated measurements."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of one or more values."""
        if len(values) == 1:
            return cls(values[0], values[0], values[0])
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)


class Clock(Protocol):
    """Measures the duration of calls."""

    most: int
    """Maximum number of calls in one measurement."""

    def __call__(self, call: Callable[[], object], count: int) -> float:
        """Return the seconds that `count` calls take."""


class WallClock:
    """Wall time until the device is done: the work of the host and of the device."""

    most = 2**20

    def __init__(self, device: Device, now: Callable[[], float] = time.perf_counter):
        self.device = device
        self.now = now

    def __call__(self, call: Callable[[], object], count: int) -> float:
        self.device.synchronize()
        began = self.now()
        for _ in range(count):
            call()
        self.device.synchronize()
        return self.now() - began


class EventClock:
    """The time of the calls on a GPU alone, measured by its events; the GPU must be the current device."""

    most = 64
    """A GPU's queue holds about a thousand launches; the host waits if it is full."""

    max_copies = 256

    def __init__(self, device: Device):
        self.device = device
        self.copies = 1
        with device.activate():
            self.source, self.target = (device.xp.zeros(4 * l2_bytes(device), np.uint8) for _ in range(2))

    def __call__(self, call: Callable[[], object], count: int) -> float:
        while True:
            seconds, behind = self._measure(call, count)
            if behind or self.copies >= self.max_copies:
                return seconds
            self.copies *= 2

    def _measure(self, call: Callable[[], object], count: int) -> tuple[float, bool]:
        """Return the seconds, and whether all calls were queued before the GPU reached them."""
        cuda = self.device.xp.cuda
        start, stop = cuda.Event(), cuda.Event()
        # the copies take longer than the host needs to queue the calls: the GPU never waits between the events
        for _ in range(self.copies):
            self.device.xp.copyto(self.target, self.source)
        call()  # reloads the caches, since the copy has evicted the data
        start.record()
        for _ in range(count):
            call()
        behind = not start.done
        stop.record()
        stop.synchronize()
        return cuda.get_elapsed_time(start, stop) / 1e3, behind


def l2_bytes(device: Device) -> int:
    """Return the size of a GPU's L2 cache."""
    return int(device.xp.cuda.runtime.getDeviceProperties(device.index)["l2CacheSize"])


def rotate(calls: Sequence[Callable[[], object]]) -> Callable[[], object]:
    """Return a function that runs the next of `calls` each time, in a cycle; their arrays together exceed a cache."""
    turn = itertools.cycle(calls)
    return lambda: next(turn)()


def interleave(calls: Mapping[str, Callable[[], object]], clock: Clock, seconds: float) -> dict[str, list[float]]:
    """Return the seconds per call by name: a list with one value per round, in the order of the rounds.

    Args:
        calls: what to time, by name; each is warmed up first.
    """
    counts = {name: _count(call, clock) for name, call in calls.items()}
    times: dict[str, list[float]] = {name: [] for name in calls}
    spent, least, most = 0.0, *ROUNDS
    for done in range(most):
        if done >= least and spent >= seconds:
            break
        for name, call in calls.items():
            measured = clock(call, counts[name])
            times[name].append(measured / counts[name])
            spent += measured
    return times


def _count(call: Callable[[], object], clock: Clock) -> int:
    """Warm up, and return the number of calls per measurement.

    Each count is timed twice, and the minimum is used, because the second call of a training step also records it.
    """
    call()
    count = 1
    while (took := min(clock(call, count), clock(call, count))) < MIN_SECONDS and count < clock.most:
        enough = math.ceil(count * 1.2 * MIN_SECONDS / max(took, 1e-9))
        count = min(clock.most, max(2 * count, enough))
    return count


def ratios(times: Sequence[float], base: Sequence[float]) -> Spread:
    """Return the speed relative to `base`, round by round."""
    return Spread.of([b / t for b, t in zip(base, times, strict=True)])

"""Timing with fake clocks: calls in turns, enough calls, and a GPU that never waits for the host."""

import itertools

import cupy_stand_in
import pytest

import gpunet as gn
from gpunet.bench import timing
from gpunet.bench.timing import EventClock, Spread, WallClock, interleave, ratios, rotate
from gpunet.device import Device


class Machine:
    """Work that advances the fake clock by a given time and records the order of calls."""

    def __init__(self):
        self.now = 0.0
        self.done = []

    def work(self, name, seconds):
        def call():
            self.now += seconds() if callable(seconds) else seconds
            self.done.append(name)

        return call


@pytest.fixture
def machine():
    return Machine()


def wall(machine):
    return WallClock(gn.get_device("cpu"), now=lambda: machine.now)


def test_calls_are_timed_in_turns(machine):
    times = interleave({"A": machine.work("A", 1.0), "B": machine.work("B", 2.0)}, wall(machine), seconds=30)
    assert times == {"A": [1.0] * 10, "B": [2.0] * 10}
    assert "".join(machine.done[-20:]) == "AB" * 10


def test_the_number_of_rounds_is_bounded(machine):
    long, short = machine.work("long", 100.0), machine.work("short", 1e-4)
    assert len(interleave({"long": long}, wall(machine), seconds=1)["long"]) == timing.ROUNDS[0]
    assert len(interleave({"short": short}, wall(machine), seconds=1)["short"]) == timing.ROUNDS[1]


@pytest.mark.parametrize("seconds", [1e-7, 1e-5, 1e-3])
def test_a_measurement_is_far_longer_than_the_clock_s_resolution(machine, seconds):
    clock, spans = wall(machine), []

    def measured(call, count):
        spans.append(clock(call, count))
        return spans[-1]

    measured.most = clock.most
    (times,) = interleave({"A": machine.work("A", seconds)}, measured, seconds=0.1).values()
    assert times == pytest.approx([seconds] * len(times))
    assert min(spans[-len(times) :]) >= 0.5 * timing.MIN_SECONDS


def test_the_first_calls_are_not_timed(machine):
    cold = itertools.chain([50.0], itertools.repeat(1.0))
    (times,) = interleave({"A": machine.work("A", lambda: next(cold))}, wall(machine), seconds=5).values()
    assert set(times) == {1.0}


def test_a_recorded_step_is_measured_by_many_replays(machine):
    recorded, spans = itertools.chain([50.0, 0.1], itertools.repeat(1e-5)), []
    clock = wall(machine)

    def measured(call, count):
        spans.append(clock(call, count))
        return spans[-1]

    measured.most = clock.most
    interleave({"A": machine.work("A", lambda: next(recorded))}, measured, seconds=0.1)
    assert spans[-1] >= 0.5 * timing.MIN_SECONDS


def test_a_spread_is_the_median_and_the_quartiles():
    assert Spread.of([5.0, 1.0, 2.0, 4.0, 3.0]) == Spread(3.0, 2.0, 4.0)
    assert Spread.of([2.0]) == Spread(2.0, 2.0, 2.0)


def test_a_ratio_per_round_is_robust_to_a_slow_round():
    assert ratios([1.0, 10.0, 1.0], [2.0, 20.0, 2.0]) == Spread(2.0, 2.0, 2.0)


def test_rotation_cycles_through_all_copies():
    seen = []
    call = rotate([lambda i=i: seen.append(i) for i in range(3)])
    for _ in range(7):
        call()
    assert seen == [0, 1, 2, 0, 1, 2, 0]


# events


@pytest.fixture
def gpu(monkeypatch, machine):
    """A GPU whose events use the fake clock, and whose delay kernels are counted."""
    monkeypatch.setattr(cupy_stand_in.cuda, "clock", lambda: machine.now)
    return EventClock(Device("cuda:0", cupy_stand_in))


def test_events_enclose_the_calls_but_not_the_delay_or_the_warm_up(gpu, machine):
    assert gpu(machine.work("A", 0.25), 4) == pytest.approx(1.0)
    assert len(machine.done) == 5


def test_the_delay_grows_until_the_host_is_ahead_of_the_gpu(gpu, machine, monkeypatch):
    monkeypatch.setattr(cupy_stand_in.cuda, "overtakes", lambda: gpu.copies < 8)
    gpu(machine.work("A", 1.0), 2)
    assert gpu.copies == 8
    assert len(machine.done) == 4 * 3  # with 1, 2, 4 and 8 copies; the last is the result


def test_a_call_that_synchronizes_is_measured(gpu, machine, monkeypatch):
    monkeypatch.setattr(cupy_stand_in.cuda, "overtakes", lambda: True)
    assert gpu(machine.work("A", 1.0), 2) == pytest.approx(2.0)
    assert gpu.copies == gpu.max_copies


def test_a_measurement_does_not_fill_the_gpus_queue(gpu, machine):
    interleave({"A": machine.work("A", 1e-7)}, gpu, seconds=1e-3)
    assert gpu.most * 2 < 1024


def test_the_delay_evicts_the_l2_cache(gpu):
    l2 = cupy_stand_in.cuda.runtime.getDeviceProperties(0)["l2CacheSize"]
    assert gpu.source.nbytes >= 2 * l2

"""Streams, events and graphs: recording, refused operations and replay."""

from functools import partial

import numpy as np
import pytest

import gpunet.simulator as cp
from gpunet.errors import KernelError

CUDARuntimeError = cp.cuda.runtime.CUDARuntimeError


@pytest.fixture
def x():
    return cp.zeros(4, np.float32)


def capture(work):
    """Capture `work` and return the graph."""
    with cp.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        work()
        return stream.end_capture()


def test_a_capture_records_and_a_replay_runs(x):
    graph = capture(lambda: cp.add(x, 1, out=x))
    assert x.tolist() == [0, 0, 0, 0]
    graph.upload()
    for _ in range(3):
        graph.launch()
    assert x.tolist() == [3, 3, 3, 3]


def test_a_replay_uses_the_memory_and_scalars_of_the_capture(x):
    step = 2.0

    def work():
        cp.multiply(x, step, out=x)
        x[1:].fill(step)
        x[0] = x[1]

    graph = capture(work)
    step = 100.0
    x[:] = 5
    cp.counters.reset()
    graph.launch()
    assert (cp.counters.graph_launches, cp.counters.launches) == (1, 0)
    assert x.tolist() == [2, 2, 2, 2]


def test_views_may_be_made_in_a_capture(x):
    graph = capture(lambda: cp.add(x.reshape(2, 2)[0], 1, out=x.reshape(2, 2).T[1]))
    graph.launch()
    assert x.tolist() == [0, 1, 0, 1]


def test_cublas_products_are_refused_and_the_capture_continues(x):
    m = cp.ones((2, 2))

    def work():
        with pytest.raises(NotImplementedError):
            cp.matmul(m, m, out=m)
        with pytest.raises(NotImplementedError):
            m.dot(m)
        cp.add(x, 1, out=x)

    capture(work).launch()
    assert x.tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize(
    "work",
    [
        lambda x: x + 1,
        lambda x: cp.empty(3),
        lambda x: cp.asarray([1.0]),
        lambda x: x.copy(),
        lambda x: x.get(),
        lambda x: float(x[0]),
        lambda x: x.set(np.ones(4, np.float32)),
        lambda x: cp.cuda.get_current_stream().synchronize(),
        lambda x: cp.cuda.Device().synchronize(),
        lambda x: cp.cuda.Event().synchronize(),
        lambda x: x.nonzero(),
    ],
)
def test_allocations_copies_and_synchronizations_invalidate_a_capture(x, work):
    with cp.cuda.Stream(non_blocking=True) as stream:
        stream.begin_capture()
        with pytest.raises(CUDARuntimeError) as caught:
            work(x)
        assert caught.value.status == 900
        with pytest.raises(CUDARuntimeError) as caught:
            stream.end_capture()
        assert caught.value.status == 901
        work(x)  # and the stream is as before


def test_only_the_current_stream_is_captured(x):
    stream = cp.cuda.Stream(non_blocking=True)
    stream.begin_capture()
    x.fill(7)
    with stream:
        x.fill(8)
    graph = stream.end_capture()
    assert x.tolist() == [7, 7, 7, 7]
    graph.launch()
    assert x.tolist() == [8, 8, 8, 8]


def test_the_default_stream_cannot_be_captured():
    with pytest.raises(RuntimeError, match="default"):
        cp.cuda.Stream.null.begin_capture()


def test_a_capture_begins_and_ends_once():
    stream = cp.cuda.Stream()
    with pytest.raises(CUDARuntimeError):
        stream.end_capture()
    stream.begin_capture()
    assert stream.is_capturing()
    with pytest.raises(CUDARuntimeError):
        stream.begin_capture()


def test_a_replay_over_freed_memory_is_an_error():
    graph = capture(partial(cp.zeros(3).fill, 1))
    with pytest.raises(KernelError, match="freed"):
        graph.launch()


def test_streams_nest():
    outer, inner = cp.cuda.Stream(), cp.cuda.Stream()
    with outer:
        with inner:
            assert cp.cuda.get_current_stream() is inner
        assert cp.cuda.get_current_stream() is outer
    assert cp.cuda.get_current_stream() is cp.cuda.Stream.null


def test_events_measure_order_not_time():
    start, stop = cp.cuda.Event(), cp.cuda.Event()
    with pytest.raises(CUDARuntimeError):
        cp.cuda.get_elapsed_time(start, stop)
    start.record()
    cp.cuda.get_current_stream().record(stop)
    assert cp.cuda.get_elapsed_time(start, stop) == 1
    assert start.done


def test_there_is_one_device():
    assert cp.cuda.runtime.getDeviceCount() == 1
    assert cp.zeros(1).device == cp.cuda.Device(0)
    with pytest.raises(CUDARuntimeError), cp.cuda.Device(1):
        pass

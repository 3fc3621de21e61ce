"""Uploads through pinned memory: only changes are uploaded."""

import numpy as np
import pytest

import gpunet as gn
from gpunet import simulator
from gpunet.simulator import counters
from gpunet.uploads import CHUNK, Mirror, Staging

SIM = gn.get_device("sim")


def update(mirror, a):
    """Update a mirror; return how many pieces were uploaded."""
    counters.reset()
    with SIM.activate(), Staging(SIM) as staging:
        mirror.update(a, staging)
    np.testing.assert_array_equal(SIM.to_host(mirror.array), a)
    return counters.uploads


@pytest.mark.parametrize("size", [0, 1, 1000, CHUNK // 8, CHUNK // 8 + 1, CHUNK])
def test_an_array_of_any_size_is_uploaded_once(size):
    a = np.random.default_rng(0).standard_normal(size)
    mirror = Mirror(SIM, a.shape, a.dtype)
    assert update(mirror, a) == -(-a.nbytes // CHUNK)
    assert update(mirror, a) == 0
    assert update(mirror, a.copy()) == 0


@pytest.mark.parametrize(
    "change",
    {
        "an element": lambda a: a.__setitem__((-1, 3), 0),
        "the last byte": lambda a: a.reshape(-1).view(np.uint8).__setitem__(-1, 1),
        "two rows exchanged": lambda a: a.__setitem__([1, 2], a[[2, 1]]),
        "two elements exchanged": lambda a: a.__setitem__((0, [1, 3]), a[0, [3, 1]]),
        "all signs": lambda a: np.negative(a, out=a),
        "the signs of two columns": lambda a: a.__setitem__((slice(None), [0, 2]), -a[:, [0, 2]]),
        "rows shuffled": lambda a: np.random.default_rng(1).shuffle(a),
    }.items(),
    ids=lambda change: change[0],
)
def test_in_place_changes_are_uploaded_again(change):
    a = np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)
    mirror = Mirror(SIM, a.shape, a.dtype)
    update(mirror, a)
    change[1](a)
    assert update(mirror, a) == 1
    assert update(mirror, a) == 0


def test_only_changed_chunks_are_uploaded_again():
    a = np.zeros(5 * CHUNK, np.uint8)
    mirror = Mirror(SIM, a.shape, a.dtype)
    assert update(mirror, a) == 5
    a[[CHUNK, 3 * CHUNK + 7]] = 1
    assert update(mirror, a) == 2


def test_an_interrupted_upload_is_repeated(monkeypatch):
    a = np.zeros(3 * CHUNK, np.uint8)
    mirror, real = Mirror(SIM, a.shape, a.dtype), Staging.upload
    update(mirror, a)
    a[::CHUNK] = 1
    pieces = []

    def upload(self, source, target):
        pieces.append(source)
        if len(pieces) == 2:
            raise KeyboardInterrupt
        real(self, source, target)

    with monkeypatch.context() as patch:
        patch.setattr(Staging, "upload", upload)
        with pytest.raises(KeyboardInterrupt):
            update(mirror, a)
    assert update(mirror, a) == 2


def test_pinned_memory_is_no_larger_than_two_pieces(monkeypatch):
    taken = []
    real = simulator.cuda.alloc_pinned_memory
    monkeypatch.setattr(simulator.cuda, "alloc_pinned_memory", lambda size: taken.append(size) or real(size))
    a = np.arange(4 * CHUNK // 8)
    update(Mirror(SIM, a.shape, a.dtype), a)
    assert taken == [CHUNK, CHUNK]


def test_a_pinned_buffer_is_not_overwritten_during_its_upload(monkeypatch):
    """Each piece of pinned memory is filled only after its own last upload is done."""
    order = []

    class Queue:
        def record(self):
            number = sum(what == "uploaded" for what, _ in order)
            order.append(("uploaded", number))
            return Event(number)

    class Event:
        def __init__(self, number):
            self.number = number

        def synchronize(self):
            order.append(("awaited", self.number))

    monkeypatch.setattr(simulator.cuda, "get_current_stream", Queue)
    a = np.arange(4 * CHUNK // 8)
    update(Mirror(SIM, a.shape, a.dtype), a)
    awaited = [("uploaded", 0), ("uploaded", 1), ("awaited", 0), ("uploaded", 2), ("awaited", 1), ("uploaded", 3)]
    assert order == [*awaited, ("awaited", 2), ("awaited", 3)]

"""The tape: buffers reused by each step, random numbers of a step, and the order of backward."""

import cupy_stand_in
import numpy as np
import pytest

from gpunet import random
from gpunet.errors import StateError
from gpunet.memory import CACHE_LINE
from gpunet.tape import Tape, empty, empty_like

F32 = np.dtype(np.float32)


def test_the_same_requests_get_the_same_buffers_every_step():
    tape = Tape()
    tape.reset()
    first = [tape.empty((2, 3), F32, np), tape.empty((4,), F32, np), tape.empty((4,), F32, np)]
    assert [a.shape for a in first] == [(2, 3), (4,), (4,)]
    assert not np.shares_memory(first[1], first[2])
    for _ in range(2):
        tape.reset()
        assert tape.empty((2, 3), F32, np) is first[0]
        assert tape.empty((4,), F32, np) is first[1]
        assert tape.empty((4,), F32, np) is first[2]


@pytest.mark.parametrize("other", [((3, 2), F32, np), ((2, 3), np.dtype(np.float64), np), ((2, 3), F32, cupy_stand_in)])
def test_a_request_of_another_shape_replaces_only_that_buffer(other):
    tape = Tape()
    first, last = tape.empty((2, 3), F32, np), tape.empty((5,), F32, np)
    tape.reset()
    changed = tape.empty(*other)
    assert changed is not first
    assert (changed.shape, changed.dtype) == other[:2]
    assert isinstance(changed, other[2].ndarray)
    assert tape.empty((5,), F32, np) is last
    tape.reset()
    assert tape.empty(*other) is changed


def test_without_a_tape_buffers_are_fresh():
    like = np.zeros((2, 3), F32).T
    a, b = (empty_like(None, like, np) for _ in range(2))
    assert not np.shares_memory(a, b)
    assert (a.shape, a.dtype, a.flags.c_contiguous) == ((3, 2), F32, True)
    tape = Tape()
    buffer = empty(tape, (4,), F32, np)
    tape.reset()
    assert empty(tape, (4,), F32, np) is buffer


def test_a_step_draws_the_numbers_of_its_seed_step_and_place():
    tape = Tape(seed=5)
    tape.reset(step=7, first_row=3)
    for draw in range(2):
        expected = np.empty((4, 6), F32)
        random.uniform(expected, seed=5, step=7, draw=draw, first_row=3)
        np.testing.assert_array_equal(tape.uniform((4, 6)), expected)


def test_a_repeated_step_draws_the_same_numbers_and_the_next_step_others():
    tape = Tape(seed=1)
    tape.reset(step=0)
    first = tape.uniform((8, 8)).copy()
    tape.reset()
    assert tape.step == 1
    assert not np.array_equal(tape.uniform((8, 8)), first)
    tape.reset(step=0)
    np.testing.assert_array_equal(tape.uniform((8, 8)), first)


def test_a_kernels_draws_count_with_those_of_the_host():
    tape, other = Tape(seed=2), Tape(seed=2)
    assert tape.next_draw() == 0
    other.uniform((4,))
    np.testing.assert_array_equal(tape.uniform((4,)), other.uniform((4,)))
    assert tape.next_draw() == 2


def test_the_step_number_stays_in_one_device_array():
    tape = Tape()
    tape.reset(step=7)
    number = tape.device_step(cupy_stand_in)
    assert cupy_stand_in.asnumpy(number).tolist() == [7]
    tape.reset()
    assert cupy_stand_in.asnumpy(number).tolist() == [8]
    assert tape.device_step(cupy_stand_in) is number


def test_saved_values_are_restored_in_reverse_order():
    tape = Tape()
    first, second = object(), object()
    tape.save(first, 1)
    tape.save(second, 2, 3)
    tape.save(first, 4)
    assert tape.restore(first) == (4,)
    assert tape.restore(second) == (2, 3)
    assert tape.restore(first) == (1,)


def test_backward_before_forward_is_refused():
    with pytest.raises(StateError, match=r"'layer': backward without a forward; call forward\(x, tape\)"):
        Tape().restore("layer")


def test_backward_twice_is_refused():
    tape = Tape()
    tape.save("layer", 1)
    tape.restore("layer")
    with pytest.raises(StateError, match="backward without a forward"):
        tape.restore("layer")


def test_backward_out_of_order_names_the_other_layer():
    tape = Tape()
    tape.save("first")
    tape.save("second")
    with pytest.raises(StateError, match="'first': backward out of order; call the backward of 'second' first"):
        tape.restore("first")
    assert tape.restore("second") == ()


def test_a_new_step_clears_saved_values():
    tape = Tape()
    tape.save("layer", 1)
    tape.reset()
    with pytest.raises(StateError, match="backward without a forward"):
        tape.restore("layer")


def test_zeros_are_zeroed_only_when_allocated():
    tape = Tape()
    for step in range(3):
        tape.reset()
        a = tape.zeros((4,), np.dtype(np.uint32), np)
        assert (a == step).all()
        a += 1
    tape.reset()
    assert not tape.zeros((5,), np.dtype(np.uint32), np).any()  # another shape: a new buffer
    tape.reset()
    tape.empty((5,), np.dtype(np.uint32), np).fill(7)  # not mistaken for one that must be zero
    tape.reset()
    assert not tape.zeros((5,), np.dtype(np.uint32), np).any()


def test_packed_buffers_begin_at_a_cache_line_and_do_not_overlap():
    for odd in range(1, 20):
        tape = Tape()
        requests = [((odd,), F32, np), ((3, odd), np.dtype(np.int64), np), ((odd,), np.dtype(bool), np)]
        for request in requests:
            tape.empty(*request)
        size = tape.pack()
        tape.reset()
        buffers = [tape.empty(*request) for request in requests]
        assert all(a.ctypes.data % CACHE_LINE == 0 for a in buffers)
        for value, a in enumerate(buffers):
            a.fill(value)
        assert [int(a.max()) for a in buffers] == [0, 1, 1]  # 2 is stored as True
        assert size == sum(-(-a.nbytes // 256) * 256 for a in buffers)

"""Dropout with the kernel: masks bit-identical to the CPU's."""

import numpy as np
import pytest
from compiler.ops.simulated import CPU, DTYPES, SIM, only_launches, to_sim

from gpunet import simulator
from gpunet.ops import dropout, dropout_backward
from gpunet.tape import Tape

SHAPES = [(0, 3), (4, 0), (1,), (1, 1), (7, 5), (3, 8), (5, 4, 3), (33, 65)]


def two_layers(device, x, p, *, step, first_row):
    """Return the second draw of a step: y, the mask and the gradient, on the host."""
    tape = Tape(seed=2**63 + 3)
    tape.reset(step=step - 1)
    dropout(device.asarray(x), p, tape)
    tape.reset(step=step, first_row=first_row)
    dropout(device.asarray(x), p, tape)
    y, keep = dropout(device.asarray(x), p, tape)
    return [device.to_host(a) for a in (y, keep, dropout_backward(device.asarray(2 * x), keep, p, tape))]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("first_row", [0, 3, 2**33])
def test_masks_and_results_are_bit_identical_to_the_cpu(p, first_row, dtype):
    for shape in SHAPES:
        x = np.random.default_rng(0).standard_normal(shape).astype(dtype)
        with simulator.check_mode():
            there = two_layers(SIM, x, p, step=6, first_row=first_row)
        for a, b in zip(two_layers(CPU, x, p, step=6, first_row=first_row), there, strict=True):
            assert (a.shape, a.dtype) == (b.shape, b.dtype)
            np.testing.assert_array_equal(b, a)


def test_parts_of_a_batch_have_the_masks_of_the_whole_batch():
    x = np.ones((11, 7), np.float32)
    whole = dropout(to_sim(x), 0.5, Tape())[1]
    parts = []
    for rows in (slice(0, 4), slice(4, 11)):
        tape = Tape()
        tape.reset(step=0, first_row=rows.start)
        parts.append(SIM.to_host(dropout(to_sim(x[rows]), 0.5, tape)[1]))
    np.testing.assert_array_equal(np.concatenate(parts), SIM.to_host(whole))


def test_a_view_of_any_memory_layout_has_the_same_mask():
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    with simulator.check_mode():
        y, keep = dropout(to_sim(x.T.copy()).T, 0.5, Tape())
        dx = dropout_backward(to_sim(x.T.copy()).T, keep, 0.5)
    expected, mask = dropout(x, 0.5, Tape())
    np.testing.assert_array_equal(SIM.to_host(keep), mask)
    np.testing.assert_array_equal(SIM.to_host(y), expected)
    np.testing.assert_array_equal(SIM.to_host(dx), expected)


def test_a_steady_state_step_is_exactly_three_launches():
    x, tape = to_sim(np.ones((16, 8), np.float32)), Tape()

    def step():
        tape.reset()
        _, keep = dropout(x, 0.5, tape)
        dropout_backward(x, keep, 0.5, tape)

    step()
    with only_launches():
        step()
    assert simulator.counters.launches == 3  # the step's number, forward, backward


def test_a_recorded_draw_uses_the_current_step_of_its_tape():
    x, tape = np.ones((9, 5), np.float32), Tape(seed=1)
    there = to_sim(x)
    dropout(there, 0.5, tape)
    tape.reset(step=1)
    stream = simulator.cuda.Stream(non_blocking=True)
    with stream:
        stream.begin_capture()
        keep = dropout(there, 0.5, tape)[1]
        graph = stream.end_capture()
    for number in (4, 9):
        tape.reset(step=number)
        graph.launch()
        host = Tape(seed=1)
        host.reset(step=number)
        np.testing.assert_array_equal(SIM.to_host(keep), dropout(x, 0.5, host)[1])

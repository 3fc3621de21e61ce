"""Dropout: its rate, its scale, its gradient, and what its mask depends on."""

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_array_equal

from gpunet import Tape, random
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops import dropout, dropout_backward


@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.9, 1.0])
def test_elements_are_zeroed_with_probability_p_and_the_others_keep_the_mean(p):
    y, keep = dropout(np.ones((1000, 100)), p, Tape())
    assert abs((y == 0).mean() - p) < 0.005
    assert_array_equal(y == 0, ~keep)
    if p < 1:
        assert np.unique(y[keep]) == pytest.approx(1 / (1 - p))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gradient_matches_finite_differences_with_the_same_mask(dtype):
    x, dy = np.random.default_rng(0).standard_normal((2, 6, 5)).astype(dtype)
    y, keep = dropout(x, 0.3, Tape())
    dx = dropout_backward(dy, keep, 0.3)
    assert y.dtype == dx.dtype == dtype
    if dtype == np.float64:
        error = directional_error(lambda x: float((dy * dropout(x, 0.3, Tape())[0]).sum()), [x], [dx])
        assert error < 1e-8


def test_mask_depends_only_on_seed_step_draw_and_global_row():
    x = np.ones((8, 20), np.float32)

    def masks(seed=0, step=0, first_row=0, rows=8):
        tape = Tape(seed)
        tape.reset(step=step, first_row=first_row)
        return [dropout(x[:rows], 0.5, tape)[1].copy() for _ in range(2)]

    first, second = masks()
    assert_array_equal(masks()[0], first)
    assert_array_equal(masks(first_row=3, rows=5)[1], second[3:])
    for other in (second, masks(seed=1)[0], masks(step=1)[0], masks(first_row=8)[0]):
        assert (other != first).any()


def test_an_element_whose_number_equals_p_is_kept():
    numbers = np.empty((4, 8), np.float32)
    random.uniform(numbers, seed=3, step=0, draw=0)
    _, keep = dropout(np.ones((4, 8)), float(numbers[1, 2]), Tape(seed=3))
    assert_array_equal(keep, numbers >= numbers[1, 2])
    assert keep[1, 2]


def test_any_memory_layout_gives_the_same_result_and_inputs_are_not_modified():
    x = np.random.default_rng(0).standard_normal((6, 5))
    expected, keep = dropout(x, 0.5, Tape())
    for change in (np.asfortranarray, lambda a: a[::-1].copy()[::-1]):
        changed = change(x)
        changed.flags.writeable = False
        assert_array_equal(dropout(changed, 0.5, Tape())[0], expected)
        assert_array_equal(dropout_backward(changed, keep, 0.5), expected)


def test_no_rows_give_no_rows():
    assert dropout(np.empty((0, 3)), 0.5, Tape())[0].shape == (0, 3)


def test_invalid_arguments_raise():
    with pytest.raises(DTypeError, match="x is int64"):
        dropout(np.ones((2, 3), int), 0.5, Tape())
    with pytest.raises(ShapeError, match=r"dy has shape \(1, 3\), expected \(2, 3\)"):
        dropout_backward(np.ones((1, 3)), np.ones((2, 3), bool), 0.5)

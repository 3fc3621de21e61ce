"""Gather: rows by their positions."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from gpunet import Tape
from gpunet.ops import gather

A = np.arange(24.0).reshape(6, 2, 2)


@pytest.mark.parametrize("tape", [None, Tape()], ids=["fresh", "tape"])
@pytest.mark.parametrize("rows", [[4, 0, 4], [], list(range(6))], ids=str)
def test_row_i_is_the_row_at_position_i(rows, tape):
    assert_array_equal(gather(A, np.array(rows, np.int64), tape=tape), A[rows], strict=True)


def test_any_memory_layout_gives_the_same():
    rows = np.array([5, 1])
    assert_array_equal(gather(np.asfortranarray(A), rows), A[rows])
    assert_array_equal(gather(A[::-1], rows), A[::-1][rows])

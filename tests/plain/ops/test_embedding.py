"""Embedding: rows of a table by index, and the table's gradient."""

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn
from gpunet.errors import ArgumentError, DataError, DTypeError, ShapeError

RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((7, 3))


@pytest.mark.parametrize("shape", [(), (5,), (4, 2), (2, 3, 4), (0,), (3, 0)], ids=str)
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_rows_are_looked_up_and_their_gradients_summed(shape, dtype):
    indices = RNG.integers(0, 7, shape).astype(dtype)
    y = gn.ops.embedding(indices, TABLE)
    assert y.shape == (*shape, 3)
    assert_array_equal(y, TABLE[indices])
    dy = RNG.standard_normal(y.shape)
    expected = np.zeros_like(TABLE)
    for index in np.ndindex(shape):
        expected[indices[index]] += dy[index]
    assert_allclose(gn.ops.embedding_backward(dy, indices, 7), expected, rtol=1e-12)


def test_gradient_matches_finite_differences():
    indices = np.array([[6, 0, 0], [3, 0, 6]])
    dy = RNG.standard_normal((2, 3, 3))
    gradient = gn.ops.embedding_backward(dy, indices, 7)
    assert directional_error(lambda w: float((dy * gn.ops.embedding(indices, w)).sum()), [TABLE], [gradient]) < 1e-8


def test_the_padding_row_gets_zero_gradient_and_all_other_rows_are_written():
    indices, dy = np.array([2, 5, 2, 0]), np.ones((4, 3))
    dweight = np.full_like(TABLE, np.nan)
    gn.ops.embedding_backward(dy, indices, 7, 2, dweight=dweight)
    assert_array_equal(dweight[:, 0], [1, 0, 0, 0, 0, 1, 0])
    assert_array_equal(gn.ops.embedding_backward(dy, indices, 7, -2)[:, 0], [1, 0, 2, 0, 0, 0, 0])
    with pytest.raises(
        ArgumentError, match="embedding_backward: padding_idx must be a row of the table, from -7 to 6, got 7"
    ):
        gn.ops.embedding_backward(dy, indices, 7, 7)


@pytest.mark.parametrize("bad", [[0, 7], [-1, 3]])
def test_indices_out_of_range_raise(bad):
    with pytest.raises(DataError, match=rf"embedding: indices must lie in 0 \.\. 6, got {min(bad)} \.\. {max(bad)}"):
        gn.ops.embedding(np.array(bad), TABLE)


def test_non_integer_indices_raise():
    with pytest.raises(DTypeError, match="embedding: indices are float64; use integers"):
        gn.ops.embedding(np.array([0.0]), TABLE)
    with pytest.raises(DTypeError, match="embedding_backward: indices are bool; use integers"):
        gn.ops.embedding_backward(np.ones((1, 3)), np.array([True]), 7)


def test_mismatched_shapes_raise():
    indices = np.array([0, 1])
    with pytest.raises(ShapeError, match=r"weight must be \(num_embeddings, embedding_dim\), got shape \(7,\)"):
        gn.ops.embedding(indices, TABLE[:, 0])
    with pytest.raises(ShapeError, match=r"dy has shape \(3, 3\), expected \(2, 'features'\)"):
        gn.ops.embedding_backward(np.ones((3, 3)), indices, 7)
    with pytest.raises(ShapeError, match=r"dweight has shape \(7, 3\), expected \(8, 3\)"):
        gn.ops.embedding_backward(np.ones((2, 3)), indices, 8, dweight=TABLE.copy())
    with pytest.raises(ShapeError, match="dweight must be C-contiguous"):
        gn.ops.embedding_backward(np.ones((2, 3)), indices, 7, dweight=np.asfortranarray(TABLE))

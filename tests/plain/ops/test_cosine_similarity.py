"""Cosine similarity: values, gradients, zero vectors, most similar rows."""

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn
from gpunet.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(0)


def test_the_cosine_of_123_and_456_is_32_over_the_root_of_14_times_77():
    a, b = np.array([1.0, 2, 3]), np.array([4.0, 5, 6])
    cosine = gn.ops.cosine_similarity(a, b)
    assert cosine == pytest.approx(32 / np.sqrt(14 * 77), rel=1e-15)
    da, db = gn.ops.cosine_similarity_backward(np.ones(()), a, b)
    assert_allclose(da, (b - 32 / 14 * a) / np.sqrt(14 * 77), rtol=1e-14)
    assert_allclose(db, (a - 32 / 77 * b) / np.sqrt(14 * 77), rtol=1e-14)


SHAPES = [((4,), (4,), 0), ((5, 3), (5, 3), -1), ((5, 3), (5, 3), 0), ((2, 3, 4), (2, 3, 4), 1), ((6, 3), (3,), -1),
          ((4, 1, 3), (1, 5, 3), 2), ((0, 3), (0, 3), 1), ((3, 0), (3, 0), 1)]  # fmt: skip


@pytest.mark.parametrize(("shape_a", "shape_b", "axis"), SHAPES, ids=str)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_match_dot_products_of_normalised_vectors(shape_a, shape_b, axis, dtype):
    a, b = RNG.standard_normal(shape_a).astype(dtype), RNG.standard_normal(shape_b).astype(dtype)
    shape = np.broadcast_shapes(shape_a, shape_b)
    one, other = (np.broadcast_to(x.astype(float), shape) for x in (a, b))
    norms = [np.maximum(np.linalg.norm(x, axis=axis, keepdims=True), 1e-8) for x in (one, other)]
    expected = (one / norms[0] * (other / norms[1])).sum(axis=axis)
    y = gn.ops.cosine_similarity(a, b, axis)
    assert (y.shape, y.dtype) == (expected.shape, dtype)
    assert_allclose(y, expected, atol=1e-6 if dtype == np.float32 else 1e-14)


@pytest.mark.parametrize(("shape_a", "shape_b", "axis"), SHAPES[:-2], ids=str)
@pytest.mark.parametrize("eps", [1e-8, 2.0], ids=["no norm is below eps", "some norms are below eps"])
def test_gradients_match_finite_differences(shape_a, shape_b, axis, eps):
    a, b = RNG.standard_normal(shape_a), RNG.standard_normal(shape_b)
    dy = RNG.standard_normal(gn.ops.cosine_similarity(a, b, axis).shape)
    gradients = gn.ops.cosine_similarity_backward(dy, a, b, axis, eps)
    assert [g.shape for g in gradients] == [shape_a, shape_b]

    def function(a, b):
        return float((dy * gn.ops.cosine_similarity(a, b, axis, eps)).sum())

    assert directional_error(function, [a, b], gradients) < 1e-8


def test_a_zero_vector_has_cosine_zero_and_a_gradient_of_the_other_unit_vector_over_eps():
    a, b = np.zeros((2, 3)), np.array([[3.0, 0, 4], [0, 0, 0]])
    assert_array_equal(gn.ops.cosine_similarity(a, b), [0, 0])
    da, db = gn.ops.cosine_similarity_backward(np.ones(2), a, b, eps=1e-4)
    assert_allclose(da, [[0.6e4, 0, 0.8e4], [0, 0, 0]])
    assert_array_equal(db, np.zeros((2, 3)))


def test_most_similar_returns_the_nearest_rows_first_without_the_query_row():
    vectors = np.array([[1.0, 0], [0, 1], [2, 0.1], [0, 0], [-1, 0], [1, 1]])
    rows, cosines = gn.ops.most_similar(vectors, 0, k=3)
    assert rows.tolist() == [2, 5, 1]
    assert_allclose(cosines, [2 / np.hypot(2, 0.1), np.sqrt(0.5), 0])
    rows, _ = gn.ops.most_similar(vectors, np.array([1.0, 0]), k=99)
    assert rows.tolist() == [0, 2, 5, 1, 3, 4]


def test_invalid_arguments_raise():
    a = np.ones((4, 3))
    with pytest.raises(ShapeError, match=r"a has shape \(4, 3\), b \(4, 2\), which don't broadcast"):
        gn.ops.cosine_similarity(a, a[:, :2])
    with pytest.raises(ShapeError, match=r"there is no axis 2 in shape \(4, 3\)"):
        gn.ops.cosine_similarity(a, a, axis=2)
    with pytest.raises(ShapeError, match=r"dy has shape \(3,\), expected \(4,\)"):
        gn.ops.cosine_similarity_backward(np.ones(3), a, a)
    with pytest.raises(DTypeError, match="dtypes differ"):
        gn.ops.cosine_similarity(a, a.astype(np.float32))
    with pytest.raises(ArgumentError, match="query must be a row number from 0 to 3, got 4"):
        gn.ops.most_similar(a, 4)
    with pytest.raises(ShapeError, match=r"vectors must be \(n, features\), got shape \(3,\)"):
        gn.ops.most_similar(a[0], 0)
    with pytest.raises(ShapeError, match=r"most_similar: query has shape \(2, 4, 3\), expected \(3,\)"):
        gn.ops.most_similar(a, np.stack([a, a]))


@pytest.mark.parametrize(("shape_a", "shape_b", "axis"), SHAPES[:-2], ids=str)
def test_results_and_gradients_match_pytorch(shape_a, shape_b, axis):
    torch = pytest.importorskip("torch", reason="compares with PyTorch where it is installed")
    a, b = RNG.standard_normal(shape_a), RNG.standard_normal(shape_b)
    if a.ndim > 1 and axis == -1:
        a[0] = 0
    theirs = [torch.tensor(x, requires_grad=True) for x in (a, b)]
    y, out = gn.ops.cosine_similarity(a, b, axis), torch.nn.functional.cosine_similarity(*theirs, dim=axis)
    assert_allclose(y, out.detach().numpy(), rtol=1e-9, atol=1e-12)
    dy = RNG.standard_normal(y.shape)
    out.backward(torch.from_numpy(dy))
    for gradient, x in zip(gn.ops.cosine_similarity_backward(dy, a, b, axis), theirs, strict=True):
        assert_allclose(gradient, x.grad.numpy(), rtol=1e-9, atol=1e-12)

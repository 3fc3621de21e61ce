"""The matrix product: every layout compared with loops, its gradient with finite differences; its errors."""

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_array_equal

from gpunet.errors import ArgumentError, DTypeError, ShapeError
from gpunet.ops import matmul, matmul_backward

LAYOUTS = {
    "NN": ((3, 4), (4, 5), False, False),
    "TN": ((4, 3), (4, 5), True, False),
    "NT": ((3, 4), (5, 4), False, True),
    "TT": ((4, 3), (5, 4), True, True),
    "vector, vector": ((4,), (4,), False, False),
    "vector, vector, transposed": ((4,), (4,), True, True),
    "matrix, vector": ((3, 4), (4,), False, False),
    "matrix T, vector": ((4, 3), (4,), True, False),
    "vector, matrix": ((4,), (4, 5), False, False),
    "vector, matrix T": ((4,), (5, 4), False, True),
    "batch": ((2, 3, 4), (2, 4, 5), False, False),
    "batch TT": ((2, 4, 3), (2, 5, 4), True, True),
    "batch, matrix": ((2, 3, 4), (4, 5), False, False),
    "matrix, batch": ((3, 4), (2, 4, 5), False, False),
    "batches broadcast": ((2, 1, 3, 4), (6, 4, 5), False, False),
    "batches broadcast TT": ((2, 1, 4, 3), (6, 5, 4), True, True),
    "batches of one": ((1, 3, 4), (2, 4, 5), False, False),
    "batches of batches, batches of one": ((2, 6, 3, 4), (1, 4, 5), False, False),
    "vector, batch": ((4,), (2, 4, 5), False, False),
    "vector, batch T": ((4,), (2, 5, 4), False, True),
    "batch, vector": ((2, 3, 4), (4,), False, False),
    "one row": ((1, 4), (4, 5), False, False),
    "one column": ((3, 4), (4, 1), False, False),
    "no rows": ((0, 4), (4, 5), False, False),
    "no inner axis": ((3, 0), (0, 5), False, False),
    "no columns": ((3, 4), (4, 0), False, False),
    "no batches": ((0, 3, 4), (4, 5), False, False),
    "vector, no batches": ((4,), (0, 4, 5), False, False),
    "no batches, vector": ((0, 3, 4), (4,), False, False),
}


@pytest.fixture(params=LAYOUTS.values(), ids=LAYOUTS.keys())
def layout(request):
    return request.param


def whole_numbers(shape, dtype=np.float64, seed=0):
    """Small whole numbers, whose products are exact in every dtype; read-only, so that a write fails."""
    a = np.random.default_rng(seed).integers(-9, 10, shape).astype(dtype)
    a.flags.writeable = False
    return a


def einsum(a, b, transpose_a, transpose_b):
    left = {1: "j", 2: "ji" if transpose_a else "ij"}[min(a.ndim, 2)]
    right = {1: "j", 2: "kj" if transpose_b else "jk"}[min(b.ndim, 2)]
    result = ("i" if a.ndim > 1 else "") + ("k" if b.ndim > 1 else "")
    return np.einsum(f"...{left},...{right}->...{result}", a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_every_layout_matches_loops(layout, dtype):
    shape_a, shape_b, transpose_a, transpose_b = layout
    a, b = whole_numbers(shape_a, dtype), whole_numbers(shape_b, dtype, seed=1)
    product = matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)
    assert product.dtype == dtype
    assert_array_equal(product, einsum(a, b, transpose_a, transpose_b), strict=True)


def test_gradients_of_every_layout_match_finite_differences(layout):
    shape_a, shape_b, transpose_a, transpose_b = layout
    transposes = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    rng = np.random.default_rng(2)
    a, b = rng.standard_normal(shape_a), rng.standard_normal(shape_b)
    dy = rng.standard_normal(matmul(a, b, **transposes).shape)
    da, db = matmul_backward(dy, a, b, **transposes)
    assert (da.shape, db.shape) == (a.shape, b.shape)
    assert directional_error(lambda a, b: float((dy * matmul(a, b, **transposes)).sum()), [a, b], [da, db]) < 1e-8


@pytest.mark.parametrize(
    "change",
    [np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2], lambda a: a[::-1, ::-1].copy()[::-1, ::-1]],
    ids=["Fortran order", "strided", "negative strides"],
)
def test_any_memory_layout_of_the_operands_gives_the_same(change):
    a, b, dy = whole_numbers((3, 4)), whole_numbers((4, 5)), whole_numbers((3, 5))
    assert_array_equal(matmul(change(a), change(b)), matmul(a, b))
    for changed, plain in zip(
        matmul_backward(change(dy), change(a), change(b)), matmul_backward(dy, a, b), strict=True
    ):
        assert_array_equal(changed, plain)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_product_is_written_to_out_which_is_returned(order):
    a, b = whole_numbers((3, 4)), whole_numbers((4, 5))
    out = np.full((3, 5), np.nan, order=order)
    assert matmul(a, b, out=out) is out
    assert_array_equal(out, a @ b)


def test_kernel_selects_the_implementation_and_an_unknown_one_raises():
    a, b = whole_numbers((3, 4)), whole_numbers((4, 5))
    assert_array_equal(matmul(a, b, kernel="blas"), matmul(a, b, kernel=None))
    for call in (lambda: matmul(a, b, kernel="magic"), lambda: matmul_backward(a @ b, a, b, kernel="magic")):
        with pytest.raises(ArgumentError, match="unknown kernel 'magic'; use None or one of 'blas'"):
            call()


@pytest.mark.parametrize(
    ("a", "b", "parts"),
    [
        (np.ones((2, 3)), np.ones((4, 5)), ["(2, 3)", "(4, 5)", "axis 1 of the first", "axis 0 of the second"]),
        (np.ones(3), np.ones((4, 5)), ["(3,)", "(4, 5)", "axis 0 of the first", "axis 0 of the second"]),
        (np.ones((2, 3)), np.ones(2), ["(2, 3)", "(2,)", "axis 1 of the first", "axis 0 of the second"]),
        (np.ones((2, 3, 4)), np.ones((3, 4, 5)), ["(2, 3, 4)", "(3, 4, 5)"]),
        (np.ones(()), np.ones(3), ["a is a scalar"]),
    ],
    ids=["matrices", "vector, matrix", "matrix, vector", "batch axes", "scalar"],
)
def test_mismatched_shapes_raise_with_their_axes(a, b, parts):
    with pytest.raises(ShapeError) as error:
        matmul(a, b)
    assert all(part in str(error.value) for part in parts)


@pytest.mark.parametrize("shape", [(3, 1), (2, 5), (3, 5, 1), (2, 3, 5)])
def test_an_output_gradient_of_another_shape_raises(shape):
    with pytest.raises(ShapeError, match=r"dy has shape .*, expected \(3, 5\)"):
        matmul_backward(np.ones(shape), np.ones((3, 4)), np.ones((4, 5)))


def test_an_out_of_another_shape_or_dtype_raises():
    a, b = np.ones((3, 4)), np.ones((4, 5))
    with pytest.raises(ShapeError, match=r"out has shape \(3, 4\), expected \(3, 5\)"):
        matmul(a, b, out=np.empty((3, 4)))
    with pytest.raises(DTypeError, match="out is int64, which cannot hold a product of float64 and float64"):
        matmul(a, b, out=np.empty((3, 5), np.int64))


@pytest.mark.parametrize("a", [np.array([["x"]]), np.array([[None]])], ids=["text", "objects"])
def test_non_numeric_operands_raise(a):
    with pytest.raises(DTypeError, match=r"a is .*; use a numeric dtype"):
        matmul(a, np.ones((1, 1)))
    with pytest.raises(DTypeError, match=r"b is .*; use a numeric dtype"):
        matmul(np.ones((1, 1)), a)

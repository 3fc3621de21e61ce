"""Entity embedding: numbers, features of categories, and the tables' gradients."""

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_array_equal

import gpunet as gn
from gpunet.errors import DTypeError, ShapeError

RNG = np.random.default_rng(0)
KNOWN = 4, 1
TABLES = [RNG.standard_normal((1 + known, width)) for known, width in zip(KNOWN, (3, 2), strict=True)]
UNKNOWN = [-1, -0.6, -0.5, 0.4, 1.5, 2.999, 3.6, 4, 1e30, np.nan, np.inf, -np.inf]
"""Of the first category."""


def rows(count, numbers=2):
    """Return rows of numbers and two categories, of which some are unknown."""
    categories = [RNG.integers(-1, known + 2, count) for known in KNOWN]
    return np.column_stack([RNG.standard_normal((count, numbers)), *categories])


def row_of_table(category, known):
    return int(category) + 1 if 0 <= category < known else 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("count", "numbers"), [(0, 2), (1, 0), (7, 0), (30, 3)])
def test_a_row_is_its_numbers_and_the_features_of_its_categories(count, numbers, dtype):
    x, tables = rows(count, numbers).astype(dtype), [table.astype(dtype) for table in TABLES]
    y = gn.ops.entity_embedding(x, tables)
    assert (y.shape, y.dtype) == ((count, numbers + 5), dtype)
    assert_array_equal(y[:, :numbers], x[:, :numbers])
    for row, out in zip(x, y, strict=True):
        a, b = (row_of_table(category, known) for category, known in zip(row[numbers:], KNOWN, strict=True))
        assert_array_equal(out[numbers:], np.concatenate([tables[0][a], tables[1][b]]))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_other_than_known_categories_are_unknown(dtype):
    x, table = np.array(UNKNOWN, dtype)[:, None], TABLES[0].astype(dtype)
    assert_array_equal(gn.ops.entity_embedding(x, [table]), np.tile(table[0], (len(UNKNOWN), 1)))
    dtable = np.full_like(table, np.nan)
    gn.ops.entity_embedding_backward(np.ones((len(UNKNOWN), 3), dtype), x, [dtable])
    assert_array_equal(dtable[:, 0], [len(UNKNOWN), 0, 0, 0, 0])


@pytest.mark.parametrize("count", [0, 1, 40])
def test_table_gradients_are_sums_and_input_gradients_of_categories_are_zero(count):
    x = rows(count)
    dy, dtables = RNG.standard_normal((count, 7)), [np.full_like(table, np.nan) for table in TABLES]
    dx = gn.ops.entity_embedding_backward(dy, x, dtables)
    expected = [np.zeros_like(table) for table in TABLES]
    for row, gradient in zip(x, dy, strict=True):
        expected[0][row_of_table(row[2], 4)] += gradient[2:5]
        expected[1][row_of_table(row[3], 1)] += gradient[5:]
    for dtable, sums in zip(dtables, expected, strict=True):
        assert_array_equal(dtable, sums)
    assert_array_equal(dx, np.column_stack([dy[:, :2], np.zeros((count, 2))]))
    assert gn.ops.entity_embedding_backward(dy, x, dtables, input_gradient=False) is None
    kept = [np.full_like(table, 7) for table in TABLES]
    assert_array_equal(gn.ops.entity_embedding_backward(dy, x, kept, table_gradients=False), dx)
    assert all((table == 7).all() for table in kept)


def test_gradients_match_finite_differences():
    x, dy = rows(9), RNG.standard_normal((9, 7))
    dtables = [np.empty_like(table) for table in TABLES]
    dx = gn.ops.entity_embedding_backward(dy, x, dtables)

    def value(numbers, *tables):
        return float((dy * gn.ops.entity_embedding(np.hstack([numbers, x[:, 2:]]), tables)).sum())

    assert directional_error(value, [x[:, :2], *TABLES], [dx[:, :2], *dtables]) < 1e-8
    assert not dx[:, 2:].any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"x": rows(3).astype(int)}, DTypeError, r"entity_embedding: x is int64; use float32 or float64"),
        ({"x": rows(3).astype("f")}, DTypeError, r"dtypes differ: x is float32, tables\[0\] is float64"),
        ({"x": rows(3)[0]}, ShapeError, r"x must be \(rows, numbers \+ 2 categories\), got shape \(4,\)"),
        ({"x": rows(3)[:, :1]}, ShapeError, r"numbers \+ 2 categories\), got shape \(3, 1\)"),
        ({"tables": [TABLES[0], TABLES[1][0]]}, ShapeError, r"tables\[1\] must be \(1 \+ known .* got shape \(2,\)"),
        ({"tables": [TABLES[0], TABLES[1][:0]]}, ShapeError, r"tables\[1\] must be .* got shape \(0, 2\)"),
    ],
    ids=["integers", "dtypes", "one row", "too few columns", "a vector for a table", "a table without rows"],
)
def test_mismatched_arrays_raise(change, error, message):
    with pytest.raises(error, match=message):
        gn.ops.entity_embedding(**{"x": rows(3), "tables": TABLES, **change})


def test_a_gradient_of_another_shape_raises():
    with pytest.raises(ShapeError, match=r"entity_embedding_backward: dy has shape \(3, 6\), expected \(3, 7\)"):
        gn.ops.entity_embedding_backward(np.ones((3, 6)), rows(3), [np.empty_like(table) for table in TABLES])

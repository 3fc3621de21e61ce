import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gpunet.data import Standardizer, digits
from gpunet.errors import ArgumentError, DataError, ShapeError


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_standardised_features_have_mean_0_and_deviation_1_in_their_own_dtype(dtype):
    X = np.random.default_rng(0).normal([5, -300, 0.01], [2, 40, 1e-3], (9000, 3)).astype(dtype)
    standardizer = Standardizer.fit(X)
    out = standardizer.apply(X)
    assert standardizer.mean.dtype == standardizer.scale.dtype == np.float64
    assert out.dtype == dtype
    np.testing.assert_allclose(out.mean(axis=0, dtype=float), 0, atol=1e-5)
    np.testing.assert_allclose(out.std(axis=0, dtype=float), 1, rtol=1e-6)


@settings(deadline=None, derandomize=True)
@given(hnp.arrays(np.float32, (7, 2, 3), elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False)))
def test_invert_undoes_apply_and_neither_writes_its_input(X):
    before = X.copy()
    standardizer = Standardizer.fit(X)
    out = standardizer.apply(X)
    kept = out.copy()
    np.testing.assert_allclose(standardizer.invert(out), X, rtol=1e-5, atol=2e-6 * np.abs(X).max())
    np.testing.assert_array_equal(X, before)
    np.testing.assert_array_equal(out, kept)


def test_statistics_are_computed_in_float64():
    X = digits().X + np.float32(4096)  # large sums, which lose digits in float32
    standardizer = Standardizer.fit(np.tile(X, (4, 1)))
    np.testing.assert_allclose(standardizer.mean, X.mean(axis=0, dtype=np.float64), rtol=1e-7)
    scale = X.std(axis=0, dtype=np.float64)
    np.testing.assert_allclose(standardizer.scale, np.where(scale == 0, 1, scale), rtol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e30, -7.3])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_feature_has_scale_1(constant, dtype):
    X = np.stack([np.full(1000, constant), np.arange(1000)], axis=1).astype(dtype)
    standardizer = Standardizer.fit(X)
    assert standardizer.scale[0] == 1
    np.testing.assert_allclose(standardizer.apply(X)[:, 0], 0, atol=1e-6 * abs(constant))


@pytest.mark.parametrize(("offset", "deviation"), [(1e5, 1e-3), (1.7e9, 50), (-1e12, 1)])
def test_a_feature_with_a_large_mean_keeps_its_precision(offset, deviation):
    z = np.random.default_rng(0).standard_normal((200, 1))
    X = offset + deviation * z
    standardizer = Standardizer.fit(X)
    z = (z - z.mean()) / z.std()
    np.testing.assert_allclose(standardizer.apply(X), z, atol=1e-3)
    back = standardizer.invert(z.astype(np.float32))
    assert back.dtype == np.float64
    np.testing.assert_allclose(back, X, rtol=0, atol=1e-3 * deviation)


def test_a_deviation_too_small_for_float32_never_divides_by_zero():
    X = np.array([[0.0], [1e-60]])
    assert np.isfinite(Standardizer.fit(X).apply(X)).all()


def test_one_dimensional_targets_are_standardised():
    y = np.array([1, 2, 3, 4], np.float32)
    standardizer = Standardizer.fit(y)
    assert standardizer.mean.shape == standardizer.scale.shape == ()
    out = standardizer.apply(y)
    np.testing.assert_allclose(out, (y - 2.5) / np.sqrt(1.25), rtol=1e-6)
    np.testing.assert_allclose(standardizer.invert(out), y, rtol=1e-6)


def test_samples_of_another_shape_raise_even_if_they_would_broadcast():
    standardizer = Standardizer.fit(np.arange(12.0).reshape(3, 4))
    for method in (standardizer.apply, standardizer.invert):
        with pytest.raises(ShapeError, match=r"\(1,\).*\(4,\)"):
            method(np.zeros((3, 1), np.float32))


@pytest.mark.parametrize("X", [np.zeros((0, 3)), [[np.nan]], [[1e300], [-1e300]], [[1.7e308], [1.7e308]]])
def test_samples_without_finite_statistics_raise(X):
    with pytest.raises(DataError, match=r"^X "):
        Standardizer.fit(X)


def test_category_columns_stay_unchanged():
    X = np.column_stack([np.random.default_rng(0).normal(5, 3, (50, 2)), np.arange(50) % 7])
    whole, part = Standardizer.fit(X), Standardizer.fit(X, category_columns=1)
    np.testing.assert_array_equal(part.apply(X), np.column_stack([whole.apply(X)[:, :2], X[:, 2]]))
    assert part.leaves_alone(1)
    assert not part.leaves_alone(2)
    assert whole.leaves_alone(0)


@pytest.mark.parametrize(
    ("columns", "error", "message"),
    [
        (-1, ArgumentError, "category_columns must be a whole number of at least 0"),
        (4, ShapeError, r"shape \(3,\), with fewer"),
    ],
)
def test_an_invalid_number_of_category_columns_raises(columns, error, message):
    with pytest.raises(error, match=message):
        Standardizer.fit(np.ones((5, 3)), category_columns=columns)
    with pytest.raises(ShapeError, match=r"shape \(\), with fewer"):
        Standardizer.fit(np.ones(5), category_columns=1)

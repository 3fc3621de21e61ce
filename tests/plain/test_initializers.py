import math

import numpy as np
import pytest

import gpunet as gn
from gpunet.errors import ArgumentError, ShapeError
from gpunet.initializers import initialized_with_zeros, initializer

FAN_IN, FAN_OUT = 400, 100
VARIANCES = {
    "glorot_uniform": 2 / 500,
    "glorot_normal": 2 / 500,
    "he_uniform": 2 / 400,
    "he_normal": 2 / 400,
    "lecun_uniform": 1 / 400,
    "lecun_normal": 1 / 400,
}
NAMES = [*VARIANCES, "orthogonal"]


def drawn(name, *shape, seed=0):
    return initializer(name)(shape, np.random.default_rng(seed))


@pytest.mark.parametrize("name", VARIANCES)
def test_mean_and_variance_are_those_of_the_paper_within_sampling_error(name):
    weights, variance = drawn(name, FAN_IN, FAN_OUT), VARIANCES[name]
    assert abs(weights.mean()) < 5 * math.sqrt(variance / weights.size)
    kurtosis = 3.0 if name.endswith("normal") else 1.8
    assert abs(weights.var() - variance) < 5 * variance * math.sqrt((kurtosis - 1) / weights.size)


@pytest.mark.parametrize("name", [name for name in VARIANCES if name.endswith("uniform")])
def test_uniform_weights_fill_their_bounds(name):
    bound = math.sqrt(3 * VARIANCES[name])
    largest = np.abs(drawn(name, FAN_IN, FAN_OUT)).max()
    assert 0.999 * bound < largest <= bound


@pytest.mark.parametrize("name", [name for name in VARIANCES if name.endswith("normal")])
def test_normal_weights_are_not_truncated(name):
    weights = drawn(name, FAN_IN, FAN_OUT) / math.sqrt(VARIANCES[name])
    assert np.mean(np.abs(weights) > 2) == pytest.approx(0.0455, abs=0.005)


def test_zeros_are_zeros():
    assert np.array_equal(drawn("zeros", 4, 3), np.zeros((4, 3)))


@pytest.mark.parametrize("shape", [(6, 6), (7, 3), (3, 7), (1, 1), (5, 1), (1, 5)])
def test_orthogonal_weights_have_orthonormal_rows_or_columns(shape):
    weights = drawn("orthogonal", *shape)
    assert weights.shape == shape
    smaller = weights.T @ weights if shape[0] >= shape[1] else weights @ weights.T
    np.testing.assert_allclose(smaller, np.eye(min(shape)), atol=1e-12)


def test_orthogonal_weights_are_uniform_over_reflections_and_rotations():
    signs = np.sign([np.linalg.det(drawn("orthogonal", 2, 2, seed=seed)) for seed in range(400)])
    corner = [drawn("orthogonal", 2, 2, seed=seed)[0, 0] for seed in range(400)]
    assert abs(signs.mean()) < 5 / math.sqrt(400)
    assert abs(np.mean(corner)) < 5 * math.sqrt(0.5 / 400)  # without the sign correction its mean is -0.64


@pytest.mark.parametrize("name", NAMES)
def test_weights_are_float64_and_a_function_of_the_seed(name):
    weights = drawn(name, 4, 3)
    assert weights.dtype == np.float64
    np.testing.assert_array_equal(weights, drawn(name, 4, 3))
    assert not np.array_equal(weights, drawn(name, 4, 3, seed=1))


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0), (1, 1), (1, 4), (4, 1)])
@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_layers_get_finite_weights(name, shape):
    weights = drawn(name, *shape)
    assert weights.shape == shape
    assert np.isfinite(weights).all()


@pytest.mark.parametrize("name", NAMES)
def test_a_weight_of_other_than_two_axes_is_refused(name):
    with pytest.raises(ShapeError, match=r"shape \(3, 4, 5\) has 3 axes"):
        drawn(name, 3, 4, 5)


def test_a_function_is_its_own_initializer():
    def ones(shape, rng):
        return np.ones(shape)

    np.testing.assert_array_equal(initializer(ones)((2, 3), np.random.default_rng(0)), np.ones((2, 3)))


@pytest.mark.parametrize("bad", ["xavier", None, 3])
def test_an_unknown_initializer_is_refused_with_the_known_names(bad):
    with pytest.raises(ArgumentError, match=rf"init={bad!r}; use a function or one of {', '.join(NAMES)}"):
        initializer(bad)


def test_weights_are_not_drawn_before_they_are_read_from_a_file(tmp_path):
    model = gn.MLP([4, 3, 2])
    model.save(tmp_path / "model")
    with initialized_with_zeros():
        assert not gn.Linear(4, 3).params["weight"].any()
    assert gn.Linear(4, 3).params["weight"].any()
    for key, a in gn.load(tmp_path / "model").parameters().items():
        np.testing.assert_array_equal(a, model.parameters()[key])

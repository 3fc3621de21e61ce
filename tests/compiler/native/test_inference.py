"""Predictions by a native program have the numbers of the forward pass, for any number of rows, and of now."""

import copy

import numpy as np
import pytest

import gpunet as gn
from gpunet.models.inference import LARGEST_BATCH, Kind
from gpunet.native import Program

RNG = np.random.default_rng(0)
X = RNG.standard_normal((2 * LARGEST_BATCH + 100, 5)).astype(np.float32)


@pytest.fixture(autouse=True)
def _on_the_cpu(monkeypatch):
    monkeypatch.setenv("GPUNET_DEVICE", "cpu")


def mlp(dtype="float32"):
    return gn.MLP([5, 16, 8, 3], "gelu", dropout=0.5, seed=0).to(dtype=dtype)


def assert_predicts(model, x):
    """Check the outputs that a program computes; return whether there is one."""
    outputs, expected = model.outputs(x), model.forward(x.astype(model.dtype))
    scale = np.abs(expected).max(initial=1.0) * (1e-5 if model.dtype == np.float32 else 1e-11)
    np.testing.assert_allclose(outputs, expected, rtol=0, atol=scale)
    assert outputs.shape == expected.shape
    return model._inference[Kind.of(x.astype(model.dtype))]._program is not None


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_rows_in_any_order_is_predicted_by_a_program(dtype):
    model = mlp(dtype)
    for rows in (1, 2, 31, 32, 33, 64, 5, 100, 1000, 3, 4096, 4097, 1, 8292, 17):
        assert assert_predicts(model, X[:rows].astype(dtype))


@pytest.mark.parametrize("rows", [1, 33, 100])
def test_the_bits_of_a_prediction_do_not_depend_on_those_before(rows):
    model, other = (gn.MLP([784, 128, 10], seed=0) for _ in range(2))
    x = RNG.standard_normal((LARGEST_BATCH, 784)).astype(np.float32)
    other.outputs(x)
    np.testing.assert_array_equal(model.outputs(x[:rows]), other.outputs(x[:rows]))


def test_a_prediction_that_ctrl_c_ends_leaves_nothing_to_the_next(monkeypatch):
    model, run = mlp(), Program.run
    expected = model.outputs(X[:2000])

    def interrupted(*args):
        run(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(Program, "run", interrupted)
    with pytest.raises(KeyboardInterrupt):
        model.outputs(X[:1100])
    monkeypatch.setattr(Program, "run", run)
    write_weight(model)
    np.testing.assert_array_equal(model.outputs(X[:2000]), copy.deepcopy(model).outputs(X[:2000]))
    assert not np.array_equal(model.outputs(X[:2000]), expected)


@pytest.mark.parametrize("threads", [2, 5])
def test_any_number_of_threads_predicts_the_same_bits(threads, monkeypatch):
    from gpunet.native import program

    expected = [mlp().outputs(X[:rows]) for rows in (3000, 10)]
    monkeypatch.setattr(program, "thread_count", lambda: threads)
    monkeypatch.setattr(program, "PARALLEL_FLOPS", 0)
    model = mlp()
    for rows, y in zip((3000, 10), expected, strict=True):
        np.testing.assert_array_equal(model.outputs(X[:rows]), y)


@pytest.mark.parametrize("shape", [(20, 3, 5), (1, 7, 5), (50, 2, 3, 5), (40, 1, 5)])
def test_rows_of_several_positions_are_predicted_whole(shape):
    model = gn.Sequential(gn.Linear(5, 6, activation="relu", rng=0), gn.Linear(6, 4, rng=1))
    x = RNG.standard_normal(shape).astype(np.float32)
    for part in (x, x[:1], x[: len(x) // 2 + 1], x):
        assert assert_predicts(model, part)


def test_rows_that_are_flattened_within_are_predicted():
    model = gn.Sequential(gn.Linear(5, 6, activation="relu", rng=0), gn.Flatten(), gn.Linear(18, 4, rng=1))
    assert_predicts(model, RNG.standard_normal((20, 3, 5)).astype(np.float32))
    assert_predicts(model, RNG.standard_normal((1, 3, 5)).astype(np.float32))


def set_weight(model):
    model[0].params["weight"] = np.ones((5, 16))


def write_weight(model):
    model[0].params["weight"][...] = 2


def change_activation(model):
    model[0].activation = gn.Tanh()


def change_dtype(model):
    model.to(dtype="float64")


def train(model):
    gn.Trainer(model, executor="native").fit(X[:60], np.arange(60) % 3, epochs=1)


def build_into_another(model):
    gn.Sequential(model, gn.Linear(3, 2, rng=0)).parameters()


@pytest.mark.parametrize(
    "change", [set_weight, write_weight, change_activation, change_dtype, train, build_into_another]
)
def test_predictions_are_those_of_the_model_as_it_is(change):
    model = mlp()
    assert_predicts(model, X[:50])
    before = model.outputs(X[:50])
    change(model)
    assert_predicts(model, X[:50].astype(model.dtype))
    if change is build_into_another:  # by NumPy from here on
        np.testing.assert_allclose(model.outputs(X[:50]), before, rtol=1e-4, atol=1e-5)
    else:
        assert not np.array_equal(model.outputs(X[:50]), before)


@pytest.mark.parametrize("layer", [gn.LayerNorm(5), gn.BatchNorm1d(5), gn.Residual(gn.Linear(5, 5, rng=0))])
def test_a_model_with_a_layer_without_kernels_predicts_by_numpy(layer):
    model = gn.Sequential(layer, gn.Linear(5, 3, rng=1))
    for rows in (1, 40, 7):
        assert not assert_predicts(model, X[:rows])


def test_a_prediction_is_an_array_of_its_own():
    model = mlp()
    first = model.outputs(X[:10])
    kept = first.copy()
    model.outputs(X[10:20])
    np.testing.assert_array_equal(first, kept)

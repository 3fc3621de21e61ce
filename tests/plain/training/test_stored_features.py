"""Features keep their dtype, and train bitwise like features that were converted before."""

import tracemalloc

import numpy as np
import pytest
from stored import KINDS, SHAPE, Y, assert_same_bits, features, standardised, train

import gpunet as gn
from gpunet.data import Standardizer
from gpunet.errors import DataError
from gpunet.training.batches import Batches


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("executor", ["eager", "numpy"])
def test_features_of_any_dtype_train_bitwise_like_converted_ones(executor, kind, scaled, dtype):
    X = features(kind)
    scaler = Standardizer.fit(X) if scaled else None
    ready = standardised(X, scaler, dtype)
    assert_same_bits(train(X, executor, scaler=scaler, dtype=dtype), train(ready, executor, dtype=dtype))


@pytest.mark.parametrize("scaled", [False, True], ids=["plain", "scaled"])
@pytest.mark.parametrize("kind", KINDS)
def test_predictions_are_those_of_converted_features(kind, scaled):
    X, model = features(kind), gn.MLP([7, 16, 3], seed=0)
    model.input_scaler = scaler = Standardizer.fit(X) if scaled else None
    ready = standardised(X, scaler)
    np.testing.assert_array_equal(model.prepare(X), ready)
    outputs = model.outputs(X)
    model.input_scaler = None
    np.testing.assert_array_equal(outputs, model.outputs(ready))


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], lambda a: a.tolist()])
def test_features_of_any_layout_train_bitwise_equally(layout):
    X = features("int64")
    assert_same_bits(train(layout(X), "numpy"), train(X, "numpy"))


def test_another_byte_order_gives_the_same_result():
    X = features("int64")
    assert_same_bits(
        train(X.astype(">i4"), "numpy", scaler=Standardizer.fit(X)), train(X, "numpy", scaler=Standardizer.fit(X))
    )


class Spy:
    """The arguments that a training passes to `Batches.load`."""

    def __init__(self, monkeypatch):
        self.loaded = []
        real = Batches.load
        monkeypatch.setattr(
            Batches, "load", lambda batches, arrays: self.loaded.append(arrays) or real(batches, arrays)
        )


def test_features_that_need_no_conversion_on_the_host_are_not_copied(monkeypatch):
    spy = Spy(monkeypatch)
    for kind, scaler in (("uint8", None), ("float32", None), ("uint8", True), ("float32", True), ("float64", True)):
        X = features(kind)
        train(X, "numpy", scaler=scaler and Standardizer.fit(X))
        assert np.shares_memory(spy.loaded[-1][0], X)


def test_training_on_bytes_makes_no_float_copy_of_all_data():
    X, y = np.random.default_rng(0).integers(0, 256, (60_000, 784), np.uint8), np.arange(60_000) % 10
    model = gn.MLP([784, 8, 10])
    model.input_scaler = Standardizer(np.full(784, 127.5), np.full(784, 74.0))
    trainer = gn.Trainer(model, executor="numpy")
    trainer.fit(X[:2000], y[:2000], epochs=1, batch_size=1000)
    tracemalloc.start()
    try:
        trainer.fit(X, y, epochs=1, batch_size=1000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < X.nbytes / 2  # floats take four times as much


@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "X is nan at row 3, column 2"), (np.inf, "X is inf at row 3, column 2")]
)
@pytest.mark.parametrize("kind", ["float32", "float64"])
@pytest.mark.parametrize("scaled", [False, True])
def test_features_that_are_not_finite_are_refused_with_row_and_column(kind, scaled, value, message):
    X = features("float64").astype(kind)
    scaler = Standardizer.fit(X) if scaled else None
    X[3, 2] = value
    with pytest.raises(DataError, match=message):
        train(X, "numpy", scaler=scaler)


@pytest.mark.parametrize(("scale", "X"), [(1e-35, features("int64")), (1.0, features("float64") * 1e36)])
def test_features_that_are_too_large_once_they_are_standardised_are_refused(scale, X):
    X[5, 1] *= 1000
    with pytest.raises(DataError, match=r"X as float32 is inf at row 5, column 1"):
        train(X, "numpy", scaler=Standardizer(np.zeros(7), np.full(7, scale)))


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_largest_valid_features_are_accepted(scale):
    X = features("float64") * scale * 1e5
    scaler = Standardizer(np.zeros(7), np.full(7, scale))
    assert np.isfinite(train(X, "numpy", scaler=scaler).history["loss"]).all()


@pytest.mark.parametrize("executor", ["eager", "numpy"])
def test_another_scaler_or_dtype_takes_effect_at_the_next_fit(executor):
    X = features("uint8")
    first, second = (Standardizer(np.full(7, mean), np.full(7, 50.0)) for mean in (100.0, 20.0))
    trainers = []
    for make_ready in (False, True):
        trainer = gn.Trainer(gn.MLP([7, 16, 3], seed=0), executor=executor)
        for scaler, given in ((first, X), (second, X), (second, X.astype(np.int64)), (None, X)):
            trainer.model.input_scaler = None if make_ready else scaler
            ready = standardised(given, scaler)
            trainer.fit(ready if make_ready else given, Y, epochs=1, batch_size=16)
        trainers.append(trainer)
    assert_same_bits(*trainers)


def test_the_same_rows_are_held_out_of_bytes_and_floats(monkeypatch):
    spy = Spy(monkeypatch)
    X = features("uint8")
    one, other = (gn.Trainer(gn.MLP([7, 16, 3], seed=0), executor="numpy") for _ in range(2))
    one.fit(X, Y, epochs=2, validation=0.25)
    other.fit(X.astype(np.float32), Y, epochs=2, validation=0.25)
    assert [arrays[0].dtype for arrays in spy.loaded] == [np.uint8, np.float32]
    assert one.history["val_loss"] == other.history["val_loss"]
    assert_same_bits(one, other)


def test_a_training_on_bytes_resumes_bitwise(tmp_path):
    X = features("uint8")
    whole = train(X, "numpy", scaler=Standardizer.fit(X))
    model = gn.MLP([7, 16, 3], dropout=0.2, seed=0)
    model.input_scaler = Standardizer.fit(X)
    cut = gn.Trainer(model, optimizer=gn.Adam(0.01), executor="numpy")
    weight = np.linspace(0, 2, SHAPE[0])
    cut.fit(X, Y, epochs=1, batch_size=16, sample_weight=weight)
    cut.save(tmp_path / "run")
    resumed = gn.Trainer.resume(tmp_path / "run")
    resumed.fit(X, Y, epochs=2, batch_size=16, sample_weight=weight)
    assert_same_bits(resumed, whole)

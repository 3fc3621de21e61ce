"""Embedding as a layer, and models whose input is indices."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn
from gpunet.errors import ArgumentError, DataError, DTypeError, ShapeError, StateError

RNG = np.random.default_rng(0)
X = RNG.integers(0, 12, (60, 4))
Y = (X.sum(axis=1) % 3).astype(np.int64)


def model(**options):
    return gn.Sequential(
        gn.Embedding(12, 5, rng=0, **options), gn.Flatten(), gn.Linear(20, 8, activation="tanh", rng=1),
        gn.Linear(8, 3, rng=2),
    )  # fmt: skip


@pytest.fixture
def trained():
    one = gn.Trainer(model(), optimizer=gn.Adam(0.02))
    one.fit(X, Y, epochs=20, batch_size=16, validation=0.2)
    return one


def test_the_initial_vectors_are_standard_normal_and_that_of_the_padding_zero():
    layer = gn.Embedding(200, 100, padding_idx=-1, rng=0)
    assert layer.padding_idx == 199
    weight = layer.params["weight"]
    assert weight[:199].std() == pytest.approx(1, abs=0.02)
    assert not weight[199].any()
    assert repr(layer) == "Embedding(200, 100, padding_idx=199)"


def test_the_padding_vector_stays_zero_in_training():
    one = gn.Trainer(model(padding_idx=3), optimizer=gn.AdamW(0.02))
    one.fit(X, Y, epochs=2, batch_size=16)
    assert not one.model[0].params["weight"][3].any()


def test_a_model_of_indices_learns_predicts_and_is_saved(trained, tmp_path):
    assert trained.history["loss"][-1] < 0.6 * trained.history["loss"][0]
    trained.model.save(tmp_path / "model.safetensors")
    loaded = gn.load(tmp_path / "model.safetensors")
    assert loaded[0].config() == trained.model[0].config()
    for other in (loaded, pickle.loads(pickle.dumps(trained.model)), copy.deepcopy(trained.model)):
        assert_array_equal(other.outputs(X), trained.model.outputs(X))
    assert trained.predict(X.tolist()).shape == (60,)
    assert set(trained.evaluate(X, Y)) == {"loss", "accuracy"}


def test_the_summary_shows_no_number_of_indices():
    first, *_ = model().summary().splitlines()[1:]
    assert first.split() == ["0", "Embedding(12,", "5)", "?", "60"]


def test_training_resumes_bit_for_bit(tmp_path):
    whole, half = (gn.Trainer(model(), optimizer=gn.Adam(0.02)) for _ in range(2))
    whole.fit(X, Y, epochs=4, batch_size=16)
    half.fit(X, Y, epochs=2, batch_size=16)
    half.save(tmp_path / "half")
    resumed = gn.Trainer.resume(tmp_path / "half")
    resumed.fit(X, Y, epochs=2, batch_size=16)
    assert_array_equal(resumed.model.store.params, whole.model.store.params)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_replayed_step_equals_an_eager_step_bitwise(dtype):
    pair = [gn.Trainer(model(padding_idx=0).to(dtype=dtype), executor=executor) for executor in ("numpy", "eager")]
    for one in pair:
        one.fit(X, Y, epochs=3, batch_size=16)
    assert_array_equal(pair[0].model.store.params, pair[1].model.store.params)


def test_a_row_may_be_a_single_index():
    one = gn.Trainer(gn.Sequential(gn.Embedding(12, 3, rng=0)))
    one.fit(X[:, 0], X[:, 0] % 3, epochs=1)
    assert one.predict(X[:, 0]).shape == (60,)


@pytest.mark.parametrize(
    ("bad", "error", "message"),
    [
        (np.where(X == 11, 12, X), DataError, r"X is 12 at row \d+, column \d; indices must be from 0 to 11"),
        (-X, DataError, r"X is -\d+ at row 0, column 0; indices must be from 0 to 11"),
        (X + 0.0, DTypeError, r"X holds floats \(float64\); the model takes indices, integers from 0 to 11"),
        (X[:, :0], DataError, r"X is empty, its shape is \(60, 0\)"),
        (3, ShapeError, "X is a single number"),
    ],
    ids=["too large", "negative", "floats", "no indices", "one number"],
)
def test_bad_indices_are_refused_before_anything_is_changed(bad, error, message):
    one = gn.Trainer(model())
    before = one.model.store.params.copy()
    for call in (lambda: one.fit(bad, Y), lambda: one.model.predict(bad)):
        with pytest.raises(error, match=message):
            call()
    assert_array_equal(one.model.store.params, before)


def test_each_step_looks_at_the_indices_given_also_when_it_is_recorded_or_replayed():
    one = gn.Trainer(model(), executor="numpy")
    for _ in range(4):
        before = one.model.store.params.copy()
        with pytest.raises(DataError, match=r"indices must lie in 0 \.\. 11, got 0 \.\. 12"):
            one.step(np.where(X == 11, 12, X), Y)
        assert_array_equal(one.model.store.params, before)
        one.step(X, Y)


def test_a_gradient_that_does_not_fit_the_vectors_is_refused():
    layer, tape = gn.Embedding(12, 5), gn.Tape()
    layer.forward(X, tape)
    with pytest.raises(ShapeError, match=r"Embedding\(12, 5\): dy has shape \(60, 4, 3\), expected \(60, 4, 5\)"):
        layer.backward(np.ones((60, 4, 3), np.float32), tape)


def test_a_scaler_of_indices_is_refused():
    one = model()
    one.input_scaler = gn.data.Standardizer.fit(X)
    with pytest.raises(StateError, match="the model takes indices, which cannot be standardised"):
        one.predict(X)


@pytest.mark.parametrize("row", [12, -13, 1.5])
def test_a_padding_index_out_of_the_table_is_refused(row):
    with pytest.raises(ArgumentError, match="Embedding: padding_idx must"):
        gn.Embedding(12, 5, padding_idx=row)


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_results_and_gradients_are_pytorchs(padding_idx):
    torch = pytest.importorskip("torch", reason="compares with PyTorch where it is installed")
    layer, tape = gn.Embedding(12, 5, padding_idx, rng=0).to(dtype="float64"), gn.Tape()
    theirs = torch.nn.Embedding(12, 5, padding_idx, dtype=torch.float64)
    with torch.no_grad():
        theirs.weight.copy_(torch.from_numpy(layer.params["weight"]))
    y, out = layer.forward(X, tape), theirs(torch.from_numpy(X))
    assert_allclose(y, out.detach().numpy(), rtol=1e-12)
    dy = RNG.standard_normal(y.shape)
    assert layer.backward(dy, tape) is None
    out.backward(torch.from_numpy(dy))
    assert_allclose(layer.grads["weight"], theirs.weight.grad.numpy(), rtol=1e-9, atol=1e-12)

"""EntityEmbedding as a layer, and models of numbers and categories."""

import copy
import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpunet as gn
from gpunet.data import Standardizer
from gpunet.errors import ArgumentError, ShapeError, StateError
from gpunet.layers.entity_embedding import embedding_size

RNG = np.random.default_rng(0)
CATEGORIES = RNG.integers(0, [6, 3], (200, 2))
X = np.column_stack([1000 + 50 * RNG.standard_normal((200, 2)), CATEGORIES])
Y = ((X[:, 0] > 1000) ^ (CATEGORIES[:, 0] % 2 == 0)).astype(np.int64)


def model():
    layer = gn.EntityEmbedding(2, [6, 3], [4, 2], rng=0)
    one = gn.Sequential(layer, gn.Linear(8, 16, activation="relu", rng=1), gn.Linear(16, 2, rng=2))
    one.input_scaler = Standardizer.fit(X, category_columns=one.category_columns)
    return one


@pytest.fixture
def trained():
    one = gn.Trainer(model(), optimizer=gn.Adam(0.02))
    one.fit(X, Y, epochs=20, batch_size=32)
    return one


def test_initial_vectors_are_small_and_zero_for_unknown():
    layer = gn.EntityEmbedding(0, [200, 7], [100, 3], rng=0)
    for weight, shape in zip(layer.params.values(), [(201, 100), (8, 3)], strict=True):
        assert weight.shape == shape
        assert not weight[0].any()
    assert layer.params["weight0"][1:].std() == pytest.approx(0.01, rel=0.02)
    assert repr(layer) == "EntityEmbedding(0, [200, 7], [100, 3])"


def test_default_vector_sizes_follow_fast_ais_rule():
    layer = gn.EntityEmbedding(3, (1, 2, 9, 99, 999))
    assert layer.dims == [2, 3, 6, 21, 77]
    assert layer.output_shape((8,)) == (3 + 109,)
    assert embedding_size(10**6) == 600


def test_a_model_of_numbers_and_categories_learns_predicts_and_is_saved(trained, tmp_path):
    assert trained.evaluate(X, Y)["accuracy"] > 0.9
    trained.model.save(tmp_path / "model.safetensors")
    loaded = gn.load(tmp_path / "model.safetensors")
    assert loaded[0].config() == trained.model[0].config()
    for other in (loaded, pickle.loads(pickle.dumps(trained.model)), copy.deepcopy(trained.model)):
        assert_array_equal(other.outputs(X), trained.model.outputs(X))


def test_an_unseen_category_is_predicted_as_unknown(trained):
    new, unknown = X.copy(), X.copy()
    new[:, 2], unknown[:, 2] = 1234, -1
    assert_array_equal(trained.predict(new), trained.predict(unknown))
    assert not trained.model[0].params["weight0"][0].any()


def test_unknown_vectors_are_trained_by_unknown_categories():
    one = gn.Trainer(model(), optimizer=gn.Adam(0.02))
    one.fit(np.where(X == 5, -1, X), Y, epochs=1)
    assert one.model[0].params["weight0"][0].all()


def test_training_resumes_bit_for_bit(tmp_path):
    whole, half = (gn.Trainer(model(), optimizer=gn.Adam(0.02)) for _ in range(2))
    whole.fit(X, Y, epochs=4, batch_size=32)
    half.fit(X, Y, epochs=2, batch_size=32)
    half.save(tmp_path / "half")
    resumed = gn.Trainer.resume(tmp_path / "half")
    resumed.fit(X, Y, epochs=2, batch_size=32)
    assert_array_equal(resumed.model.store.params, whole.model.store.params)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_replayed_step_equals_an_eager_step_bitwise(dtype):
    pair = [gn.Trainer(model().to(dtype=dtype), executor=executor) for executor in ("numpy", "eager")]
    for one in pair:
        one.fit(X, Y, epochs=3, batch_size=32)
    assert_array_equal(pair[0].model.store.params, pair[1].model.store.params)


def test_columns_of_categories_and_missing_ones_come_from_a_data_frame(trained):
    pd = pytest.importorskip("pandas", reason="reads data frames where pandas is installed")
    frame = pd.DataFrame(X[:, :2], columns=["a", "b"])
    for k, names in enumerate(["uvwxyz", "rgb"]):
        frame[names] = pd.Categorical.from_codes(CATEGORIES[:, k], [*names]).codes
    assert_array_equal(trained.predict(frame), trained.predict(X))


def test_the_summary_shows_the_shapes():
    first = model().summary().splitlines()[1]
    assert first.split("  ")[1:] == ["EntityEmbedding(2, [6, 3], [4, 2])", "(8,)", *first.split("  ")[3:]]
    assert first.split()[-1] == str(7 * 4 + 4 * 2)


def test_a_scaler_that_changes_categories_is_refused(trained):
    assert trained.model.category_columns == 2
    assert gn.MLP([4, 2]).category_columns == gn.Sequential().category_columns == 0
    for scaler in (Standardizer.fit(X), Standardizer.fit(X, category_columns=1), Standardizer(np.ones(4), np.ones(4))):
        trained.model.input_scaler = scaler
        with pytest.raises(StateError, match=r"changes category indices \(the last 2 columns\); fit it with"):
            trained.predict(X)
    trained.model.input_scaler = Standardizer.fit(X, category_columns=3)
    trained.predict(X)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1, [3]), "EntityEmbedding: numbers must be a whole number of at least 0, got -1"),
        ((2, []), "EntityEmbedding: categories must be a list with one number per column, got \\[\\]"),
        ((2, 3), "categories must be a list with one number per column, got 3"),
        ((2, [3, 0]), r"EntityEmbedding: categories\[1\] must be a whole number of at least 1, got 0"),
        ((2, [3, 2**24]), "a column has 16,777,216 categories; the maximum is 16,777,215"),
        ((2, [3, 4], [2]), "dims must give 2 sizes, one for each category"),
        ((2, [3, 4], [2, 0.5]), r"dims\[1\] must be a whole number of at least 1, got 0\.5"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        gn.EntityEmbedding(*arguments)


@pytest.mark.parametrize("before", [gn.Dropout(0.5), gn.Linear(4, 4, rng=0), gn.Sequential(gn.Flatten())], ids=repr)
def test_a_layer_before_it_is_refused(before):
    embedding = gn.EntityEmbedding(2, [6, 3])
    for layers in ((before, embedding), (before, gn.Sequential(embedding, gn.Linear(8, 2, rng=0)))):
        with pytest.raises(ArgumentError, match=r"takes category indices, which .* before it would change"):
            gn.Sequential(*layers)


def test_a_fraction_is_predicted_as_unknown(trained):
    fraction, unknown = X.copy(), X.copy()
    fraction[:, 2], unknown[:, 2] = 1.5, -1
    assert_array_equal(trained.predict(fraction), trained.predict(unknown))


def test_rows_of_another_shape_are_refused():
    one = gn.Trainer(model())
    one.model.input_scaler = None
    message = r"a row must have 2 numbers and 2 categories, got shape \(3,\)"
    for call in (lambda: one.fit(X[:, :3], Y), lambda: one.model[0].forward(X[:, :3].astype("f"))):
        with pytest.raises(ShapeError, match=message):
            call()

from __future__ import annotations

import inspect
import json
import sys

import numpy as np
import onnx
import onnxruntime
import pytest
from every_layer import EXAMPLES

import gpunet as gn
from gpunet.data import Column, Standardizer, TableSchema
from gpunet.interop.onnx_activations import ACTIVATIONS
from gpunet.interop.onnx_layers import LAYERS
from gpunet.ops.activations import FUNCTIONS

TOLERANCE = 1e-5


@pytest.fixture
def run(tmp_path):
    """Export a model and return what onnxruntime makes of X, by the names of the outputs."""

    def run(model, X, **options):
        path = tmp_path / "model.onnx"
        gn.interop.to_onnx(model, path, **options)
        onnx.checker.check_model(path, full_check=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        answers = session.run(None, {"X": X})
        return dict(zip((output.name for output in session.get_outputs()), answers, strict=True))

    return run


def samples(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def indices(*shape, below, seed=0):
    return np.random.default_rng(seed).integers(0, below, shape)


def randomised(model, seed=1):
    """Fill all parameters, biases too, and buffers with random numbers."""
    rng = np.random.default_rng(seed)
    for leaf in model.leaves().values():
        for name, a in leaf.params.items():
            leaf.params[name] = rng.normal(0, 0.5, a.shape)
        for name, a in leaf.buffers.items():
            leaf.buffers[name] = rng.uniform(0.5, 2, a.shape)
    return model


MODELS = {
    gn.Activation: (gn.Sequential(gn.Linear(5, 4), gn.ReLU()), (5,)),
    gn.AvgPool2d: (gn.Sequential(gn.AvgPool2d((3, 2), stride=2, padding=1)), (3, 9, 7)),
    gn.BatchNorm1d: (gn.Sequential(gn.BatchNorm1d(3, eps=1e-3), gn.BatchNorm1d(3, affine=False)), (3, 7)),
    gn.BatchNorm2d: (gn.Sequential(gn.BatchNorm2d(3), gn.Flatten(), gn.BatchNorm1d(24)), (3, 2, 4)),
    gn.Conv1d: (gn.Sequential(gn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), gn.ReLU()), (4, 12)),
    gn.Conv2d: (gn.Sequential(gn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), groups=2), gn.GELU()), (4, 9, 8)),
    gn.Dropout: (gn.Sequential(gn.Dropout(0.5), gn.Linear(5, 4)), (5,)),
    gn.Embedding: (gn.Sequential(gn.Embedding(11, 4), gn.Flatten(), gn.Linear(12, 2)), (3,)),
    gn.EntityEmbedding: (gn.Sequential(gn.EntityEmbedding(2, [3, 1], [4, 2]), gn.Linear(8, 2)), (4,)),
    gn.Flatten: (gn.Sequential(gn.Flatten(), gn.Linear(12, 4)), (2, 3, 2)),
    gn.GEGLU: (gn.Sequential(gn.GEGLU(5, 4)), (5,)),
    gn.GLU: (gn.Sequential(gn.GLU(), gn.GLU(1, activation="tanh")), (4, 6)),
    gn.GlobalAvgPool2d: (gn.Sequential(gn.Conv2d(2, 3, 3, bias=False), gn.GlobalAvgPool2d()), (2, 5, 6)),
    gn.LSTM: (gn.Sequential(gn.LSTM(4, 6), gn.LSTM(6, 3, bias=False, return_sequences=False)), (7, 4)),
    gn.LayerNorm: (gn.Sequential(gn.LayerNorm((3, 5), eps=1e-3), gn.LayerNorm(5, elementwise_affine=False)), (3, 5)),
    gn.Linear: (gn.Sequential(gn.Linear(5, 4, bias=False), gn.Linear(4, 3, activation="tanh")), (5,)),
    gn.MLP: (gn.MLP([5, 8, 8, 3], dropout=0.2), (5,)),
    gn.MaxPool2d: (gn.Sequential(gn.MaxPool2d((3, 2), stride=2, padding=1, dilation=2)), (3, 9, 7)),
    gn.MultiHeadAttention: (
        gn.Sequential(gn.MultiHeadAttention(8, 2), gn.MultiHeadAttention(8, 4, bias=False, causal=True)),
        (6, 8),
    ),
    gn.RMSNorm: (gn.Sequential(gn.RMSNorm(5), gn.RMSNorm((3, 5), eps=0.1, elementwise_affine=False)), (3, 5)),
    gn.RNN: (gn.Sequential(gn.RNN(4, 6), gn.RNN(6, 3, "relu", bias=False, return_sequences=False)), (7, 4)),
    gn.Residual: (gn.Sequential(gn.Residual(gn.Linear(5, 5), gn.Tanh(), gn.Residual(gn.Linear(5, 5)))), (5,)),
    gn.Sequential: (gn.Sequential(gn.Sequential(gn.Linear(5, 4), gn.Tanh()), gn.MLP([4, 6, 2])), (5,)),
    gn.SinusoidalPositions: (gn.Sequential(gn.SinusoidalPositions()), (300, 6)),
    gn.SwiGLU: (gn.Sequential(gn.SwiGLU(5, 4, bias=False)), (5,)),
    gn.TransformerEncoderLayer: (
        gn.Sequential(
            gn.TransformerEncoderLayer(8, 2, 16), gn.TransformerEncoderLayer(8, 4, 8, 0, "gelu", causal=True)
        ),
        (6, 8),
    ),
}
"""A model for each layer with an ONNX form, and the shape of an input row."""


ANY_LENGTH = {
    "attention": ([gn.MultiHeadAttention(8, 2), gn.MultiHeadAttention(8, 4, bias=False, causal=True)], (None, 8)),
    "batch norm": ([gn.BatchNorm1d(3), gn.Conv1d(3, 4, 3, padding=1), gn.GLU(1)], (3, None)),
    "convolution": ([gn.Conv1d(3, 4, 2, stride=2, padding=1), gn.ReLU(), gn.Conv1d(4, 2, 1)], (3, None)),
    "embedding": ([gn.Embedding(9, 4, rng=0), gn.RMSNorm(4), gn.GEGLU(4, 6)], (None,)),
    "gated features": ([gn.Linear(5, 6), gn.Dropout(0.5), gn.GLU()], (None, 5)),
    "images": ([gn.Conv2d(2, 3, 3, padding=1), gn.GlobalAvgPool2d(), gn.Linear(3, 2)], (2, None, None)),
    "languages": (
        [
            gn.Embedding(9, 8, rng=0),
            gn.SinusoidalPositions(),
            gn.TransformerEncoderLayer(8, 2, 16, causal=True),
            gn.LSTM(8, 4, return_sequences=False),
            gn.Linear(4, 3),
        ],
        (None,),
    ),
    "pooling": ([gn.AvgPool2d(2, padding=1), gn.BatchNorm2d(3), gn.MaxPool2d(2, 1, 1)], (3, None, None)),
    "positions in images": ([gn.Linear(3, 4), gn.Residual(gn.Linear(4, 4))], (None, None, 3)),
    "recurrent": ([gn.RNN(3, 5), gn.LayerNorm(5), gn.LSTM(5, 4)], (None, 3)),
    "set of vectors": ([gn.SwiGLU(3, 4), gn.RNN(4, 2, return_sequences=False)], (None, 3)),
}
"""Models that take rows with axes of any length."""


@pytest.mark.parametrize("name", ANY_LENGTH)
def test_one_file_accepts_rows_of_any_length(tmp_path, name):
    layers, shape = ANY_LENGTH[name]
    model, path = randomised(gn.Sequential(*layers)), tmp_path / "model.onnx"
    gn.interop.to_onnx(model, path, input_shape=shape)
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for length in (1, 2, 60):
        row = [length if size is None else size for size in shape]
        X = samples(2, *row) if model.index_range is None else indices(2, *row, below=9)
        (y,) = session.run(None, {"X": X})
        assert y.shape == model.predict(X).shape
        assert np.abs(y - model.predict(X)).max() <= TOLERANCE


@pytest.mark.parametrize(
    "layer",
    [gn.RNN(6, 6), gn.LSTM(6, 6), gn.MultiHeadAttention(6, 2), gn.TransformerEncoderLayer(6, 2, 8)],
    ids=lambda layer: type(layer).__name__,
)
def test_a_model_of_sequences_takes_any_number_of_steps_by_default(run, layer):
    model = randomised(gn.Sequential(gn.Dropout(0.2), gn.Residual(layer), gn.Linear(6, 2)))
    for steps in (1, 5):
        X = samples(4, steps, 6)
        assert np.abs(run(model, X)["prediction"] - model.predict(X)).max() <= TOLERANCE


def test_every_layer_with_an_onnx_form_is_tested():
    assert MODELS.keys() == LAYERS.keys()


@pytest.mark.parametrize("layer", MODELS, ids=lambda layer: layer.__name__)
def test_a_layer_computes_the_same_in_onnxruntime(run, layer):
    model, shape = MODELS[layer]
    X = samples(7, *shape) if model.index_range is None else indices(7, *shape, below=model.index_range)
    y = run(randomised(model), X, input_shape=shape)["prediction"]
    assert np.abs(y - model.predict(X)).max() <= TOLERANCE


def test_a_linear_layer_takes_rows_of_any_shape(run):
    model, X = randomised(gn.Sequential(gn.Linear(5, 4), gn.Linear(4, 3))), samples(7, 6, 5)
    y = run(model, X, input_shape=(6, 5))["prediction"]
    assert np.abs(y - model.predict(X)).max() <= TOLERANCE


def test_every_activation_of_gpunet_has_an_onnx_form():
    assert set(FUNCTIONS.values()) == ACTIVATIONS.keys()


WITH_ACTIVATION = {
    "Activation": gn.Activation,
    "Conv1d": lambda f: gn.Conv1d(3, 4, 2, activation=f, rng=0),
    "Conv2d": lambda f: gn.Conv2d(2, 4, 3, activation=f, rng=0),
    "GLU": lambda f: gn.GLU(activation=f),
    "Linear": lambda f: gn.Linear(4, 5, activation=f, rng=0),
    "TransformerEncoderLayer": lambda f: gn.TransformerEncoderLayer(4, 2, 6, activation=f, rng=0),
}
"""Constructors of the layers with an activation, for a given one; they accept the rows of `EXAMPLES`."""


def test_every_layer_with_an_activation_of_its_own_is_tested():
    arguments = {name: inspect.signature(getattr(gn, name)).parameters for name in EXAMPLES}
    assert WITH_ACTIVATION.keys() == {name for name in EXAMPLES if "activation" in arguments[name]}


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("name", EXAMPLES)
def test_every_layer_before_every_activation_computes_the_same_in_onnxruntime(run, name, activation):
    make, X = EXAMPLES[name]
    model = randomised(gn.Sequential(make(), FUNCTIONS[activation]()))
    y = run(model, X, input_shape=X.shape[1:])["prediction"]
    assert np.abs(y - model.predict(X)).max() <= TOLERANCE


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("name", WITH_ACTIVATION)
def test_every_activation_of_a_layer_computes_the_same_in_onnxruntime(run, name, activation):
    X = EXAMPLES[name][1]
    model = randomised(gn.Sequential(WITH_ACTIVATION[name](activation)))
    y = run(model, X, input_shape=X.shape[1:])["prediction"]
    assert np.abs(y - model.predict(X)).max() <= TOLERANCE


@pytest.mark.parametrize(
    "function", [*(cls() for cls in ACTIVATIONS), gn.LeakyReLU(0.3), gn.ELU(1.7)], ids=lambda function: repr(function)
)
def test_an_activation_computes_the_same_in_onnxruntime(run, function):
    model = gn.Sequential(function)
    X = np.concatenate([np.linspace(-8, 8, 201), [-1e4, -100, -0.0, 100]], dtype=np.float32)[:, None]
    y = run(model, X, input_shape=(1,))["prediction"]
    np.testing.assert_allclose(y, model.predict(X), rtol=1e-6, atol=TOLERANCE)


def test_a_trained_classifier_gives_class_names_and_probabilities(run):
    digits = gn.data.digits()
    model = gn.MLP([64, 32, 10], activation="gelu", dropout=0.1)
    model.input_scaler, model.classes = Standardizer.fit(digits.X), digits.classes
    gn.Trainer(model, optimizer=gn.Adam(0.01)).fit(digits.X, digits.y, epochs=2, batch_size=128)
    X = digits.X.astype(np.float32)
    answers = run(model, X)
    assert (answers["prediction"] == model.predict(X)).all()
    assert answers["prediction"][0] == "0"
    assert np.abs(answers["probabilities"] - model.predict_proba(X)).max() <= TOLERANCE


def test_a_trained_classifier_of_images_takes_raw_images(run):
    digits = gn.data.digits().take(np.arange(300))
    X = digits.X.reshape(-1, 1, 8, 8).astype(np.float32)
    layers = gn.Conv2d(1, 4, 3, padding=1), gn.ReLU(), gn.MaxPool2d(2), gn.Flatten(), gn.Linear(64, 10)
    model = gn.Sequential(*layers)
    model.input_scaler, model.classes = Standardizer.fit(X), digits.classes
    gn.Trainer(model, optimizer=gn.Adam(0.01)).fit(X, digits.y, epochs=2, batch_size=50)
    answers = run(model, X)
    assert (answers["prediction"] == model.predict(X)).all()
    assert np.abs(answers["probabilities"] - model.predict_proba(X)).max() <= TOLERANCE


def test_a_model_of_numbers_and_categories_takes_raw_rows_and_unknown_categories(run):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.normal(50, 9, 80), rng.integers(-1, 6, 80), rng.integers(0, 300, 80)]).astype(np.float32)
    for numbers, columns in ((1, [0, 1, 2]), (0, [1, 2])):
        model = randomised(gn.Sequential(gn.EntityEmbedding(numbers, [5, 200]), gn.Linear(numbers + 35, 3)))
        model.input_scaler = Standardizer.fit(X[:, columns], category_columns=2)
        rows = X[:, columns]
        assert np.abs(run(model, rows)["prediction"] - model.predict(rows)).max() <= TOLERANCE
        model.input_scaler = None  # the shape of a row is the layer's then
        rows = np.array([[1] * numbers + [category, 7] for category in (-1, 5, 5.4, 1.5, 1e30, -1e30)], np.float32)
        assert np.abs(run(model, rows)["prediction"] - model.predict(rows)).max() <= TOLERANCE


def test_a_transformer_that_classifies_sequences_of_indices(run):
    X, y = indices(60, 6, below=9), np.arange(60) % 3
    block = gn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, rng=1)
    model = gn.Sequential(gn.Embedding(9, 8, rng=0), gn.SinusoidalPositions(), block, gn.Flatten(), gn.Linear(48, 3))
    gn.Trainer(model, optimizer=gn.Adam(0.01)).fit(X, y, epochs=3, batch_size=20)
    answers = run(model, X, input_shape=(6,))
    assert (answers["prediction"] == model.predict(X)).all()
    assert np.abs(answers["probabilities"] - model.predict_proba(X)).max() <= TOLERANCE


def test_a_model_of_similarity_gives_the_cosine_of_each_pair(run):
    model, X = randomised(gn.Sequential(gn.Embedding(9, 8))), indices(20, 2, below=9)
    model.layers[0].params["weight"][3] = 0
    model.task = "similarity"
    y = run(model, X, input_shape=(2,))["prediction"]
    assert y.shape == (20,)
    assert np.abs(y - model.predict(X)).max() <= TOLERANCE


def test_a_classifier_without_class_names_gives_indices(run):
    model = randomised(gn.MLP([4, 3]))
    model.task = "classification"
    answers = run(model, samples(20, 4))
    assert answers["prediction"].dtype == np.int64
    assert (answers["prediction"] == model.predict(samples(20, 4))).all()


@pytest.mark.parametrize("classes", [None, ("no", "yes")])
@pytest.mark.parametrize("outputs", [1, 3])
def test_a_binary_classifier_gives_labels_and_probabilities(run, outputs, classes):
    model, X = randomised(gn.MLP([4, 8, outputs])), samples(20, 4)
    model.task, model.classes = "binary", classes
    answers = run(model, X)
    assert (answers["prediction"] == model.predict(X)).all()
    assert answers["prediction"].shape == model.predict(X).shape
    assert np.abs(answers["probabilities"] - model.predict_proba(X)).max() <= TOLERANCE


@pytest.mark.parametrize("targets", [(), (1,), (3,)])
def test_a_regression_gives_values_in_the_units_of_its_targets(run, targets):
    X = samples(50, 4)
    model = randomised(gn.MLP([4, 8, targets[0] if targets else 1], activation="tanh"))
    model.task = "regression"
    model.input_scaler = Standardizer.fit(X)
    model.target_scaler = Standardizer.fit(100 + 20 * samples(50, *targets, seed=2))
    expected = model.predict(X)
    y = run(model, X)["prediction"]
    assert y.shape == expected.shape
    assert (np.abs(y - expected) / np.abs(expected)).max() <= TOLERANCE


def test_features_far_from_zero_keep_their_digits(run):
    """A mean in one float32 number would be wrong by as much as 0.03 of these features' deviations."""
    X = (1e6 + samples(200, 3)).astype(np.float32)
    model = gn.Sequential(gn.Identity())
    model.input_scaler = Standardizer.fit(X)
    y = run(model, X)["prediction"]
    assert np.abs(y - model.predict(X)).max() <= TOLERANCE


def test_a_float64_model_is_exported_in_float32(run):
    model, X = randomised(gn.MLP([4, 8, 2])).to(dtype="float64"), samples(20, 4)
    y = run(model, X)["prediction"]
    assert y.dtype == np.float32
    assert np.abs(y - model.predict(X)).max() <= TOLERANCE


def test_a_model_on_another_device_gives_the_same_file(tmp_path):
    for device in ("cpu", "sim"):
        gn.interop.to_onnx(gn.MLP([4, 8, 2]).to(device), tmp_path / f"{device}.onnx")
    assert (tmp_path / "cpu.onnx").read_bytes() == (tmp_path / "sim.onnx").read_bytes()


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_any_number_of_rows_is_accepted(run, rows):
    model = gn.MLP([4, 8, 2])
    model.task = "classification"
    assert run(model, samples(rows, 4))["probabilities"].shape == (rows, 2)


@pytest.mark.parametrize("opset", [20, 21])
def test_the_file_has_ir_version_10_and_one_opset(tmp_path, opset):
    gn.interop.to_onnx(gn.MLP([4, 2]), tmp_path / "model.onnx", opset=opset)
    file = onnx.load(tmp_path / "model.onnx")
    assert file.ir_version == 10
    assert [(used.domain, used.version) for used in file.opset_import] == [("", opset)]


def test_the_features_and_the_schema_of_a_table_are_in_the_metadata(tmp_path):
    model = gn.MLP([3, 2])
    model.schema = TableSchema((Column("length"), Column("colour", "category", categories=("blue", "red"))), "kind")
    gn.interop.to_onnx(model, tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    assert [given.type for given in session.get_inputs()] == ["tensor(double)"]
    X = samples(5, 3).astype(np.float64)
    np.testing.assert_allclose(session.run(None, {"X": X})[0], model.predict(X), atol=TOLERANCE)
    metadata = {entry.key: json.loads(entry.value) for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    assert metadata["features"] == ["length", "colour=blue", "colour=red"]
    assert TableSchema.from_json(metadata["schema"]) == model.schema


class MyLayer(gn.Linear):
    """A user-defined layer, which may compute anything."""


class MyActivation(gn.ReLU):
    """A user-defined function."""


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        (gn.Sequential(gn.Linear(4, 4), MyLayer(4, 2)), "layer 1, layer 1, MyLayer"),
        (gn.CustomActivation(np.sin, np.cos), "layer 1, CustomActivation"),
        (gn.BatchNorm1d(4, track_running_stats=False), r"layer 1, BatchNorm1d\(4\) without running statistics"),
        (gn.Linear(4, 2, activation=MyActivation()), "layer 1, MyActivation"),
    ],
)
def test_a_layer_or_function_without_an_onnx_form_is_named(tmp_path, layer, name):
    with pytest.raises(gn.errors.ArgumentError, match=name):
        gn.interop.to_onnx(gn.Sequential(gn.Linear(4, 4), layer), tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", WITH_ACTIVATION)
def test_a_user_function_is_named_in_every_layer_with_an_activation(tmp_path, name):
    model = gn.Sequential(WITH_ACTIVATION[name](MyActivation()))
    with pytest.raises(gn.errors.ArgumentError, match=r"layer 0, .*MyActivation has no ONNX form"):
        gn.interop.to_onnx(model, tmp_path / "model.onnx", input_shape=EXAMPLES[name][1].shape[1:])
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("opset", [19, 22, 99, None])
def test_an_opset_that_is_too_old_or_too_new_is_refused(tmp_path, opset):
    with pytest.raises(gn.errors.ArgumentError, match=f"opset must be 20 .* got {opset}"):
        gn.interop.to_onnx(gn.MLP([4, 2]), tmp_path / "model.onnx", opset=opset)


def test_an_input_shape_that_the_model_does_not_determine_is_required(tmp_path):
    for first in (gn.Flatten(), gn.Embedding(3, 4), gn.Conv1d(3, 4, 1), gn.LayerNorm(12)):
        with pytest.raises(
            gn.errors.ArgumentError, match=r"several shapes; give one, such as input_shape=.*\(None, 3\)"
        ):
            gn.interop.to_onnx(gn.Sequential(first, gn.Linear(12, 4)), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "shape", [5, "5", None, (), (0, 3), (-1, 3), (2.0, 3), ("rows", 3), ((2, 3),), {2, 3}, np.ones(2)]
)
def test_an_invalid_input_shape_is_refused(tmp_path, shape):
    with pytest.raises(gn.errors.ArgumentError, match="input_shape"):
        gn.interop.to_onnx(gn.Sequential(gn.Flatten(), gn.Linear(12, 4)), tmp_path / "model.onnx", input_shape=shape)


STEPS = Standardizer(np.zeros((4, 3)), np.ones((4, 3)))


@pytest.mark.parametrize(
    ("layers", "scalers", "shape", "message"),
    [
        ([gn.Flatten(), gn.Linear(12, 4)], {}, (3, 5), r"^layer 1, Linear.* 12 features"),
        (
            [gn.Flatten(), gn.Linear(12, 4)],
            {},
            (None, 3),
            r"every length for None in rows of shape \(None, 3\).*layer 1, Linear",
        ),
        ([gn.RNN(3, 4), gn.Flatten(), gn.Linear(12, 4)], {}, None, r"shape \(None, 3\).*input_shape.*layer 2, Linear"),
        ([gn.RNN(3, 4)], {}, (5, None), r"every length for None in rows of shape \(5, None\).*layer 0, RNN"),
        ([gn.Conv1d(3, 4, 3), gn.BatchNorm1d(5)], {}, (3, None), "layer 1, BatchNorm1d"),
        ([gn.Residual(gn.Conv1d(3, 3, 3))], {}, (3, None), "layer 0, Residual"),
        (
            [gn.RNN(3, 4)],
            {"input_scaler": STEPS},
            (None, 3),
            r"standardises rows of shape \(4, 3\), got input_shape=\(No",
        ),
        (
            [gn.RNN(3, 4)],
            {"input_scaler": STEPS},
            (5, 3),
            r"standardises rows of shape \(4, 3\), got input_shape=\(5, 3",
        ),
        ([gn.RNN(3, 3)], {"target_scaler": STEPS}, (None, 3), "output values per row must be fixed; give the length"),
        ([gn.RNN(3, 4), gn.Flatten()], {}, (None, 3), "output values per row must be fixed; give the length"),
    ],
)
def test_rows_of_unsupported_shapes_are_refused(tmp_path, layers, scalers, shape, message):
    model = gn.Sequential(*layers)
    for name, scaler in scalers.items():
        setattr(model, name, scaler)
    with pytest.raises(gn.errors.ShapeError, match=message):
        gn.interop.to_onnx(model, tmp_path / "model.onnx", input_shape=shape)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("layer", [gn.GLU(), gn.SinusoidalPositions()])
def test_a_layer_that_needs_a_fixed_axis_is_named(tmp_path, layer):
    with pytest.raises(gn.errors.ArgumentError, match=rf"layer 1, {type(layer).__name__}.*input_shape"):
        gn.interop.to_onnx(gn.Sequential(gn.Tanh(), layer), tmp_path / "model.onnx", input_shape=(3, None))


def test_numbers_beyond_float32_are_refused(tmp_path):
    model = gn.MLP([4, 2]).to(dtype="float64")
    model[0].params["bias"] = [1e300, 0]
    with pytest.raises(gn.errors.DataError, match="float32"):
        gn.interop.to_onnx(model, tmp_path / "model.onnx")
    model = gn.MLP([2, 2])
    for mean, scale in ((0, 1e-60), (0, 1e60), (-1e60, 1)):
        model.input_scaler = Standardizer(np.full(2, mean), np.array([scale, 1]))
        with pytest.raises(gn.errors.DataError, match="float32"):
            gn.interop.to_onnx(model, tmp_path / "model.onnx")
    assert not any(tmp_path.iterdir())


def test_without_onnx_the_error_says_how_to_install_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(gn.errors.MissingPackageError, match="pip install"):
        gn.interop.to_onnx(gn.MLP([4, 2]), tmp_path / "model.onnx")

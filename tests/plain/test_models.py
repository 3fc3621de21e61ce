"""Models: fusion, summaries, prediction on raw data, threads and errors."""

import re
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile

import numpy as np
import pandas
import pytest
import sklearn.preprocessing
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn
from gpunet.data import Standardizer
from gpunet.errors import ArgumentError, DataError, DTypeError, GpunetWarning, ShapeError, StateError
from gpunet.models.inference import LARGEST_BATCH
from gpunet.ops.activations import FUNCTIONS

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 4)).astype(np.float32)
CUBE = gn.CustomActivation(lambda z: z**3, lambda z: 3 * z**2)


def step(layers: list[gn.Layer], tape: gn.Tape, x: np.ndarray = X) -> tuple[np.ndarray, ...]:
    """Run layers one by one, forward and backward; return the output and the input's gradient."""
    for layer in layers:
        x = layer.forward(x, tape)
    dy = y = x
    for layer in reversed(layers):
        dy = layer.backward(dy, tape)
    return y.copy(), dy.copy()


class TestFusion:
    @pytest.mark.parametrize("activation", [*FUNCTIONS, CUBE], ids=[*FUNCTIONS, "custom"])
    def test_a_fused_activation_gives_the_same_numbers(self, activation):
        model = gn.Sequential(gn.Linear(4, 5, rng=0), gn.Activation(activation), gn.Linear(5, 3, rng=1))
        unfused = step(model.layers, gn.Tape())
        gradients = model.store.grads.copy()
        model.store.grads.fill(np.nan)
        for a, b in zip(step([model], gn.Tape()), unfused, strict=True):
            assert_array_equal(a, b)
        for segment in model.store.segments.values():
            assert_array_equal(segment.view(model.store.grads), segment.view(gradients))
        assert_array_equal(model.forward(X), unfused[0])

    def test_fusing_does_not_change_the_layers(self):
        linear = gn.Linear(4, 5, rng=0)
        plain = linear.forward(X)
        model = gn.Sequential(linear, gn.ReLU())
        assert model[0] is linear
        assert repr(model) == "Sequential(Linear(4, 5), Activation(ReLU()))"
        assert len(model) == 2
        assert_array_equal(model[0].forward(X), plain)
        assert_array_equal(model.forward(X), np.maximum(plain, 0))

    def test_it_trains_the_parameters_of_the_layers(self):
        model = gn.Sequential(gn.Linear(4, 5, rng=0), gn.GELU())
        before = model[0].params["weight"].copy()
        optimizer = gn.SGD(0.1).attach(model)
        step([model], gn.Tape())
        optimizer.step()
        assert_allclose(model[0].params["weight"], before - 0.1 * model[0].grads["weight"], rtol=1e-6)
        assert_array_equal(model.forward(X), gn.GELU()(model[0].forward(X)))

    def test_only_the_first_activation_after_a_plain_linear_is_fused(self):
        model = gn.Sequential(
            gn.Linear(4, 4, activation="tanh", rng=0), gn.ReLU(), gn.Linear(4, 4, rng=1), gn.ReLU(), gn.ELU()
        )
        lines = model.summary().splitlines()
        assert [line.split("  ")[1] for line in lines[1:-1]] == [
            "Linear(4, 4, activation=Tanh())",
            "Activation(ReLU())",
            "Linear(4, 4) + Activation(ReLU()), fused",
            "Activation(ELU(alpha=1.0))",
        ]
        assert_array_equal(model.forward(X), step(model.layers, gn.Tape())[0])


class TestSummary:
    def test_the_summary_is_a_table_of_layers_shapes_and_parameters(self):
        model = gn.Sequential(
            gn.Flatten(), gn.Linear(64, 32), gn.Tanh(), gn.Dropout(0.5), gn.Linear(32, 10, bias=False)
        )
        rows = [line.split("  ") for line in model.summary().splitlines()]
        assert [[cell.strip() for cell in row if cell] for row in rows] == [
            ["layer", "output of a row", "parameters"],
            ["0", "Flatten()", "(64,)", "0"],
            ["1", "Linear(64, 32) + Activation(Tanh()), fused", "(32,)", "2,080"],
            ["3", "Dropout(0.5)", "(32,)", "0"],
            ["4", "Linear(32, 10, bias=False)", "(10,)", "320"],
            ["2,400 parameters, float32, on cpu"],
        ]

    def test_the_summary_uses_shapes_of_nested_models(self):
        table = gn.Sequential(gn.Sequential(gn.Flatten(), gn.Linear(4, 8)), gn.Linear(8, 2)).summary().splitlines()
        assert "(8,)" in table[1]
        assert "(2,)" in table[2]

    def test_the_summary_shows_unknown_shapes_as_question_marks(self):
        assert "?" in gn.Sequential(gn.Flatten(), gn.ReLU()).summary()

    @pytest.mark.parametrize(
        "first",
        [gn.LayerNorm(6), gn.RMSNorm(6), gn.Linear(6, 6), gn.GEGLU(6, 6), gn.Residual(gn.Linear(6, 6))],
        ids=repr,
    )
    def test_the_summary_shows_no_number_of_positions_if_any_is_accepted(self, first):
        rows = gn.Sequential(first, gn.Flatten(), gn.Linear(24, 3)).summary().splitlines()[1:-1]
        assert [row.split()[-2] for row in rows] == ["?", "?", "(3,)"]


@pytest.mark.parametrize(
    "build",
    [
        lambda: gn.MLP([4, 5, 3], dropout=0.5),
        lambda: gn.Sequential(gn.Flatten(), gn.Tanh(), gn.Linear(4, 5, rng=0), gn.Dropout(0.5), gn.Linear(5, 3, rng=1)),
        lambda: gn.Sequential(
            gn.Sequential(gn.Dropout(0.5), gn.Linear(4, 5, rng=0), gn.SiLU()), gn.Linear(5, 3, rng=1)
        ),
    ],
    ids=["mlp", "leading layers", "nested"],
)
def test_without_the_input_gradient_leading_layers_are_skipped(build, monkeypatch):
    model, tape = build(), gn.Tape()
    dy = np.ones((6, 3), np.float32)
    model.forward(X, tape)
    assert model.backward(dy, tape).shape == X.shape
    expected = model.store.grads.copy()

    for leaf in takewhile(lambda leaf: not leaf.params, model.leaves().values()):
        monkeypatch.setattr(leaf, "backward", None)  # a call would fail
    tape.reset(step=0)
    model.forward(X, tape)
    assert model.backward(dy, tape, input_gradient=False) is None
    assert_array_equal(model.store.grads, expected)


def test_a_model_without_parameters_has_no_work_without_the_input_gradient():
    model, tape = gn.Sequential(gn.Flatten(), gn.ReLU()), gn.Tape()
    y = model.forward(X, tape)
    assert model.backward(y, tape, input_gradient=False) is None


def test_mlp_is_linear_layers_with_activation_and_dropout_between_them():
    model = gn.MLP([4, 8, 6, 3], activation=gn.LeakyReLU(0.2), dropout=0.1)
    assert [repr(layer) for layer in model.layers] == [
        "Linear(4, 8, activation=LeakyReLU(negative_slope=0.2))",
        "Dropout(0.1)",
        "Linear(8, 6, activation=LeakyReLU(negative_slope=0.2))",
        "Dropout(0.1)",
        "Linear(6, 3)",
    ]
    assert [repr(layer) for layer in gn.MLP([4, 3]).layers] == ["Linear(4, 3)"]


def test_many_threads_can_ask_one_model():
    model = gn.Sequential(
        gn.Linear(20, 50, rng=0), gn.GELU(), gn.Linear(50, 50, activation="softplus", rng=1), gn.SiLU()
    )
    batches = [np.random.default_rng(i).standard_normal((64, 20)).astype(np.float32) for i in range(64)]
    with ThreadPoolExecutor(8) as pool:
        for call in (model.forward, model.outputs):
            for a, b in zip(pool.map(call, batches), map(call, batches), strict=True):
                assert_array_equal(a, b)


class TestPredict:
    @staticmethod
    def model(task: str, outputs: int) -> gn.Model:
        model = gn.MLP([4, 8, outputs], seed=1)
        model.task = task
        return model

    def test_classification_gives_indices_or_names_and_probabilities(self):
        model = self.model("classification", 3)
        logits = model.forward(X)
        assert_array_equal(model.predict(X), logits.argmax(axis=1))
        model.classes = ("a", "b", "c")
        assert_array_equal(model.predict(X), np.array(["a", "b", "c"])[logits.argmax(axis=1)])
        shares = np.exp(logits.astype(float))
        assert_allclose(model.predict_proba(X), shares / shares.sum(axis=1, keepdims=True), rtol=1e-5)

    @pytest.mark.parametrize("bias", [np.nan, np.inf, -np.inf])
    @pytest.mark.parametrize("task", ["classification", "binary", "regression", "counts"])
    def test_outputs_that_are_not_finite_are_one_warning_at_the_line_of_the_call(self, task, bias):
        model = self.model(task, 3)
        model.parameters()["1.bias"][0] = bias
        calls = [model.outputs, model.predict]
        calls += [model.predict_proba] if task in ("classification", "binary") else []
        for call in calls:
            with pytest.warns(GpunetWarning, match=r"the outputs of 6 of 6 rows are NaN or infinite") as caught:
                call(X)
            assert [warning.filename for warning in caught] == [__file__]
        with pytest.warns(GpunetWarning, match=r"10,000 of 10,000 rows") as caught:  # several batches
            model.predict(np.ones((10_000, 4)))
        assert len(caught) == 1

    @pytest.mark.parametrize("native", ["1", "0"])
    def test_a_forward_pass_that_overflows_is_one_warning(self, monkeypatch, native):
        monkeypatch.setenv("GPUNET_NATIVE", native)
        model = self.model("regression", 1)
        for name in ("0.weight", "1.weight"):
            model.parameters()[name][:] = 1e30
        with pytest.warns(GpunetWarning, match="NaN or infinite") as caught:
            model.predict(np.ones((2, 4)))
        assert len(caught) == 1

    def test_predictions_that_overflow_are_one_warning(self):
        model = self.model("counts", 1)
        model.parameters()["1.bias"][0] = 1000.0
        with pytest.warns(GpunetWarning, match="predictions of 6 of 6 rows .* overflow in float32") as caught:
            assert np.isinf(model.predict(X)).all()
        assert [warning.filename for warning in caught] == [__file__]
        model.task, model.target_scaler = "regression", gn.data.Standardizer(np.zeros(()), np.array(1e308))
        with pytest.warns(GpunetWarning, match="predictions of 6 of 6 rows .* overflow in float64") as caught:
            model.predict(X)
        assert len(caught) == 1

    @pytest.mark.parametrize("bias", [np.nan, np.inf, 1e30])
    def test_cosines_that_are_not_finite_are_one_warning(self, bias):
        model = self.model("similarity", 3)
        model.parameters()["1.bias"][0] = bias
        with pytest.warns(GpunetWarning, match="NaN or infinite") as caught:
            assert not np.isfinite(model.predict(np.ones((6, 2, 4)))).any()
        assert len(caught) == 1

    def test_similarity_needs_pairs(self):
        model = self.model("similarity", 3)
        assert model.predict(np.ones((6, 2, 4))).shape == (6,)
        for rows in (X, np.ones((6, 3, 4))):
            with pytest.raises(ShapeError, match=r"output rows of shape \(2, features\)"):
                model.predict(rows)

    def test_binary_gives_a_label_a_row_for_one_output(self):
        model = self.model("binary", 1)
        logits = model.forward(X)[:, 0]
        assert_array_equal(model.predict(X), (logits > 0).astype(int))
        p = 1 / (1 + np.exp(-logits.astype(float)))
        assert_allclose(model.predict_proba(X), np.column_stack([1 - p, p]), rtol=1e-5)
        model.classes = ("no", "yes")
        assert_array_equal(model.predict(X), np.where(logits > 0, "yes", "no"))

    def test_binary_gives_labels_and_probabilities_of_several_outputs(self):
        model = self.model("binary", 3)
        logits = model.forward(X)
        assert_array_equal(model.predict(X), (logits > 0).astype(int))
        assert_allclose(model.predict_proba(X), 1 / (1 + np.exp(-logits.astype(float))), rtol=1e-5)

    @pytest.mark.parametrize("task", ["regression", None])
    def test_values_are_one_a_row_for_one_output(self, task):
        model = self.model(task, 1)
        assert_array_equal(model.predict(X), model.outputs(X)[:, 0])
        assert_allclose(model.predict(X), model.forward(X)[:, 0], rtol=1e-5)
        assert_array_equal(self.model(task, 2).predict(X), self.model(task, 2).outputs(X))
        with pytest.raises(StateError, match=f"task is {task}"):
            model.predict_proba(X)

    @pytest.mark.parametrize(
        "targets",
        [[10.0, 20, 60], [[10.0], [20], [60]], [[1.0, 10], [2, 20], [6, 60]]],
        ids=["(n,)", "(n, 1)", "(n, 2)"],
    )
    def test_values_come_in_the_units_of_the_training_targets(self, targets):
        targets = np.array(targets)
        outputs = targets[0].size
        model = self.model("regression", outputs)
        model.target_scaler = Standardizer.fit(targets)
        expected = model.forward(X) * targets.std(axis=0) + targets.mean(axis=0)
        assert_allclose(model.predict(X), expected if outputs > 1 else expected[:, 0], rtol=1e-4)

    def test_raw_features_are_standardised_as_in_training(self):
        model = self.model("regression", 2)
        raw = 100 + 30 * RNG.standard_normal((50, 4))
        model.input_scaler = Standardizer.fit(raw)
        ready = ((raw - raw.mean(axis=0)) / raw.std(axis=0)).astype(np.float32)
        assert_allclose(model.predict(raw), model.forward(ready), rtol=1e-4, atol=1e-5)

    def test_many_rows_are_split_into_batches(self):
        model = self.model("classification", 3)
        x = RNG.standard_normal((2 * LARGEST_BATCH + 1, 4)).astype(np.float32)
        assert_allclose(model.outputs(x), model.forward(x), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_host_arrays_of_any_layout_give_the_same_result_and_are_not_written(self, dtype):
        model = self.model("classification", 3).to(dtype=dtype)
        numbers = RNG.integers(-3, 4, (6, 4))
        expected = model.forward(numbers.astype(dtype))
        for x in (
            numbers.tolist(),
            numbers,
            np.asfortranarray(numbers, float),
            numbers.astype(">f4"),
            numbers.astype("float16"),
            np.repeat(numbers, 2, axis=0)[::2],
            numbers[::-1].copy()[::-1].astype("float64"),
        ):
            if isinstance(x, np.ndarray):
                x.flags.writeable = False
            outputs = model.outputs(x)
            assert outputs.dtype == dtype
            assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize(
        ("x", "error", "message"),
        [
            (X[:, :3], ShapeError, r"Linear\(4, 8.*4 features, got shape \(3,\)"),
            (X[0], ShapeError, r"X has shape \(4,\)"),
            (X[:0], DataError, "X is empty"),
            (np.where(X > 1, np.nan, X), DataError, "X is nan at row"),
            (np.where(X > 1, np.inf, X), DataError, "X is inf at row"),
            (X.astype(complex), DTypeError, "complex128"),
            (X.astype(object), DTypeError, "object"),
            (np.full((2, 4), 1e300), DataError, "too large|inf"),
        ],
    )
    def test_bad_data_is_refused(self, x, error, message):
        with pytest.raises(error, match=message):
            self.model("classification", 3).predict(x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gn.Sequential(gn.Linear(4, 3), "relu"), "Sequential takes layers, got 'relu'"),
        (lambda: gn.Sequential(gn.ReLU), "Sequential takes layers, got <class"),
        (lambda: gn.Sequential([gn.Linear(4, 3)]), r"Sequential takes layers, got \[Linear"),
        (lambda: gn.MLP([4]), r"needs an input and an output size, got \[4\]"),
        (lambda: gn.MLP([]), "needs an input and an output size"),
        (lambda: gn.MLP([4, 0, 3]), "out_features must be a whole number of at least 1, got 0"),
        (lambda: gn.MLP([4, 3, 2], dropout=1.5), "p must lie in .*1.5"),
        (lambda: gn.MLP([4, 3, 2], activation="rélu"), "unknown activation 'rélu'"),
    ],
)
def test_invalid_models_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_layers_of_incompatible_shapes_are_named_by_their_position():
    model = gn.Sequential(gn.Linear(4, 5), gn.ReLU(), gn.Sequential(gn.Dropout(0.1), gn.Linear(6, 3)))
    with pytest.raises(ShapeError, match=r"layer 2, layer 1, Linear\(6, 3\).*6 features, got shape \(5,\)"):
        model.predict(X)


def test_a_changed_activation_takes_effect_at_the_next_forward_pass_also_if_fused():
    model = gn.Sequential(gn.Linear(4, 3, rng=0), gn.ReLU())
    model.forward(X)
    model[1].activation = gn.Tanh()
    assert_array_equal(model.forward(X), np.tanh(model[0].forward(X)))


def test_the_layers_of_a_model_cannot_be_replaced():
    model = gn.MLP([4, 3, 2])
    other = gn.Linear(4, 3)
    with pytest.raises(StateError, match="MLP: its layers cannot be replaced; make a new model"):
        model.layers = [other]
    with pytest.raises(TypeError):
        model.layers[0] = other
    with pytest.raises(AttributeError):
        model.layers.append(other)


def test_a_parameter_that_is_set_as_an_attribute_is_refused_with_the_way_to_set_it():
    layer = gn.Linear(2, 3)
    with pytest.raises(AttributeError, match=re.escape("write layer.params['weight'] = value")):
        layer.weight = np.ones((2, 3))
    layer.params["weight"] = np.ones((2, 3))
    assert (layer.params["weight"] == 1).all()


def test_an_mlp_uses_init_for_hidden_layers_and_output_init_for_the_last():
    model = gn.MLP([4, 6, 5, 3], init="orthogonal", output_init="zeros", seed=2)
    rng = np.random.default_rng(2)
    for layer, shape in zip(model.layers[:2], [(4, 6), (6, 5)], strict=True):
        expected = gn.initializers.orthogonal(shape, rng)
        assert np.array_equal(layer.params["weight"], expected.astype(np.float32))
    assert not model.layers[2].params["weight"].any()


def test_tabular_mlp_starts_with_equal_outputs_and_limits_outliers():
    frame = {"size": [1.0, 2.0, 3.0, 4.0], "town": list("abab"), "y": [0.5, 1.0, 1.5, 3.0]}
    schema = gn.data.TableSchema.fit(pandas.DataFrame(frame), "y")
    model = gn.tabular_mlp(schema, 2, hidden=(8,), seed=3)
    X = schema.encode(pandas.DataFrame(frame)).astype(np.float32)
    assert not model(X).any()
    model.layers[-1].params["weight"] = np.ones((8, 2))
    far, farther = (np.float32([[size, 0, 1]]) for size in (1e6, 1e30))
    assert np.isfinite(model(farther)).all()
    np.testing.assert_allclose(model(far), model(farther), rtol=1e-6)


@pytest.mark.parametrize("name", ["input_scaler", "target_scaler"])
@pytest.mark.parametrize("scaler", [1, "standard", sklearn.preprocessing.StandardScaler()], ids=str)
def test_a_scaler_of_another_kind_is_refused_when_it_is_set(name, scaler):
    model = gn.MLP([2, 2])
    with pytest.raises(ArgumentError, match=f"{name} must be a gn.data.Standardizer or None, got"):
        setattr(model, name, scaler)
    assert getattr(model, name) is None

"""Layers for images and sequences: compared with PyTorch, trained, saved and resumed."""

import copy
import pickle

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn
from gpunet.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
X = RNG.standard_normal((6, 4, 7, 8)).astype(np.float32)
SEQUENCE = RNG.standard_normal((6, 4, 9)).astype(np.float32)
DIGITS = gn.data.digits()

LAYERS = {
    "conv2d": (lambda: gn.Conv2d(4, 6, 3, rng=0), X),
    "strided": (lambda: gn.Conv2d(4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2, rng=0), X),
    "depthwise": (lambda: gn.Conv2d(4, 8, 3, padding=1, groups=4, bias=False, rng=0), X),
    "pointwise": (lambda: gn.Conv2d(4, 2, 1, rng=0), X),
    "conv1d": (lambda: gn.Conv1d(4, 6, 3, rng=0), SEQUENCE),
    "dilated": (lambda: gn.Conv1d(4, 4, 2, 2, 1, 3, 2, False, rng=0), SEQUENCE),
    "max": (lambda: gn.MaxPool2d(2), X),
    "overlapping max": (lambda: gn.MaxPool2d((3, 2), 2, 1, (1, 2)), X),
    "average": (lambda: gn.AvgPool2d(2), X),
    "overlapping average": (lambda: gn.AvgPool2d(3, (1, 2), 1), X),
    "global": (gn.GlobalAvgPool2d, X),
    "with its activation": (lambda: gn.Conv2d(4, 3, 3, activation="elu", rng=0), X),
    "fused": (lambda: gn.Sequential(gn.Conv2d(4, 3, 3, rng=0), gn.ReLU()), X),
    "fused, of the input": (lambda: gn.Sequential(gn.Conv1d(4, 3, 3, rng=0), gn.GELU()), SEQUENCE),
}


@pytest.fixture(params=LAYERS.values(), ids=LAYERS.keys())
def case(request):
    make, x = request.param
    return make(), x


def step(layer, x, dy=None):
    """Return the output, the input's gradient and those of the parameters."""
    tape = gn.Tape()
    y = layer.forward(x, tape)
    dx = layer.backward(y.copy() if dy is None else dy, tape)
    return y.copy(), dx.copy(), layer.store.grads.copy()


def assert_equal(first, second):
    for a, b in zip(first, second, strict=True):
        assert_array_equal(a, b)


def cnn(seed=0):
    return gn.Sequential(
        gn.Conv2d(1, 4, 3, padding=1, rng=seed),
        gn.ReLU(),
        gn.MaxPool2d(2),
        gn.Conv2d(4, 8, 3, groups=2, rng=seed + 1),
        gn.SiLU(),
        gn.AvgPool2d(2, 1),
        gn.Dropout(0.2),
        gn.Flatten(),
        gn.Linear(8, 10, rng=seed + 2),
    )


def batch(rows):
    return DIGITS.X[:rows].reshape(-1, 1, 8, 8), DIGITS.y[:rows]


def test_the_gradients_of_input_and_parameters_are_correct(case):
    layer, x = case
    store = layer.to(dtype="float64").store
    x, params = x.astype(np.float64), np.random.default_rng(1).standard_normal(store.params.shape)

    def output(x, params):
        store.params[...] = params
        return layer.forward(x)

    dy = np.random.default_rng(2).standard_normal(output(x, params).shape)
    _, dx, grads = step(layer, x, dy)
    assert directional_error(lambda *point: float((dy * output(*point)).sum()), [x, params], [dx, grads]) < 1e-8


def test_a_tape_does_not_change_the_output_and_output_shape_agrees(case):
    layer, x = case
    y, dx, _ = step(layer, x)
    assert_array_equal(layer.forward(x), y)
    assert layer.output_shape(x.shape[1:]) == y.shape[1:]
    assert dx.shape == x.shape
    assert y.dtype == dx.dtype == np.float32


def test_inputs_of_any_layout_give_the_same_result_and_are_not_written(case):
    layer, x = case
    expected = step(layer, x)
    for change in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2]):
        given, dy = change(x), change(expected[0])
        given.flags.writeable = dy.flags.writeable = False
        for a, b in zip(step(layer, given, dy), expected, strict=True):
            assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_an_empty_batch_gives_zero_gradients(case):
    layer, x = case
    layer.store.grads.fill(np.nan)
    y, dx, _ = step(layer, x[:0])
    assert y.shape == (0, *layer.output_shape(x.shape[1:]))
    assert dx.shape == (0, *x.shape[1:])
    for leaf in layer.leaves().values():
        assert all((a == 0).all() for a in leaf.grads.values())


def test_batch_norm_is_saved_copied_and_pickled(case, tmp_path):
    layer, x = case
    model = gn.Sequential(layer, gn.Flatten())
    expected = step(model, x)
    model.save(tmp_path / "model.safetensors")
    loaded = gn.load(tmp_path / "model.safetensors")
    assert repr(loaded) == repr(model)
    for twin in (loaded, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert_equal(step(twin, x), expected)


def test_a_gradient_of_another_shape_than_the_output_is_refused(case):
    layer, x = case
    for wrong in (lambda y: y[:5], lambda y: y[..., :-1], lambda y: y[0]):
        tape = gn.Tape()
        y = layer.forward(x, tape)
        with pytest.raises(ShapeError):
            layer.backward(wrong(y), tape)


def test_transformer_layers_equal_pytorchs():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: nothing to compare with")
    for name, arguments, x in [
        ("Conv2d", (4, 6, 3), X),
        ("Conv2d", (4, 6, (3, 2), (2, 1), (1, 0), (1, 2), 2), X),
        ("Conv2d", (4, 8, 3, 1, 1, 1, 4, False), X),
        ("Conv1d", (4, 6, 3), SEQUENCE),
        ("Conv1d", (4, 4, 2, 2, 1, 3, 2, False), SEQUENCE),
        ("MaxPool2d", (2,), X),
        ("MaxPool2d", ((3, 2), 2, 1, (1, 2)), X),
        ("AvgPool2d", (2,), X),
        ("AvgPool2d", (3, (1, 2), 1), X),
    ]:
        theirs, ours = getattr(torch.nn, name)(*arguments).double(), getattr(gn, name)(*arguments).to(dtype="float64")
        parameters = dict(theirs.named_parameters())
        assert parameters.keys() == ours.params.keys()
        for key, tensor in parameters.items():
            ours.params[key] = tensor.detach().numpy()
        given = torch.tensor(x.astype(np.float64), requires_grad=True)
        y = theirs(given)
        y.backward(y.detach())
        result, dx, _ = step(ours, x.astype(np.float64))
        assert_allclose(result, y.detach().numpy(), rtol=1e-9, atol=1e-9)
        assert_allclose(dx, given.grad.numpy(), rtol=1e-9, atol=1e-9)
        for key, tensor in parameters.items():
            assert_allclose(ours.grads[key], tensor.grad.numpy(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "activation", [gn.ReLU(), gn.GELU(), gn.CustomActivation(np.square, lambda z: 2 * z)], ids=lambda a: a.name
)
def test_a_fused_activation_gives_the_same_numbers_and_the_layer_stays_as_it_is(activation):
    layers = [gn.Conv2d(4, 3, 3, rng=0), gn.Activation(activation), gn.MaxPool2d(2)]
    plain = layers[0].forward(X)
    tape, y = gn.Tape(), X
    for layer in layers:
        y = layer.forward(y, tape)
    dx = y
    for layer in reversed(layers):
        dx = layer.backward(dx, tape)
    gradients = [a.copy() for a in layers[0].grads.values()]
    model = gn.Sequential(*layers)
    assert "fused" in model.summary()
    fused = step(model, X)
    assert_equal((fused[0], fused[1], *model[0].grads.values()), (y, dx, *gradients))
    assert_array_equal(model[0].forward(X), plain)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_replayed_steps_equal_eager_steps_bitwise_and_learn(dtype):
    pair = [
        gn.Trainer(cnn().to(dtype=dtype), optimizer=gn.Adam(0.01), executor=executor) for executor in ("numpy", "eager")
    ]
    for trainer in pair:
        trainer.fit(*batch(100), epochs=10, batch_size=32)
    assert_array_equal(pair[0].model.store.params, pair[1].model.store.params)
    assert pair[0].history["loss"] == pair[1].history["loss"]
    assert pair[0].history["loss"][-1] < 0.5 * pair[0].history["loss"][0]


def test_sequences_are_replayed_too():
    x, y = RNG.standard_normal((60, 2, 9)).astype(np.float32), np.arange(60) % 3
    pair = []
    for executor in ("numpy", "eager"):
        model = gn.Sequential(gn.Conv1d(2, 4, 3, rng=0), gn.Tanh(), gn.Flatten(), gn.Linear(28, 3, rng=1))
        pair.append(gn.Trainer(model, executor=executor))
        pair[-1].fit(x, y, epochs=4, batch_size=16)
    assert_array_equal(pair[0].model.store.params, pair[1].model.store.params)


def test_five_epochs_and_five_after_a_resume_equal_ten_bitwise(tmp_path):
    whole, first = (gn.Trainer(cnn(), seed=1) for _ in range(2))
    whole.fit(*batch(60), epochs=4, batch_size=25)
    first.fit(*batch(60), epochs=2, batch_size=25)
    first.save(tmp_path / "checkpoint")
    second = gn.Trainer.resume(tmp_path / "checkpoint")
    second.fit(*batch(60), epochs=2, batch_size=25)
    assert_array_equal(second.model.store.params, whole.model.store.params)


def test_a_whole_data_set_is_predicted_and_evaluated():
    model = cnn()
    trainer = gn.Trainer(model)
    trainer.fit(*batch(40), epochs=1, batch_size=20, validation=0.25)
    X, y = batch(40)
    assert model.predict(X).shape == (40,)
    assert trainer.evaluate(X, y)["accuracy"] == np.mean(model.predict(X) == y)


def test_the_summary_shows_known_shapes_and_all_with_an_input_shape():
    table = [line.split() for line in cnn().summary().splitlines()]
    assert [row[-2] for row in table[1:-2]] == ["?"] * 6
    assert table[-2][-2:] == ["(10,)", "90"]
    summary = cnn().summary((1, 8, 8))
    for shape in ("(4, 8, 8)", "(4, 4, 4)", "(8, 2, 2)", "(8, 1, 1)", "(8,)", "(10,)"):
        assert shape in summary
    with pytest.raises(ShapeError, match=r"a row of the input must be \(1, height, width\), got shape \(3, 8, 8\)"):
        cnn().summary((3, 8, 8))


def test_initial_weights_have_the_variance_for_the_filter_size_and_depend_on_the_seed():
    layer = gn.Conv2d(16, 64, 5, groups=2, rng=0)
    assert layer.params["weight"].shape == (64, 8, 5, 5)
    assert layer.params["weight"].std() == pytest.approx(np.sqrt(2 / 200), rel=0.02)
    assert not layer.params["bias"].any()
    assert_array_equal(gn.Conv2d(16, 64, 5, groups=2, rng=0).params["weight"], layer.params["weight"])
    flat = gn.Conv2d(3, 4, 2, init="orthogonal", rng=0).params["weight"].reshape(4, 12)
    assert_allclose(flat @ flat.T, np.eye(4), atol=1e-6)


def test_uniform_numbers_are_written_in_place():
    assert repr(gn.Conv2d(1, 8, 3)) == "Conv2d(1, 8, kernel_size=3)"
    layer = gn.Conv2d(2, 4, (3, 5), 2, (1, 2), 1, 2, False)
    assert repr(layer) == "Conv2d(2, 4, kernel_size=(3, 5), stride=2, padding=(1, 2), groups=2, bias=False)"
    layer = gn.Conv1d(1, 8, 3, dilation=2, activation="relu")
    assert repr(layer) == "Conv1d(1, 8, kernel_size=3, dilation=2, activation=ReLU())"
    assert repr(gn.MaxPool2d(3, 2, 1)) == "MaxPool2d(kernel_size=3, stride=2, padding=1)"
    assert repr(gn.AvgPool2d(2)) == "AvgPool2d(kernel_size=2)"


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: gn.Conv2d(4, 6, 3, groups=3), ArgumentError, "groups=3 must divide in_channels=4 and out_channels=6"),
        (lambda: gn.Conv2d(4, 6, 0), ArgumentError, "Conv2d: kernel_size must be .* at least 1, got 0"),
        (lambda: gn.Conv2d(4, 6, (3, 3, 3)), ArgumentError, r"kernel_size .* or 2 of them, got \(3, 3, 3\)"),
        (lambda: gn.Conv2d(4, 6, 3, padding="same"), ArgumentError, "padding must be .* got 'same'"),
        (lambda: gn.Conv1d(4, 6, (3, 3)), ArgumentError, r"Conv1d: kernel_size must be .* or 1 of them, got \(3, 3\)"),
        (lambda: gn.Conv2d(0, 6, 3), ArgumentError, "in_channels .* got 0"),
        (lambda: gn.Conv2d(4, 6, 3, init="he"), ArgumentError, "init='he'"),
        (lambda: gn.MaxPool2d(2, padding=2), ArgumentError, "MaxPool2d: padding=2 is more than half of the window"),
        (lambda: gn.AvgPool2d(2.5), ArgumentError, "AvgPool2d: kernel_size .* got 2.5"),
        (
            lambda: gn.Conv2d(3, 6, 3).forward(X),
            ShapeError,
            r"Conv2d\(3, 6, kernel_size=3\): a row of the input must be \(3, height, width\), got shape \(4, 7, 8\)",
        ),
        (lambda: gn.Conv2d(4, 6, 3).forward(X[0]), ShapeError, r"\(4, height, width\), got shape \(7, 8\)"),
        (lambda: gn.Conv1d(4, 6, 3).forward(X), ShapeError, r"\(4, length\), got shape \(4, 7, 8\)"),
        (
            lambda: gn.Conv2d(4, 6, 9).forward(X),
            ShapeError,
            r"kernel_size=9\): the kernel, which spans 9 x 9, is larger",
        ),
        (lambda: gn.Conv1d(4, 6, 12, padding=1).forward(SEQUENCE), ShapeError, "is larger than the image of 1 x 9"),
        (lambda: gn.MaxPool2d(9).forward(X), ShapeError, r"MaxPool2d\(kernel_size=9\): the kernel, which spans 9 x 9"),
        (lambda: gn.GlobalAvgPool2d().forward(SEQUENCE), ShapeError, r"GlobalAvgPool2d\(\): .* got shape \(4, 9\)"),
    ],
)
def test_wrong_shapes_are_refused_with_the_layers_name(call, error, message):
    with pytest.raises(error, match=message):
        call()

"""RNN and LSTM: the equations step by step, gradients, and use as a layer."""

import copy
import pickle

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn
from gpunet.errors import ArgumentError, DTypeError, ShapeError

RNG = np.random.default_rng(0)
LAYERS = {
    "tanh": lambda **options: gn.RNN(3, 5, rng=0, **options),
    "relu": lambda **options: gn.RNN(3, 5, "relu", rng=0, **options),
    "lstm": lambda **options: gn.LSTM(3, 5, rng=0, **options),
}
SHAPES = [(1, 1), (4, 1), (1, 6), (4, 7), (0, 3)]


@pytest.fixture(params=LAYERS.values(), ids=LAYERS.keys())
def make(request):
    return request.param


@pytest.fixture(params=[True, False], ids=["sequences", "last"])
def layer(request, make):
    made = make(return_sequences=request.param).to(dtype="float64")
    made.params["bias"] = RNG.standard_normal(made.params["bias"].shape)
    return made


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def states(layer, x):
    """Return the states of all steps, one row and one step after the other."""
    weight_ih, weight_hh, bias = (layer.params[name] for name in ("weight_ih", "weight_hh", "bias"))
    h = np.zeros((*x.shape[:2], 5))
    for row in range(len(x)):
        state, cell = np.zeros(5), np.zeros(5)
        for step in range(x.shape[1]):
            z = x[row, step] @ weight_ih + bias + state @ weight_hh
            if isinstance(layer, gn.LSTM):
                i, f, g, o = np.split(z, 4)
                cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(g)
                state = sigmoid(o) * np.tanh(cell)
            else:
                state = np.tanh(z) if layer.nonlinearity == "tanh" else np.maximum(z, 0)
            h[row, step] = state
    return h


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_states_follow_the_equations(layer, shape, dtype):
    x = RNG.standard_normal((*shape, 3)).astype(dtype)
    expected = states(layer, x.astype(float))
    if not layer.return_sequences:
        expected = expected[:, -1]
    for tape in (None, gn.Tape()):
        y = layer.to(dtype=dtype).forward(x, tape)
        assert (y.shape, y.dtype) == (expected.shape, dtype)
        assert_allclose(y, expected, atol=1e-6 if dtype == "float32" else 1e-13)
    assert layer.output_shape(x.shape[1:]) == y.shape[1:]


@pytest.mark.parametrize("shape", SHAPES[:-1], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_gradients_are_those_of_finite_differences(make, shape, bias):
    for return_sequences in (True, False):
        layer = make(bias=bias, return_sequences=return_sequences).to(dtype="float64")
        store, tape = layer.store, gn.Tape()
        x, params = RNG.standard_normal((*shape, 3)), store.params.copy()
        dy = RNG.standard_normal(layer.forward(x, tape).shape)

        def output(x, params, layer=layer, dy=dy):
            layer.store.params[...] = params
            return float((dy * layer.forward(x)).sum())

        dx, gradients = layer.backward(dy, tape), store.grads.copy()
        layer.forward(x, tape)
        assert layer.backward(dy, tape, input_gradient=False) is None
        assert_array_equal(store.grads, gradients)
        assert directional_error(output, [x, params], [dx, gradients]) < 1e-8


def test_repeated_steps_give_the_same_results_in_the_same_memory(layer):
    tape, x = gn.Tape(), RNG.standard_normal((4, 6, 3))
    dy = np.ones_like(layer.forward(x))

    def step():
        tape.reset(step=0)
        return layer.forward(x, tape), layer.backward(dy, tape), layer.store.grads

    first = [(a, a.copy()) for a in step()]
    for (before, numbers), after in zip(first, step(), strict=True):
        assert np.shares_memory(before, after)
        assert_array_equal(after, numbers)


@pytest.mark.parametrize("shape", [(4, 0, 3), (4, 6, 2), (4, 3), (3,), ()], ids=str)
def test_a_sequence_of_no_steps_or_other_features_is_refused(layer, shape):
    with pytest.raises(ShapeError, match=r"\(3, 5.*\): a row of the input must have at least one step of 3 features"):
        layer.forward(np.ones(shape))


def test_other_gradients_and_dtypes_are_refused(layer):
    tape, x = gn.Tape(), np.ones((4, 6, 3))
    y = layer.forward(x, tape)
    with pytest.raises(ShapeError, match=r"dy has shape \(3"):
        layer.backward(y[:3], tape)
    with pytest.raises(DTypeError, match="dtypes differ"):
        layer.forward(x.astype(np.float32))


def test_invalid_values_are_refused():
    with pytest.raises(ArgumentError, match="RNN: nonlinearity must be 'tanh' or 'relu', got 'gelu'"):
        gn.RNN(3, 5, "gelu")
    with pytest.raises(ArgumentError, match="rnn: nonlinearity must be 'tanh' or 'relu', got 'gelu'"):
        gn.ops.rnn(np.ones((2, 4, 3)), np.ones((3, 5)), np.ones((5, 5)), nonlinearity="gelu")
    with pytest.raises(ArgumentError, match="LSTM: hidden_size must be a whole number of at least 1"):
        gn.LSTM(3, 0)
    with pytest.raises(TypeError, match="positional"):
        gn.LSTM(3, 5, 2)  # in PyTorch this is a second layer, not a bias


def model(make, **options):
    recurrent = make(**options)
    return gn.Sequential(gn.Embedding(9, 3, rng=1), recurrent, gn.Flatten(), gn.Linear(5, 2, rng=2))


X = RNG.integers(0, 9, (60, 6))
Y = (X[:, 0] > 4).astype(np.int64)  # the class depends on the first step only


def test_a_model_of_sequences_is_saved_copied_and_summarised(make, tmp_path):
    one = model(make, return_sequences=False)
    one.save(tmp_path / "model")
    for other in (gn.load(tmp_path / "model"), pickle.loads(pickle.dumps(one)), copy.deepcopy(one)):
        assert other[1].config() == one[1].config()
        assert_array_equal(other.outputs(X), one.outputs(X))
    assert f"{one[1]!r}" in one.summary()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_replayed_step_equals_an_eager_step_bitwise(make, dtype):
    pair = [
        gn.Trainer(model(make, return_sequences=False).to(dtype=dtype), executor=executor)
        for executor in ("numpy", "eager")
    ]
    for one in pair:
        one.fit(X, Y, epochs=3, batch_size=25)
    assert_array_equal(pair[0].model.store.params, pair[1].model.store.params)


def test_training_resumes_bit_for_bit(make, tmp_path):
    whole, half = (gn.Trainer(model(make, return_sequences=False)) for _ in range(2))
    whole.fit(X, Y, epochs=3)
    half.fit(X, Y, epochs=1)
    half.save(tmp_path / "half")
    resumed = gn.Trainer.resume(tmp_path / "half")
    resumed.fit(X, Y, epochs=2)
    assert_array_equal(resumed.model.store.params, whole.model.store.params)


def test_an_lstm_learns_the_first_step_of_a_sequence():
    one = gn.Trainer(model(LAYERS["lstm"], return_sequences=False), optimizer=gn.Adam(0.05))
    one.fit(X, Y, epochs=30)
    assert one.evaluate(X, Y)["accuracy"] == 1


@pytest.mark.parametrize("shape", SHAPES[:-1], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_states_and_gradients_are_pytorchs(layer, shape, dtype):
    torch = pytest.importorskip("torch", reason="compares with PyTorch where it is installed")
    kind = {"batch_first": True, "dtype": getattr(torch, dtype)}
    lstm = isinstance(layer, gn.LSTM)
    theirs = torch.nn.LSTM(3, 5, **kind) if lstm else torch.nn.RNN(3, 5, nonlinearity=layer.nonlinearity, **kind)
    layer = layer.to(dtype=dtype)
    with torch.no_grad():
        for name, value in (("weight_ih", layer.params["weight_ih"].T), ("weight_hh", layer.params["weight_hh"].T),
                            ("bias_ih", layer.params["bias"]), ("bias_hh", np.zeros(1))):  # fmt: skip
            getattr(theirs, f"{name}_l0").copy_(torch.from_numpy(value.copy()))
    x = RNG.standard_normal((*shape, 3)).astype(dtype)
    given = torch.tensor(x, requires_grad=True)
    out = theirs(given)[0]
    out = out if layer.return_sequences else out[:, -1]
    tape = gn.Tape()
    y = layer.forward(x, tape)
    dy = RNG.standard_normal(y.shape).astype(dtype)
    dx = layer.backward(dy, tape)
    out.backward(torch.from_numpy(dy))
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-12}
    grads = theirs.weight_ih_l0.grad.T, theirs.weight_hh_l0.grad.T, theirs.bias_hh_l0.grad
    for mine, other in zip((y, dx, *layer.grads.values()), (out.detach(), given.grad, *grads), strict=True):
        assert_allclose(mine, other.numpy(), **tolerance)

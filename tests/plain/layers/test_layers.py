"""The layers: results, attributes and errors."""

import inspect
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn
from gpunet.errors import ArgumentError, DTypeError, ShapeError, StateError, UnknownAttributeError
from gpunet.layers.stack import Stack

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
LAYERS = {
    "linear": lambda: gn.Linear(4, 3, activation="gelu", rng=0),
    "activation": lambda: gn.Activation("elu"),
    "dropout": lambda: gn.Dropout(0.5),
    "flatten": gn.Flatten,
    "fused": lambda: gn.Sequential(gn.Linear(4, 3, rng=0), gn.SiLU()),
    "layer norm": lambda: gn.LayerNorm(4),
    "rms norm": lambda: gn.RMSNorm(4),
    "batch norm": lambda: gn.BatchNorm1d(4),
    "glu": gn.GLU,
    "swiglu": lambda: gn.SwiGLU(4, 3, rng=0),
    "residual": lambda: gn.Residual(gn.LayerNorm(4), gn.Linear(4, 5, rng=0), gn.GELU(), gn.Linear(5, 4, rng=1)),
    "mlp": lambda: gn.MLP([4, 5, 3], dropout=0.5),
}


@pytest.fixture(params=LAYERS.values(), ids=LAYERS.keys())
def layer(request):
    return request.param()


def test_linear_is_the_product_with_its_weight_plus_its_bias():
    layer = gn.Linear(4, 3, activation="tanh", rng=0)
    layer.params["bias"] = [1, 2, 3]
    expected = np.tanh(X.astype(float) @ layer.params["weight"] + [1, 2, 3])
    assert_allclose(layer.forward(X), expected, rtol=1e-5, atol=1e-6)
    assert layer.forward(X).dtype == np.float32


def test_dropout_does_nothing_without_a_tape_and_flatten_makes_vectors():
    assert_array_equal(gn.Dropout(0.5).forward(X), X)
    assert_array_equal(gn.Flatten().forward(X.reshape(6, 2, 2)), X)
    assert gn.Flatten().forward(np.empty((0, 2, 3))).shape == (0, 6)


@pytest.mark.parametrize("make", [lambda: gn.Linear(4, 3, rng=7), lambda: gn.MLP([4, 3], seed=7)])
def test_the_same_seed_gives_the_same_weights(make):
    assert_array_equal(make().forward(X), make().forward(X))


def test_the_initial_weights_suit_the_activation():
    def spread(**options):
        return gn.Linear(400, 300, rng=0, **options).params["weight"].std()

    assert spread(activation="relu") == pytest.approx(np.sqrt(2 / 400), rel=0.02)
    assert spread(activation="tanh") == pytest.approx(np.sqrt(2 / 700), rel=0.02)
    assert spread(init="lecun_normal") == pytest.approx(np.sqrt(1 / 400), rel=0.02)
    assert spread(init=lambda shape, rng: np.full(shape, 0.5)) == 0


def test_a_tape_changes_only_dropout_and_batch_norm(layer):
    plain = layer.forward(X)
    if not any(isinstance(part, gn.Dropout | gn.BatchNorm1d) for part in layer.leaves().values()):
        assert_array_equal(layer.forward(X, gn.Tape()), plain)


def test_repeated_steps_give_the_same_results_in_the_same_memory(layer):
    tape = gn.Tape()
    dy = np.ones_like(layer.forward(X))

    def step():
        tape.reset(step=0)
        return layer.forward(X, tape), layer.backward(dy, tape)

    first = step()
    numbers = [a.copy() for a in (*first, layer.store.grads)]
    second = step()
    for a, b in zip(first, second, strict=True):
        assert np.shares_memory(a, b)
    for a, b in zip((*second, layer.store.grads), numbers, strict=True):
        assert_array_equal(a, b)


def test_inputs_of_any_layout_give_the_same_result_and_are_not_written(layer):
    def step(x, dy):
        tape = gn.Tape()
        y = layer.forward(x, tape)
        dx = layer.backward(y if dy is None else dy, tape)
        return y, dx, layer.store.grads.copy()

    expected = step(X, None)
    for change in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=0)[::2], lambda a: a[::-1].copy()[::-1]):
        x, dy = change(X), change(expected[0])
        x.flags.writeable = dy.flags.writeable = False
        for a, b in zip(step(x, dy), expected, strict=True):
            assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_an_empty_batch_gives_zero_gradients(layer):
    tape = gn.Tape()
    layer.store.grads.fill(np.nan)
    y = layer.forward(X[:0], tape)
    dx = layer.backward(y, tape)
    assert len(y) == 0
    assert dx.shape == (0, 4)
    for leaf in layer.leaves().values():
        assert all((a == 0).all() for a in leaf.grads.values())


def test_output_shape_returns_the_shape_of_a_row(layer):
    assert layer.output_shape((4,)) == layer.forward(X).shape[1:]


def test_backward_without_a_forward_is_refused(layer):
    tape = gn.Tape()
    with pytest.raises(StateError, match="backward without a forward"):
        layer.backward(X[:, : len(layer.forward(X)[0])], tape)
    y = layer.forward(X, tape)
    layer.backward(y, tape)
    with pytest.raises(StateError, match="backward without a forward"):
        layer.backward(y, tape)
    layer.forward(X, tape)
    tape.reset()
    with pytest.raises(StateError, match="backward without a forward"):
        layer.backward(y, tape)


def test_backward_out_of_order_names_the_layer_to_call_first():
    first, second, tape = gn.Linear(4, 4), gn.Dropout(0.25), gn.Tape()
    y = second.forward(first.forward(X, tape), tape)
    with pytest.raises(StateError, match=r"Linear\(4, 4\): backward out of order.* Dropout\(0.25\)"):
        first.backward(y, tape)


@pytest.mark.parametrize("shape", [(6, 5), (4, 6), (5,), ()], ids=str)
def test_a_wrong_number_of_features_is_reported_with_layer_actual_and_expected_number(shape):
    for layer in (gn.Linear(4, 3), gn.MLP([4, 3])):
        with pytest.raises(ShapeError) as error:
            layer.forward(np.ones(shape, np.float32))
        assert all(part in str(error.value) for part in ("Linear(4, 3)", "4 features", str(shape)))


def test_a_gradient_of_another_shape_than_the_output_is_refused(layer):
    tape = gn.Tape()
    y = layer.forward(X, tape)
    with pytest.raises(ShapeError):
        layer.backward(y[:5], tape)


def test_an_input_of_another_dtype_than_the_parameters_is_refused():
    layer = gn.Linear(4, 3)
    with pytest.raises(DTypeError, match="x is float64, weight is float32"):
        layer.forward(X.astype(float))
    with pytest.raises(DTypeError, match="x is int64"):
        layer.forward(np.ones((2, 4), np.int64))
    with pytest.raises(DTypeError, match="float32 or float64, got float16"):
        layer.to(dtype="float16")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gn.Linear(0, 3), "in_features must be a whole number of at least 1, got 0"),
        (lambda: gn.Linear(4, -1), "out_features .* got -1"),
        (lambda: gn.Linear(4, 2.5), "out_features .* got 2.5"),
        (lambda: gn.Linear(4, 3, activation="rélu"), "unknown activation 'rélu'"),
        (lambda: gn.Linear(4, 3, init="he"), "init='he'"),
        (lambda: gn.Activation("softmax"), "unknown activation 'softmax'"),
        (lambda: gn.Dropout(1.1), "p must lie in .*1.1"),
        (lambda: gn.Dropout(-0.1), "p must lie in .*-0.1"),
        (lambda: gn.Dropout(float("nan")), "p must lie in .*nan"),
        (lambda: gn.Dropout("half"), "p must be a number, got 'half'"),
    ],
)
def test_invalid_arguments_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


class Scale(gn.Layer):
    """A user-defined layer: y = factor·x."""

    def __init__(self):
        super().__init__({"factor": np.array([2.0])})

    def forward(self, x, tape=None):
        if tape is not None:
            tape.save(self, x)
        return self.params["factor"] * x

    def backward(self, dy, tape, *, input_gradient=True):
        (x,) = tape.restore(self)
        self.grads["factor"] = [(dy * x).sum()]
        return self.params["factor"] * dy


def test_a_user_layer_trains_with_the_others():
    model = gn.Sequential(Scale(), gn.Linear(4, 3, rng=0))
    tape, optimizer = gn.Tape(), gn.SGD(0.1).attach(model)
    slope = float((X * model[1].params["weight"].sum(axis=1)).sum())
    y = model.forward(X, tape)
    model.backward(np.ones_like(y), tape)
    assert model.gradients()["0.factor"] == pytest.approx(slope, rel=1e-5)
    optimizer.step()
    assert model.parameters()["0.factor"] == pytest.approx(2 - 0.1 * slope, rel=1e-5)


@pytest.mark.parametrize("input_gradient", [True, False])
def test_a_backward_pass_reads_the_program_once(monkeypatch, input_gradient):
    model, tape = gn.Sequential(*(gn.Residual(gn.Linear(4, 4, rng=0)) for _ in range(20))), gn.Tape()
    model.backward(model.forward(X, tape), tape, input_gradient=False)  # the stack has now made its program
    dy = model.forward(X, tape)
    asked, program = [], Stack._program.fget
    monkeypatch.setattr(Stack, "_program", property(lambda stack: asked.append(stack) or program(stack)))
    model.backward(dy, tape, input_gradient=input_gradient)
    assert asked == [model, *reversed(model.layers)]


class Doubled(gn.Layer):
    """A user-defined layer whose backward pass omits the parameter `input_gradient`."""

    def forward(self, x, tape=None):
        return 2 * x

    def backward(self, dy, tape):
        """Double the gradient."""
        return 2 * dy


def test_a_backward_pass_may_omit_input_gradient():
    assert gn.check_gradients(Doubled(), (3, 4)).checked
    assert Doubled.backward.__doc__ == "Double the gradient."
    model = gn.Sequential(gn.Linear(4, 4, rng=0), Doubled(), gn.Residual(Doubled()), gn.Linear(4, 3, rng=1))
    assert gn.check_gradients(model, (3, 4)).checked


@pytest.mark.parametrize("method", ["forward", "backward"])
def test_a_layer_without_its_methods_names_them(method):
    with pytest.raises(NotImplementedError, match=f"^Own does not implement `{method}`; define this method"):
        getattr(type("Own", (gn.Layer,), {})(), method)(X, gn.Tape())


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("forward", lambda self, x: x, "(self, x, tape=None)"),
        ("forward", lambda self, x, *, tape=None: x, "(self, x, tape=None)"),
        ("backward", lambda self, dy: dy, "(self, dy, tape)"),
        ("backward", lambda self: None, "(self, dy, tape)"),
    ],
)
def test_a_method_without_its_parameters_is_refused_at_class_definition(name, method, expected):
    said = f"Own.{name} must take {expected}, as in help(gn.Layer), got {inspect.signature(method)}."
    with pytest.raises(ArgumentError, match=f"^{re.escape(said)}$"):
        type("Own", (gn.Layer,), {name: method})


@pytest.mark.parametrize(
    "method",
    [
        lambda *args: args[1],
        lambda self, *args, **given: args[0],
        lambda self, x, _=None: x,
        lambda self, x, context, mask, tape=None: x,
        staticmethod(lambda x, tape=None: x),
    ],
)
def test_a_method_may_have_other_names_and_more_parameters(method):
    assert type("Own", (Doubled,), {"forward": method})


def test_a_layer_may_also_derive_from_another_class_that_counts_its_subclasses():
    derived = []

    class Counted:
        def __init_subclass__(cls):
            super().__init_subclass__()
            derived.append(cls)

    class Own(gn.Layer, Counted):
        pass

    assert derived == [Own]


@pytest.mark.parametrize("use", [gn.Sequential, lambda layer: layer.device, gn.Adam().attach])
def test_a_layer_without_the_constructor_of_its_base_class_is_refused_with_the_missing_call(use):
    class Own(gn.Layer):
        def __init__(self):
            self.rate = 1

    with pytest.raises(UnknownAttributeError, match=r"^Own has no attribute '.*': call super\(\)\.__init__\(\.\.\.\)"):
        use(Own())

"""The normalisation layers: arguments, state, errors, and comparison with PyTorch."""

import norms
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn
from gpunet.errors import ArgumentError, ShapeError

RNG = np.random.default_rng(0)
X = (RNG.standard_normal((8, 4)) * 2 + 1).astype(np.float32)


def step(layer: gn.Layer, x: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, ...]:
    """Return y, dx and the gradients of the parameters, by name."""
    tape = gn.Tape()
    y = layer.forward(x, tape)
    dx = layer.backward(dy, tape)
    return y, dx, *(layer.grads[name] for name in layer.grads)


def test_inference_uses_the_running_statistics_without_changing_them():
    layer = gn.BatchNorm1d(4, momentum=0.5)
    assert_allclose(layer.forward(X), X / np.sqrt(1 + 1e-5), rtol=1e-6)  # they start with mean 0 and variance 1
    layer.forward(X, gn.Tape())
    mean, variance = 0.5 * X.mean(axis=0), 0.5 + 0.5 * X.var(axis=0, ddof=1)
    for _ in range(2):
        y = layer.forward(X[:1])  # a batch of one row, too
        assert_allclose(y, (X[:1] - mean) / np.sqrt(variance + 1e-5), rtol=1e-5, atol=1e-6)
    assert layer.buffers["num_batches_tracked"] == 1


def test_without_running_statistics_inference_uses_those_of_the_batch():
    layer = gn.BatchNorm1d(4, track_running_stats=False)
    expected = norms.from_channels(norms.normalise(norms.channels(X), 1e-5), X.shape)
    assert_allclose(layer.forward(X), expected, atol=1e-5)
    assert_array_equal(layer.forward(X, gn.Tape()), layer.forward(X))
    assert not layer.buffers


def test_channels_of_images_are_normalised_over_rows_and_pixels():
    x = RNG.standard_normal((3, 4, 5, 2)).astype(np.float32)
    y = gn.BatchNorm2d(4).forward(x, gn.Tape())
    assert_allclose(y.mean(axis=(0, 2, 3)), np.zeros(4), atol=1e-6)
    assert_allclose(y.var(axis=(0, 2, 3)), np.ones(4), rtol=1e-4)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(gn.BatchNorm1d(4), (1, 4)), (gn.BatchNorm1d(4), (1, 4, 1)), (gn.BatchNorm2d(4), (1, 4, 1, 1))],
    ids=str,
)
def test_training_on_a_single_value_per_channel_is_refused(layer, shape):
    with pytest.raises(
        ShapeError, match=r"BatchNorm.d\(4\): a single value per channel has no variance, got shape \(1, 4"
    ) as e:
        layer.forward(np.ones(shape, np.float32), gn.Tape())
    assert "train on batches of at least two rows" in str(e.value)
    layer.forward(np.ones(shape, np.float32))


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (gn.LayerNorm(4), (2, 5), r"LayerNorm\(4\): the last axes of the input must be \(4,\), got shape \(2, 5\)"),
        (gn.LayerNorm((3, 4)), (2, 4), r"LayerNorm\(\(3, 4\)\): .* must be \(3, 4\), got shape \(2, 4\)"),
        (gn.RMSNorm(4), (), r"RMSNorm\(4\): .* must be \(4,\), got shape \(\)"),
        (gn.BatchNorm1d(4), (2, 5), r"BatchNorm1d\(4\): a row .* must be \(4,\) or \(4, length\), got shape \(5,\)"),
        (gn.BatchNorm1d(4), (2, 4, 3, 3), r"must be \(4,\) or \(4, length\), got shape \(4, 3, 3\)"),
        (gn.BatchNorm1d(4), (4,), r"must be \(4,\) or \(4, length\), got shape \(\)"),
        (gn.BatchNorm2d(4), (2, 4), r"BatchNorm2d\(4\): .* must be \(4, height, width\), got shape \(4,\)"),
        (gn.BatchNorm2d(4), (2, 4, 0, 3), r"must be \(4, height, width\), got shape \(4, 0, 3\)"),
        (gn.GLU(), (2, 3), r"GLU\(-1, .*\): axis -1 of the input must have an even size, got rows of shape \(3,\)"),
        (gn.GLU(2), (2, 4), r"GLU\(2, .*\): axis 2 of the input must have an even size, got rows of shape \(4,\)"),
        (gn.SwiGLU(4, 3), (2, 5), "4 features"),
        (gn.Residual(gn.Linear(4, 3)), (2, 4), r"Residual\(Linear\(4, 3\)\): f_of_x has shape \(2, 3\), .* \(2, 4\)"),
    ],
    ids=str,
)
@pytest.mark.parametrize("tape", [True, False])
def test_a_wrong_shape_is_reported_with_layer_actual_and_expected_shape(layer, shape, message, tape):
    with pytest.raises(ShapeError, match=message):
        layer.forward(np.ones(shape, np.float32), gn.Tape() if tape else None)


def test_a_residual_refuses_layers_that_change_the_shape():
    with pytest.raises(ShapeError, match=r"Residual\(.*\): its layers turn shape \(4,\) into \(3,\)"):
        gn.Residual(gn.Linear(4, 3)).output_shape((4,))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gn.LayerNorm(0), "LayerNorm: normalized_shape must be a whole number of at least 1, got 0"),
        (lambda: gn.LayerNorm((3, 2.5)), "normalized_shape .* got 2.5"),
        (lambda: gn.LayerNorm(()), r"LayerNorm: normalized_shape must have at least one axis, got \(\)"),
        (lambda: gn.RMSNorm(4, eps=-1), "RMSNorm: eps must lie in .* got -1"),
        (lambda: gn.LayerNorm(4, eps="small"), "LayerNorm: eps .* got 'small'"),
        (lambda: gn.BatchNorm1d(0), "BatchNorm1d: num_features .* got 0"),
        (lambda: gn.BatchNorm2d(4, momentum=1.5), "BatchNorm2d: momentum must lie in .* got 1.5"),
        (lambda: gn.GLU(0), "GLU: dim must be a whole number other than 0"),
        (lambda: gn.GLU(activation="softmax"), "unknown activation 'softmax'"),
        (lambda: gn.SwiGLU(4, 0), "SwiGLU: out_features .* got 0"),
        (lambda: gn.GEGLU(0, 4), "GEGLU: in_features .* got 0"),
        (lambda: gn.Residual("linear"), "Residual takes layers, got 'linear'"),
    ],
)
def test_invalid_arguments_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


def test_a_residual_adds_its_input():
    inner = gn.Sequential(gn.Linear(4, 3, rng=0), gn.ReLU(), gn.Linear(3, 4, rng=1))
    plain, dy = inner.forward(X), RNG.standard_normal((8, 4)).astype(np.float32)
    tape = gn.Tape()
    inner.forward(X, tape)
    dx = inner.backward(dy, tape).copy()
    residual = gn.Residual(*inner.layers)
    y, dx_residual = step(residual, X, dy)
    assert_array_equal(y, X + plain)
    assert_array_equal(dx_residual, dy + dx)
    assert residual.backward(dy, with_forward(residual), input_gradient=False) is None
    assert_array_equal(gn.Residual().forward(X), X + X)


def with_forward(layer: gn.Layer) -> gn.Tape:
    tape = gn.Tape()
    layer.forward(X, tape)
    return tape


def test_swiglu_and_geglu_gate_one_half_of_a_linear_layer_by_the_other():
    for kind, gate in ((gn.SwiGLU, gn.SiLU()), (gn.GEGLU, gn.GELU())):
        layer = kind(4, 3, rng=0)
        z = X @ layer[0].params["weight"] + layer[0].params["bias"]
        assert_allclose(layer.forward(X), z[:, :3] * gate(np.ascontiguousarray(z[:, 3:])), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("layers", norms.LAYERS.values(), ids=norms.LAYERS)
def test_a_replayed_step_equals_an_eager_step_bitwise(layers):
    replayed, eager = (norms.trainer(layers, "cpu", executor).model.store for executor in ("numpy", "eager"))
    assert_array_equal(replayed.params, eager.params)
    assert_array_equal(replayed.buffers, eager.buffers)


TORCH = [
    ("LayerNorm", {"normalized_shape": 6}, (5, 6)),
    ("LayerNorm", {"normalized_shape": (4, 6), "eps": 1e-3}, (2, 3, 4, 6)),
    ("LayerNorm", {"normalized_shape": [6], "elementwise_affine": False}, (5, 6)),
    ("LayerNorm", {"normalized_shape": 6, "bias": False}, (2, 5, 6)),
    ("LayerNorm", {"normalized_shape": 6}, (0, 6)),
    ("RMSNorm", {"normalized_shape": 6}, (5, 6)),
    ("RMSNorm", {"normalized_shape": (4, 6), "eps": 1e-3, "elementwise_affine": False}, (3, 4, 6)),
    ("BatchNorm1d", {"num_features": 6}, (5, 6)),
    ("BatchNorm1d", {"num_features": 6, "eps": 1e-3, "momentum": 0.3}, (4, 6, 7)),
    ("BatchNorm1d", {"num_features": 6, "momentum": None, "affine": False}, (300, 6)),
    ("BatchNorm1d", {"num_features": 6, "track_running_stats": False}, (5, 6, 1)),
    ("BatchNorm1d", {"num_features": 6}, (0, 6)),
    ("BatchNorm2d", {"num_features": 3}, (4, 3, 5, 2)),
    ("BatchNorm2d", {"num_features": 3, "momentum": None}, (1, 3, 4, 4)),
    ("GLU", {}, (3, 4, 6)),
    ("GLU", {"dim": 1}, (3, 4, 5)),
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "options", "shape"), TORCH, ids=str)
def test_results_gradients_and_running_statistics_are_pytorchs(name, options, shape, dtype):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    rng = np.random.default_rng(0)
    ours = getattr(gn, name)(**options).to(dtype=dtype)
    theirs = getattr(torch.nn, name)(**options).to(getattr(torch, dtype))
    for key, parameter in theirs.named_parameters():
        ours.params[key] = rng.standard_normal(parameter.shape)
        parameter.data = torch.tensor(ours.params[key])
    tolerance = {"rtol": 1e-5, "atol": 1e-5} if dtype == "float32" else {"rtol": 1e-9, "atol": 1e-9}
    for _ in range(3):
        x = (rng.standard_normal(shape) * 2 + 1).astype(dtype)
        t = torch.tensor(x, requires_grad=True)
        expected = theirs(t)
        dy = rng.standard_normal(expected.shape).astype(dtype)
        theirs.zero_grad()
        expected.backward(torch.tensor(dy))
        y, dx, *grads = step(ours, x, dy)
        pairs = [(y, expected), (dx, t.grad), *zip(grads, (p.grad for p in theirs.parameters()), strict=True)]
        buffers = [
            (ours.buffers[key], a) for key, a in theirs.named_buffers() if key != "num_batches_tracked" or len(x)
        ]
        for a, b in [*pairs, *buffers, (ours.forward(x), theirs.eval()(t))]:
            assert_allclose(a, b.detach().numpy(), **tolerance)
        theirs.train()

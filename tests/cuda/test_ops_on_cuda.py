"""The operations and losses on a real GPU compute what they compute on the CPU."""

import numpy as np
import pytest
from tensor_cores import require_tensor_cores

import gpunet as gn
from gpunet.device import device_of
from gpunet.ops.activations import FUNCTIONS
from gpunet.tape import Tape

pytestmark = pytest.mark.cuda

rng = np.random.default_rng(0)
TOLERANCE = {np.float32: {"rtol": 2e-5, "atol": 2e-5}, np.float64: {"rtol": 1e-11, "atol": 1e-11}}


def assert_same(cuda, function, *arrays, dtype):
    """Check that a function of arrays gives on the GPU, within rounding, what it gives on the CPU."""
    host = [a.astype(dtype) if a.dtype.kind == "f" else a for a in arrays]
    expected, results = function(*host), function(*map(cuda.asarray, host))
    if not isinstance(expected, tuple):
        expected, results = (expected,), (results,)
    for a, b in zip(expected, results, strict=True):
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        np.testing.assert_allclose(cuda.to_host(b), a, **TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_matmul_and_its_gradient(cuda, dtype, transpose_a, transpose_b, batch):
    a, b, dy = (rng.normal(size=(*batch, *shape)) for shape in ((17, 33), (33, 5), (17, 5)))
    options = {"transpose_a": transpose_a, "transpose_b": transpose_b}
    a, b = (m.swapaxes(-1, -2) if turn else m for m, turn in ((a, transpose_a), (b, transpose_b)))
    assert_same(cuda, lambda a, b: gn.ops.matmul(a, b, **options), a, b, dtype=dtype)
    assert_same(cuda, lambda dy, a, b: gn.ops.matmul_backward(dy, a, b, **options), dy, a, b, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_linear_with_every_activation_and_its_gradient(cuda, name, dtype):
    x, weight, bias, dy = (rng.normal(size=shape) for shape in ((19, 7), (7, 11), (11,), (19, 11)))

    def forward_and_backward(x, weight, bias, dy):
        function = FUNCTIONS[name]()
        z = gn.ops.linear(x, weight, bias)
        y = gn.ops.linear(x, weight, bias, function)
        saved = y if function.saves == "output" else z
        return y, *gn.ops.linear_backward(dy, x, weight, saved, function)

    assert_same(cuda, forward_and_backward, x, weight, bias, dy, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_softmax_and_its_gradient(cuda, dtype):
    x, dy = 30 * rng.normal(size=(9, 13)), rng.normal(size=(9, 13))
    assert_same(cuda, gn.ops.softmax, x, dtype=dtype)
    assert_same(cuda, lambda x, dy: gn.ops.softmax_backward(dy, gn.ops.softmax(x)), x, dy, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "loss",
    [
        gn.CrossEntropyLoss(label_smoothing=0.1, class_weight=np.arange(1, 6)),
        gn.BCEWithLogitsLoss(),
        gn.MSELoss(),
        gn.HuberLoss(0.5),
        gn.L1Loss(),
        gn.QuantileLoss(0.9),
        gn.PoissonNLLLoss(),
        gn.PoissonNLLLoss(log_input=False, eps=9.0),
    ],
    ids=repr,
)
def test_every_loss_and_its_gradient(cuda, loss, dtype):
    prediction, weight = rng.normal(size=(21, 5)), rng.uniform(0.5, 2, size=21)
    target = rng.dirichlet(np.ones(5), size=21)
    labels = rng.integers(5, size=21)
    assert_same(cuda, loss.value_and_grad, prediction, target, dtype=dtype)
    assert_same(cuda, loss.value_and_grad, prediction, target, weight, dtype=dtype)
    if loss.task == "classification":
        assert_same(cuda, loss.value_and_grad, prediction, labels, weight, dtype=dtype)


def test_gather(cuda):
    rows = np.array([4, 0, 4, 2])
    assert_same(cuda, gn.ops.gather, rng.normal(size=(5, 3)), rows, dtype=np.float32)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_embedding_and_its_gradient(cuda, dtype):
    indices = rng.integers(0, 50, (30, 20))
    assert_same(cuda, gn.ops.embedding, indices, rng.normal(size=(50, 33)), dtype=dtype)
    dy = rng.normal(size=(30, 20, 33))
    assert_same(cuda, lambda dy, k: gn.ops.embedding_backward(dy, k, 50, 3), dy, indices, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_entity_embedding_and_its_gradients(cuda, dtype):
    x = np.column_stack([rng.normal(size=(700, 3)), rng.integers(-1, 6, 700), rng.integers(0, 50, 700)])
    tables, dy = [rng.normal(size=(5, 4)), rng.normal(size=(50, 33))], rng.normal(size=(700, 40))
    assert_same(cuda, lambda x, *tables: gn.ops.entity_embedding(x, tables), x, *tables, dtype=dtype)

    def backward(dy, x, *dtables):
        return gn.ops.entity_embedding_backward(dy, x, dtables), *dtables

    assert_same(cuda, backward, dy, x, *tables, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cosine_similarity_its_gradient_and_its_loss(cuda, dtype):
    dy, a, b = rng.normal(size=300), rng.normal(size=(300, 33)), rng.normal(size=(300, 33))
    a[7] = 0
    assert_same(cuda, gn.ops.cosine_similarity, a, b, dtype=dtype)
    assert_same(cuda, lambda dy, a, b: gn.ops.cosine_similarity_backward(dy, a, b, eps=0.1), dy, a, b, dtype=dtype)
    loss, target, weight = gn.CosineEmbeddingLoss(0.1), np.sign(dy), rng.uniform(size=300)
    assert_same(cuda, loss.value_and_grad, rng.normal(size=(300, 2, 33)), target, weight, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_recurrent_layers_and_their_gradients(cuda, dtype):
    dh, x = rng.normal(size=(5, 19, 13)), rng.normal(size=(5, 19, 7))

    def weights(gates):
        return [rng.normal(size=shape) / 4 for shape in ((7, gates * 13), (13, gates * 13), (gates * 13,))]

    def rnn(dh, x, weight_ih, weight_hh, bias):
        h = gn.ops.rnn(x, weight_ih, weight_hh, bias)
        return h, *gn.ops.rnn_backward(dh, x, h, weight_ih, weight_hh)

    def lstm(dh, x, weight_ih, weight_hh, bias):
        states = gn.ops.lstm(x, weight_ih, weight_hh, bias)
        return states[0], *gn.ops.lstm_backward(dh, x, *states, weight_ih, weight_hh)

    for function, gates in ((rnn, 1), (lstm, 4)):
        for gradient in (dh, dh[-1]):
            assert_same(cuda, function, gradient, x, *weights(gates), dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("causal", [False, True])
def test_attention_and_its_gradient(cuda, causal, dtype):
    dy, q, k, v = (rng.normal(size=(3, 2, n, m)) for n, m in ((37, 9), (37, 8), (65, 8), (65, 9)))

    def forward_and_backward(dy, q, k, v, mask):
        weights = gn.array_module(q).empty((3, 2, 37, 65), q.dtype)
        y = gn.ops.scaled_dot_product_attention(q, k, v, mask, causal, weights=weights)
        return y, *gn.ops.scaled_dot_product_attention_backward(dy, q, k, v, weights)

    for mask in (rng.random((3, 1, 1, 65)) < 0.5, rng.normal(size=(2, 37, 65))):
        assert_same(cuda, forward_and_backward, dy, q, k, v, mask, dtype=dtype)


def test_dropout_has_the_mask_of_the_cpu(cuda):
    x = np.ones((37, 11), np.float32)
    masks = [gn.ops.dropout(device.asarray(x), 0.4, Tape(seed=3))[1] for device in (gn.get_device("cpu"), cuda)]
    np.testing.assert_array_equal(cuda.to_host(masks[1]), masks[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1), ((2, 1), (0, 2), (1, 2), 2)], ids=str)
def test_convolution_and_its_gradient(cuda, sizes, dtype):
    x, weight, bias = (rng.normal(size=shape) for shape in ((5, 4, 7, 6), (6, 4 // sizes[-1], 3, 2), (6,)))

    def forward_and_backward(x, weight, bias):
        y = gn.ops.conv2d(x, weight, bias, *sizes, activation="relu")
        return y, *gn.ops.conv2d_backward(y, x, weight, *sizes, saved=y, activation="relu")

    assert_same(cuda, forward_and_backward, x, weight, bias, dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sizes", [(2,), ((3, 2), 1, 1)], ids=str)
def test_every_pooling_and_its_gradient(cuda, sizes, dtype):
    def forward_and_backward(x):
        winners = gn.array_module(x).empty(gn.ops.max_pool2d(x, *sizes).shape, np.int32)
        largest, mean = gn.ops.max_pool2d(x, *sizes, winners=winners), gn.ops.avg_pool2d(x, *sizes)
        gradients = gn.ops.max_pool2d_backward(largest, winners, x.shape, *sizes)
        whole = gn.ops.global_avg_pool2d(x)
        return (
            largest, winners, gradients, mean, gn.ops.avg_pool2d_backward(mean, x.shape, *sizes),
            whole, gn.ops.global_avg_pool2d_backward(whole, x.shape),
        )  # fmt: skip

    assert_same(cuda, forward_and_backward, rng.normal(size=(5, 4, 7, 6)), dtype=dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: gn.LayerNorm(33), (300, 33)),
        (lambda: gn.RMSNorm((4, 8)), (40, 4, 8)),
        (lambda: gn.BatchNorm1d(33), (300, 33)),
        (lambda: gn.BatchNorm2d(5, momentum=None), (40, 5, 7, 3)),
        (lambda: gn.GLU(activation="gelu"), (40, 64)),
    ],
    ids=["layer norm", "rms norm", "batch norm", "batch norm of images", "glu"],
)
def test_norms_and_gates_and_their_gradients(cuda, make, shape, dtype):
    def step(x):
        layer, tape = make().to(device_of(x), dtype=dtype), Tape()
        y = layer.forward(x, tape)
        dx = layer.backward((x * x)[..., : y.shape[-1]], tape)
        return y, dx, *layer.grads.values(), *layer.buffers.values()

    assert_same(cuda, step, rng.normal(size=shape), dtype=dtype)


@pytest.mark.parametrize("draw", ["standard_normal", "random"])
def test_3xtf32_has_at_most_twice_the_error_of_a_float32_product(cuda, draw):
    require_tensor_cores(cuda, "mma3")
    a, b = getattr(np.random.default_rng(0), draw)((2, 256, 256)).astype(np.float32)
    a, b = np.tile(a, (1, 16)), np.tile(b, (16, 1))
    expected = a.astype(np.float64) @ b.astype(np.float64)
    errors = {}
    for kernel in ("tiled", "mma3"):
        c = gn.ops.matmul(cuda.asarray(a), cuda.asarray(b), kernel=kernel)
        errors[kernel] = np.linalg.norm(cuda.to_host(c) - expected)
    assert errors["mma3"] <= 2 * errors["tiled"], errors


@pytest.mark.parametrize("kernel", ["mma", "mma3"])
def test_tensor_cores_treat_infinity_and_nan_as_float_arithmetic_does(cuda, kernel):
    require_tensor_cores(cuda, kernel)
    a, b = np.random.default_rng(0).standard_normal((2, 64, 64), np.float32)
    a[1:4, 7] = np.inf, -np.inf, np.nan
    with np.errstate(invalid="ignore"):
        expected = a @ b
    c = cuda.to_host(gn.ops.matmul(cuda.asarray(a), cuda.asarray(b), kernel=kernel))
    np.testing.assert_allclose(c, expected, atol=1e-4 if kernel == "mma3" else 0.1)

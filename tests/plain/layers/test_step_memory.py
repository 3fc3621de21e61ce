"""A training step on a tape allocates nothing: every array is allocated in the first step and reused."""

import tracemalloc
from collections.abc import Callable, Iterator

import numpy as np
import pytest

import gpunet as gn
from gpunet.ops.activations import FUNCTIONS

PYTHON_OBJECTS = 2048
"""Maximum bytes of views, tuples and frames that are alive at the same time."""


@pytest.fixture(autouse=True)
def _small_casting_buffers() -> Iterator[None]:
    """Shrink the buffers of NumPy's own loops (8192 elements wide by default), which are no arrays of the step."""
    before = np.setbufsize(16)
    yield
    np.setbufsize(before)


def training_step(
    model: gn.Model,
    loss: gn.losses.Loss,
    optimizer: gn.optimizers.Optimizer,
    batch: int,
    weighted: bool = False,
    row: tuple[int, ...] | None = None,
) -> tuple[Callable[[], None], np.ndarray]:
    """Return a function that does a step on a random batch, and the batch."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *(row or (model[0].in_features,)))).astype(np.float32)
    outputs = model.output_shape(x.shape[1:])[0]
    weight = np.ones(batch, np.float32) if weighted else None
    if loss.task == "classification":
        target = rng.integers(0, outputs, batch)
    else:
        target = rng.uniform(size=(batch, outputs)).astype(np.float32)
    tape = gn.Tape()
    optimizer.attach(model)

    def step() -> None:
        tape.reset()
        _, gradient = loss.value_and_grad(model.forward(x, tape), target, weight, tape)
        model.backward(gradient, tape, input_gradient=False)
        optimizer.step()

    return step, x


def peak_of(step: Callable[[], None]) -> int:
    """Return the peak of the bytes allocated during a step, after two warm-up steps.

    It is the minimum of three steps: other threads, such as tqdm's, and the garbage collector are traced too.
    """
    step()
    tracemalloc.start()
    try:
        step()
        peaks = []
        for _ in range(3):
            before, _ = tracemalloc.get_traced_memory()
            tracemalloc.reset_peak()
            step()
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
        return min(peaks)
    finally:
        tracemalloc.stop()


def assert_allocates_nothing(step: Callable[[], None], x: np.ndarray) -> None:
    assert peak_of(step) <= x[0].nbytes + PYTHON_OBJECTS


@pytest.mark.parametrize(("sizes", "batch"), [([64, 64, 10], 32), ([784, 128, 10], 128), ([64, 64, 10], 512)])
@pytest.mark.parametrize("activation", [*FUNCTIONS])
def test_with_every_activation(activation, sizes, batch):
    model = gn.MLP(sizes, activation=activation)
    assert_allocates_nothing(*training_step(model, gn.CrossEntropyLoss(), gn.Adam(), batch))


@pytest.mark.parametrize("activation", [gn.Tanh(), gn.GELU()], ids=repr)
def test_with_dropout_class_weights_row_weights_and_smoothing(activation):
    model = gn.Sequential(
        gn.Linear(64, 64),
        activation,
        gn.Dropout(0.5),
        gn.Linear(64, 64),
        gn.Dropout(0.1),
        activation,
        gn.Linear(64, 10),
    )
    loss = gn.CrossEntropyLoss(label_smoothing=0.1, class_weight=np.arange(1, 11))
    assert_allocates_nothing(*training_step(model, loss, gn.AdamW(), 512, weighted=True))


@pytest.mark.parametrize(
    "layer",
    [
        gn.LayerNorm(64),
        gn.RMSNorm(64),
        gn.BatchNorm1d(64),
        gn.SwiGLU(64, 64),
        gn.Residual(gn.Linear(64, 64), gn.ReLU(), gn.Linear(64, 64)),
    ],
    ids=repr,
)
def test_with_norms_gates_and_residuals(layer):
    model = gn.Sequential(gn.Linear(64, 64), layer, gn.Linear(64, 10))
    assert_allocates_nothing(*training_step(model, gn.CrossEntropyLoss(), gn.Adam(), 512))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "loss", [gn.MSELoss(), gn.HuberLoss(), gn.L1Loss(), gn.PoissonNLLLoss(), gn.BCEWithLogitsLoss()], ids=repr
)
def test_with_every_elementwise_loss(loss, weighted):
    assert_allocates_nothing(*training_step(gn.MLP([64, 32, 8]), loss, gn.Adam(), 512, weighted))


@pytest.mark.parametrize(
    "optimizer",
    [
        gn.SGD(0.1),
        gn.SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.1, clip_norm=1, clip_value=1),
        gn.Adam(weight_decay=0.1, clip_norm=1),
        gn.AdamW(clip_value=1),
        gn.RMSprop(momentum=0.9, weight_decay=0.1),
    ],
    ids=repr,
)
def test_with_every_optimizer(optimizer):
    assert_allocates_nothing(*training_step(gn.MLP([784, 64, 10]), gn.CrossEntropyLoss(), optimizer, 128))


def test_with_convolutions_and_every_pooling():
    model = gn.Sequential(
        gn.Conv2d(2, 8, 3, padding=1),
        gn.ReLU(),
        gn.MaxPool2d(3, 2, 1),
        gn.Conv2d(8, 8, 3, groups=2),
        gn.GELU(),
        gn.AvgPool2d(2, 1),
        gn.Conv2d(8, 16, 1),
        gn.GlobalAvgPool2d(),
        gn.Linear(16, 10),
    )
    assert_allocates_nothing(*training_step(model, gn.CrossEntropyLoss(), gn.Adam(), 8, row=(2, 32, 32)))


def test_a_temporary_array_of_the_batch_would_be_noticed():
    squared = gn.CustomActivation(lambda z: z * z, lambda z: 2 * z)
    step, x = training_step(
        gn.Sequential(gn.Linear(64, 64), squared, gn.Linear(64, 10)), gn.CrossEntropyLoss(), gn.Adam(), 32
    )
    assert peak_of(step) > x[0].nbytes + PYTHON_OBJECTS


@pytest.mark.parametrize("causal", [False, True])
def test_with_attention_and_logits_at_each_position(causal):
    model = gn.Sequential(
        gn.SinusoidalPositions(), gn.TransformerEncoderLayer(16, 4, 32, 0.1, "gelu", causal=causal), gn.Linear(16, 10)
    )
    rng = np.random.default_rng(0)
    x, labels, weight = rng.standard_normal((64, 24, 16), np.float32), rng.integers(0, 10, (64, 24)), np.ones(64, "f")
    tape, loss, optimizer = gn.Tape(), gn.CrossEntropyLoss(), gn.Adam().attach(model)

    def step() -> None:
        tape.reset()
        _, gradient = loss.value_and_grad(model.forward(x, tape), labels, weight, tape)
        model.backward(gradient, tape, input_gradient=False)
        optimizer.step()

    assert_allocates_nothing(step, x)

"""The native executor follows the NumPy one, and gives the same bits however its steps are split into calls."""

import itertools
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from every_layer import EXAMPLES, LABELS, example
from native_steps import X, Y, assert_follows, assert_same_bits, bits, fit, make, spied_steps
from own_layers import Scale
from problems import classification

import gpunet as gn
from gpunet.errors import DataError
from gpunet.native import program
from gpunet.native.threads import available_cores
from gpunet.ops.activations import FUNCTIONS, ActivationFunction, ReLU
from gpunet.optimizers import Optimizer

pytestmark = pytest.mark.usefixtures("native_cpu")

DTYPES = ["float32", "float64"]
WEIGHT = np.linspace(0, 2, 80)

OPTIMIZERS = {
    "sgd": lambda: gn.SGD(0.05),
    "momentum": lambda: gn.SGD(0.05, momentum=0.9, weight_decay=0.01),
    "nesterov": lambda: gn.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda: gn.Adam(0.01, weight_decay=0.01),
    "adamw": lambda: gn.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: gn.RMSprop(0.001, weight_decay=0.01),
    "rmsprop, momentum": lambda: gn.RMSprop(0.001, momentum=0.9),
    "norm clipped": lambda: gn.SGD(0.05, momentum=0.9, clip_norm=0.5),
    "values clipped": lambda: gn.AdamW(0.01, clip_value=0.01),
    "both clipped": lambda: gn.SGD(0.05, clip_norm=0.3, clip_value=0.1),
}

SCHEDULES = {
    "step": lambda: gn.StepLR(0.05, 7, 0.5),
    "cosine": lambda: gn.CosineLR(0.05, 60),
    "warmup": lambda: gn.LinearWarmup(gn.StepLR(0.05, 9), 10),
    "plateau": lambda: gn.ReduceLROnPlateau(0.05, 0.5, patience=0, threshold=0.5),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fifty_steps_of_every_optimizer_follow_numpy_with_dropout_row_weights_and_a_smaller_last_batch(
    optimizer, dtype
):
    pair = [make(executor, OPTIMIZERS[optimizer](), dtype=dtype, dropout=0.2) for executor in ("native", "numpy")]
    for one in pair:
        fit(one, epochs=10, sample_weight=WEIGHT)
    assert pair[0].optimizer.steps == 50
    assert_follows(*pair)


@pytest.mark.parametrize("optimizer", [gn.Adam(1e-4, eps=0), gn.RMSprop(1e-4, eps=0)], ids=repr)
def test_with_eps_zero_the_weights_of_a_feature_that_is_always_zero_do_not_change(optimizer):
    one = make("native", optimizer, activation="tanh")
    before = one.model[0].params["weight"].copy()
    fit(one, np.where(np.arange(5) == 2, 0, X), epochs=2)
    after = one.model[0].params["weight"]
    np.testing.assert_array_equal((after == before).all(axis=1), np.arange(5) == 2)
    assert np.isfinite(one.model.store.params).all()


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_gives_a_run_of_many_steps_the_learning_rates_of_single_steps(schedule):
    pair = [make(executor, gn.SGD(SCHEDULES[schedule]())) for executor in ("native", "numpy")]
    for one in pair:
        fit(one, epochs=10)
    assert pair[0].history["lr"] == pair[1].history["lr"]
    assert len(set(pair[0].history["lr"])) > 1
    assert_follows(*pair)


LOSSES = {
    "labels": (gn.CrossEntropyLoss, 3, Y),
    "soft labels": (gn.CrossEntropyLoss, 3, np.random.default_rng(1).dirichlet([1, 1, 1], 80)),
    "smoothed labels": (lambda: gn.CrossEntropyLoss(0.1), 3, Y),
    "weighted classes": (lambda: gn.CrossEntropyLoss(class_weight=[1, 2, 3]), 3, Y),
    "weighted, smoothed": (lambda: gn.CrossEntropyLoss(0.2, class_weight=[0, 2, 3]), 3, Y),
    "weighted soft labels": (lambda: gn.CrossEntropyLoss(class_weight=[1, 2, 3]), 3, np.eye(3)[Y] * 0.9 + 1 / 30),
    "many labels": (gn.CrossEntropyLoss, 20, 5 * Y),
    "many soft labels": (gn.CrossEntropyLoss, 20, np.random.default_rng(1).dirichlet([0.2] * 20, 80)),
    "squares": (gn.MSELoss, 2, X[:, :2]),
    "huber": (lambda: gn.HuberLoss(0.5), 1, X[:, 0]),
    "absolute": (gn.L1Loss, 1, X[:, 0]),
    "quantile": (lambda: gn.QuantileLoss(0.9), 1, X[:, 0]),
    "counts": (gn.PoissonNLLLoss, 2, np.stack([Y, Y + 1], axis=1)),
    "weighted answers": (lambda: gn.BCEWithLogitsLoss(class_weight="balanced"), 1, Y > 0),
    "balanced classes": (lambda: gn.CrossEntropyLoss(class_weight="balanced"), 3, Y),
    "binary": (gn.BCEWithLogitsLoss, 2, np.stack([Y > 0, Y > 1], axis=1)),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["alike", "weighted"])
@pytest.mark.parametrize("loss", LOSSES)
def test_fifty_steps_of_every_loss_follow_numpy(loss, weight, dtype):
    make_loss, outputs, y = LOSSES[loss]
    pair = [make(executor, sizes=(5, 8, outputs), loss=make_loss(), dtype=dtype) for executor in ("native", "numpy")]
    for one in pair:
        fit(one, y=y, epochs=10, sample_weight=weight)
    assert_follows(*pair)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("activation", FUNCTIONS)
def test_fifty_steps_of_every_activation_follow_numpy(activation, dtype):
    pair = [make(executor, activation=activation, dtype=dtype) for executor in ("native", "numpy")]
    for one in pair:
        fit(one, epochs=10)
    assert not [node for node in pair[0].explain().nodes if node.choice == "NumPy"]
    assert_follows(*pair)


def cube(*cuda):
    return gn.CustomActivation(lambda z: z * z * z / 8, lambda z: 3 * z * z / 8, cuda or None)


@pytest.mark.parametrize("dtype", DTYPES)
def test_user_cuda_expressions_are_compiled_and_follow_numpy(dtype):
    own = cube("z * z * z / T(8)", "3 * z * z / T(8)")
    pair = [make(executor, activation=own, dtype=dtype) for executor in ("native", "numpy")]
    for one in pair:
        fit(one, epochs=10)
    nodes = pair[0].explain().nodes
    assert [node.choice for node in nodes if node.kernel == "bias_activation_forward"] == ["1 task by rows"] * 3
    assert not [node for node in nodes if node.choice == "NumPy"]
    assert_follows(*pair)


def test_invalid_cuda_expressions_fall_back_to_numpy_with_the_compilers_message():
    pair = [make(executor, activation=cube("z * no_such_name", "z")) for executor in ("native", "numpy")]
    with pytest.warns(UserWarning, match="do not compile as C") as warned:
        fit(pair[0], epochs=10)
    assert any("no_such_name" in str(warning.message) for warning in warned)
    fit(pair[1], epochs=10)
    assert_follows(*pair)


@pytest.mark.parametrize("batch_size", [1, 2, 31, 33, 64, 65, 1024, 1025, 1500])
def test_batches_of_every_division_into_chunks_follow_numpy_on_several_threads(batch_size, several_threads):
    x, y = classification(max(3 * batch_size // 2, 40), seed=1)
    several_threads(3)
    pair = [make(executor, dropout=0.2) for executor in ("native", "numpy")]
    for one in pair:
        fit(one, x, y, epochs=2, batch_size=batch_size)
    assert_follows(*pair)


class Gram(gn.Layer):
    """A layer that returns x·xᵀ: a previous node computes the second operand of the product row by row."""

    def forward(self, x, tape=None):
        if tape is not None:
            tape.save(self, x)
        return gn.ops.linear(x, x.T, tape=tape)

    def backward(self, dy, tape, *, input_gradient=True):
        (x,) = tape.restore(self)
        return gn.ops.linear(dy, x) + gn.ops.linear(dy.T, x)


def test_a_product_waits_for_all_rows_of_its_second_operand():
    x, y = classification(96, seed=1)[0], np.random.default_rng(0).standard_normal((96, 96))
    pair = [
        gn.Trainer(
            gn.Sequential(gn.Linear(5, 8, activation="relu", rng=0), Gram()),
            loss=gn.MSELoss(),
            optimizer=gn.SGD(0.01),
            executor=executor,
        )
        for executor in ("native", "numpy")
    ]
    for _, one in itertools.product(range(5), pair):
        one.step(x, y)
    assert_follows(*pair)


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_step_with_layers_without_kernels_follows_numpy(name):
    pair = []
    for executor in ("native", "numpy"):
        model, x = example(name)
        pair.append(gn.Trainer(model, optimizer=gn.SGD(0.05, momentum=0.5), executor=executor))
        pair[-1].fit(x, LABELS, epochs=5, batch_size=8)
    assert_follows(*pair)


class Strided(Scale):
    """A layer that multiplies every other column of x by a part of its weights: neither operand is contiguous."""

    def __init__(self, features):
        gn.Layer.__init__(self, {"weight": np.linspace(-1, 1, 10 * features).reshape(features, 10)})

    def forward(self, x, tape=None):
        x = x[:, ::2]
        if tape is not None:
            tape.save(self, x)
        return gn.ops.linear(x, self.params["weight"][:, :5], tape=tape)

    def backward(self, dy, tape, *, input_gradient=True):
        (x,) = tape.restore(self)
        self.grads["weight"][:, :5] = gn.ops.linear(x.T, dy)


class Part(Strided):
    """A layer that multiplies x by a part of its weights: only the second operand is not contiguous."""

    def forward(self, x, tape=None):
        if tape is not None:
            tape.save(self, x)
        return gn.ops.linear(x, self.params["weight"][:, :5], tape=tape)


@pytest.mark.parametrize("layer", [lambda: Strided(3), lambda: Part(5)], ids=["strided", "part of the weights"])
def test_products_of_operands_with_gaps_in_memory_follow_numpy(layer):
    pair = [
        gn.Trainer(gn.Sequential(layer(), gn.Linear(5, 3, rng=0)), optimizer=gn.SGD(0.05), executor=executor)
        for executor in ("native", "numpy")
    ]
    for one in pair:
        fit(one, epochs=10)
    assert_follows(*pair)


class Half(ActivationFunction):
    """A user-defined activation in array code."""

    name = "half"

    def forward(self, z, out, xp, tape):
        xp.multiply(z, 0.5, out=out)

    def backward(self, dy, saved, out, xp, tape):
        xp.multiply(dy, 0.5, out=out)


class Other(ReLU):
    """A user-defined activation that overrides the methods of a built-in one."""

    forward, backward = Half.forward, Half.backward


@pytest.mark.parametrize("kind", [Half, Other])
def test_a_user_activation_class_is_called(kind):
    pair = [make(executor, activation=kind()) for executor in ("auto", "native", "numpy")]
    for one in pair:
        fit(one, epochs=10)
    assert_follows(pair[0], pair[2])
    assert_follows(pair[1], pair[2])
    assert "native: " in pair[0].explain().executor


class Signs(Optimizer):
    """A user-defined optimizer."""

    def update_block(self, numbers, p, g, t, u, *slots):
        (lr,) = numbers
        np.sign(g, out=t)
        np.multiply(t, lr, out=t)
        np.subtract(p, t, out=p)


def test_user_layers_and_optimizers_run_between_native_nodes():
    pair = [
        gn.Trainer(
            gn.Sequential(gn.Linear(5, 8, activation="tanh", rng=0), Scale(8), gn.Dropout(0.2), gn.Linear(8, 3, rng=1)),
            optimizer=Signs(1e-3),
            executor=executor,
        )
        for executor in ("native", "numpy")
    ]
    for one in pair:
        fit(one, epochs=10)
    assert_follows(*pair)


class Watch(gn.Callback):
    """A callback that acts on each step, so that each step is a separate call."""

    def on_step_end(self, trainer, rows):
        pass


def test_a_run_of_many_steps_a_callback_on_each_and_a_progress_bar_give_the_same_bits(capsys):
    trainers = []
    for callbacks in ([], [Watch()], [gn.ProgressBar()], [gn.ProgressBar(), Watch()]):
        trainers.append(make("native", dropout=0.2, callbacks=callbacks))
        with spied_steps() as calls:
            fit(trainers[-1], epochs=10)
        assert sum(calls) == 50
        assert (max(calls) == 1) == any(isinstance(callback, Watch) for callback in callbacks)
        assert_same_bits(trainers[0], trainers[-1])


def test_single_steps_in_a_loop_equal_fit_bitwise():
    whole, single = make("native", gn.AdamW(gn.CosineLR(0.01, 60)), dropout=0.2), None
    fit(whole, epochs=4, shuffle=False)
    single = make("native", gn.AdamW(gn.CosineLR(0.01, 60)), dropout=0.2)
    for _, start in itertools.product(range(4), range(0, 80, 17)):
        single.step(X[start : start + 17], Y[start : start + 17])
    np.testing.assert_array_equal(bits(whole)[0], bits(single)[0])


MOST_TASKS = 9
"""Maximum tasks of a phase in the step below: nine chunks of at most 512 rows."""


def test_all_numbers_of_threads_give_the_same_bits(several_threads):
    x = np.random.default_rng(0).standard_normal((9000, 300)).astype(np.float32)
    y = np.arange(9000) % 10
    trainers = []
    for threads in (1, 2, 3, 8):
        several_threads(threads)
        trainers.append(make("native", sizes=(300, 64, 10), dropout=0.2, seed=1))
        fit(trainers[-1], x, y, epochs=2, batch_size=4200)
        assert f"threads: {min(threads, MOST_TASKS)}" in str(trainers[-1].explain())
        assert_same_bits(trainers[0], trainers[-1])


TRAINING = """
import hashlib, sys
import numpy as np
import gpunet as gn
x, y = np.random.default_rng(0).standard_normal((2500, 300)).astype(np.float32), np.arange(2500) % 10
one = gn.Trainer(gn.MLP([300, 64, 10], dropout=0.2, seed=0), executor="native")
one.fit(x, y, epochs=2, batch_size=1100)
print(one.explain().executor.split("; ")[1], hashlib.sha256(one.model.store.params).hexdigest())
"""


def test_the_number_of_threads_does_not_change_the_bits():
    said = {}
    for threads in ("1", "2"):
        environment = {**os.environ, "GPUNET_THREADS": threads}
        done = subprocess.run([sys.executable, "-c", TRAINING], capture_output=True, text=True, env=environment)
        said[threads] = done.stdout.rsplit(maxsplit=1)
        assert done.returncode == 0, done.stderr
    assert said["1"][0] == "threads: 1"
    assert said["2"][0] == f"threads: {min(2, available_cores())}"
    assert said["1"][1] == said["2"][1]


def test_a_training_interrupted_within_the_epoch_resumes_bitwise(tmp_path):
    class Interrupt(gn.Callback):
        def on_step_end(self, trainer, rows):
            if trainer.optimizer.steps == 8:
                trainer.stop("interrupted")

    whole = make("native", gn.AdamW(gn.CosineLR(0.01, 60)), dropout=0.2)
    fit(whole, epochs=5)
    first = make("native", gn.AdamW(gn.CosineLR(0.01, 60)), dropout=0.2, callbacks=[Interrupt()])
    fit(first, epochs=5)
    assert (first.epoch, first.position, first.history.stopped) == (1, 51, "interrupted")
    first.save(tmp_path / "training")
    resumed = gn.Trainer.resume(tmp_path / "training")
    assert resumed.executor == "native"
    fit(resumed, epochs=4)
    assert_same_bits(whole, resumed)
    first.callbacks = []
    fit(first, epochs=4)
    assert_same_bits(whole, first)


def test_non_finite_gradients_within_a_run_of_steps_are_skipped_and_the_first_is_named():
    huge = X.copy()
    huge[[25, 52]] = 3e38
    pair = [make(executor, activation="relu") for executor in ("native", "numpy")]
    for one in pair:
        fit(one, epochs=2, batch_size=8, shuffle=False)
        warns = pytest.warns(UserWarning, match="epoch 3: from step 24 of the training on, gradients were not finite")
        with warns, spied_steps() as calls:
            fit(one, huge, epochs=1, batch_size=8, shuffle=False)
        assert one.optimizer.first_skipped == 24
        assert max(calls) > 4
        fit(one, epochs=1, batch_size=8)
    assert np.isfinite(bits(pair[0])[0]).all()
    assert_follows(*pair)


NAN, INFINITE = (np.where(np.arange(80)[:, None] == 7, value, X).astype(np.float32) for value in (np.nan, np.inf))
ZEROS = np.zeros(80, np.float32)

EXTREMES = {
    "NaN": (NAN, Y, None, gn.CrossEntropyLoss),
    "infinity": (INFINITE, Y, None, gn.CrossEntropyLoss),
    "weights that are all zero": (X, Y, ZEROS, gn.CrossEntropyLoss),
    "weights that are all NaN": (X, Y, ZEROS + np.nan, gn.CrossEntropyLoss),
    "negative weights": (X, Y, ZEROS - 1, gn.CrossEntropyLoss),
    "labels of a class with weight zero": (X, 0 * Y, None, lambda: gn.CrossEntropyLoss(class_weight=[0, 1, 1])),
    "label smoothing of 1": (X, Y, None, lambda: gn.CrossEntropyLoss(1.0)),
    "logits that overflow": (1e30 * X, Y, None, gn.CrossEntropyLoss),
    "squared errors with weight zero": (X, X[:, :3], ZEROS, gn.MSELoss),
    "squared errors that overflow": (1e20 * X, X[:, :3], None, gn.MSELoss),
    "binary logits that overflow": (1e20 * X, np.eye(3, dtype=np.float32)[Y], None, gn.BCEWithLogitsLoss),
}


@pytest.mark.parametrize("extreme", EXTREMES)
def test_extreme_values_give_the_same_loss_and_skipped_steps_as_numpy(extreme):
    x, y, *weight, loss = EXTREMES[extreme]
    weight = [a for a in weight if a is not None]
    pair = [make(executor, gn.SGD(0.1), loss=loss()) for executor in ("native", "numpy")]
    losses = [[float(one.step(x, y, *weight)) for _ in range(3)] for one in pair]
    np.testing.assert_allclose(*losses, rtol=1e-5)
    assert pair[0].optimizer.first_skipped == pair[1].optimizer.first_skipped
    assert_follows(*pair)


@pytest.mark.parametrize("clip_norm", [None, 1.0])
def test_finite_gradients_whose_squares_overflow_are_treated_as_by_numpy(clip_norm):
    x, y = 1e18 * X[:, :2], 1e4 * X[:, 2:3]
    pair = [
        make(executor, gn.SGD(2e-38, clip_norm=clip_norm), sizes=(2, 1), loss=gn.MSELoss())
        for executor in ("native", "numpy")
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for one in pair:
            for _ in range(3):
                one.step(x, y)
    assert [one.optimizer.first_skipped for one in pair] == [None, None]
    assert_follows(*pair, history=False)


def test_labels_out_of_range_are_refused_and_change_nothing():
    for labels in (np.where(Y == 2, 3, Y), np.where(Y == 2, -1, Y), np.where(Y == 2, 255, Y).astype(np.uint8)):
        one = make("native")
        one.step(X, Y.astype(labels.dtype))
        before = bits(one)
        for _ in range(2):
            with pytest.raises(DataError, match=r"labels must lie in 0 \.\. 2"):
                one.step(X, labels)
        for a, b in zip(before, bits(one), strict=True):
            np.testing.assert_array_equal(a, b)


def test_small_nets_run_on_one_thread_and_large_ones_on_several(monkeypatch):
    monkeypatch.setattr(program, "thread_count", lambda: 2)
    for sizes, threads in (((5, 8, 3), 1), ((5, 1500, 300, 3), 2)):
        one = make("native", sizes=sizes)
        one.step(X, Y)
        assert f"threads: {threads}" in str(one.explain())

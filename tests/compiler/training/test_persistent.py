"""The persistent kernel follows the CPU, passes check mode, and gives bits that depend only on the training."""

import weakref

import numpy as np
import pytest
from persistent_steps import ROWS, Training, assert_follows, assert_same, data, layers

import gpunet as gn
from gpunet.data import digits
from gpunet.errors import GpunetWarning, OutOfMemoryError, StateError
from gpunet.training.step import persistent
from gpunet.training.step.graph import GraphExecutor

STEPS = 20
SMALL = layers(6, 40, "relu", 0.5, 12, "tanh", 5)
X, Y = data(6, 5, 8 * ROWS)


@pytest.fixture(autouse=True)
def _few_blocks(monkeypatch):
    monkeypatch.setattr(persistent, "multiprocessors", lambda device: 4)  # idle blocks take the simulator's time


def compare(model, n_in, n_out, *, rows=STEPS * ROWS, regression=False, weights=None, batch_size=ROWS, **options):
    X, y = data(n_in, n_out, rows, regression)
    weight = None if weights is None else np.random.default_rng(2).random(rows)
    runs = [Training(model, device, **options) for device in ("cpu", "sim")]
    for run in runs:
        run.fit(X, y, sample_weight=weight, batch_size=batch_size)
    assert_follows(*reversed(runs))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: gn.Adam(0.01, weight_decay=0.01, clip_value=0.01),
        lambda: gn.AdamW(gn.CosineLR(0.01, 15), weight_decay=0.1),
        lambda: gn.SGD(0.05),
        lambda: gn.SGD(gn.StepLR(0.1, 3), momentum=0.9, weight_decay=0.01),
        lambda: gn.SGD(0.05, momentum=0.9, nesterov=True, clip_value=0.01),
    ],
    ids=["adam", "adamw", "sgd", "momentum", "nesterov"],
)
def test_every_optimizer_follows_the_cpu(optimizer):
    compare(SMALL, 6, 5, optimizer=optimizer)


@pytest.mark.parametrize(
    "loss",
    [
        lambda: gn.CrossEntropyLoss(0.1),
        lambda: gn.CrossEntropyLoss(0.1, class_weight=[0.5, 1, 0, 2, 3]),
    ],
    ids=["smoothing", "class weights"],
)
@pytest.mark.parametrize("weights", [None, "rows"])
def test_every_cross_entropy_follows_the_cpu(loss, weights):
    compare(SMALL, 6, 5, loss=loss(), weights=weights)


@pytest.mark.parametrize("weights", [None, "rows"])
def test_the_mean_squared_error_follows_the_cpu(weights):
    compare(layers(6, 40, "elu", 0.3, 12, "leaky_relu", 5), 6, 5, regression=True, loss=gn.MSELoss(), weights=weights)


def test_every_activation_follows_the_cpu_in_six_layers():
    compare(layers(20, 33, "gelu", 16, "gelu_tanh", 0.2, 40, "silu", 12, "sigmoid", 7, "softplus", 5), 20, 5)


def test_odd_sizes_and_a_smaller_last_batch_follow_the_cpu():
    compare(layers(17, 40, "selu", 24, "soft_clip", 13), 17, 13, rows=STEPS * ROWS + 11)


def test_many_classes_and_layers_without_bias_follow_the_cpu():
    def model():
        rng = np.random.default_rng(0)
        return gn.Sequential(gn.Linear(20, 33, bias=False, rng=rng), gn.ReLU(), gn.Linear(33, 200, bias=False, rng=rng))

    compare(model, 20, 200, batch_size=30, rows=STEPS * 30)


@pytest.mark.parametrize(
    ("model", "value"), [(SMALL, 3e38), (layers(6, 12, "relu", 5), 1e22)], ids=["gradient", "square"]
)
@pytest.mark.parametrize("bad", [[0], [3], [6], [1, 2, 4]])
def test_a_step_with_a_non_finite_gradient_or_square_is_skipped(model, bad, value):
    rows = slice(7 * ROWS)
    poisoned = X[rows].copy()
    poisoned[np.array(bad)[:, None] * ROWS + np.arange(ROWS)] = value
    runs = [Training(model, "cpu", executor="native"), Training(model)]
    for run in runs:
        with pytest.warns(GpunetWarning, match=f"from step {bad[0] + 1} of"):
            run.fit(poisoned, Y[rows], shuffle=False)
        run.fit(X[rows], Y[rows])  # and the next launches know nothing of it
        del run.trainer.history.epochs[0]  # whose loss is NaN
    assert_follows(*reversed(runs))


class EachStep(gn.Callback):
    def on_step_end(self, trainer, rows):
        pass


@pytest.mark.parametrize("blocks", [1, 3, 16])
@pytest.mark.parametrize("callbacks", [(), (EachStep(),)], ids=["many steps", "single steps"])
def test_neither_the_grid_nor_the_number_of_steps_in_a_launch_changes_a_bit(blocks, callbacks, monkeypatch):
    expected = Training(SMALL).fit(X, Y, check=False)
    monkeypatch.setattr(persistent, "multiprocessors", lambda device: blocks)
    assert_same(Training(SMALL, callbacks=callbacks).fit(X, Y, check=False), expected)


def test_the_steps_per_launch_are_limited_by_time(monkeypatch):
    expected = Training(SMALL).fit(X, Y, check=False)
    monkeypatch.setattr(persistent, "SLOWEST_STEP", persistent.LONGEST_LAUNCH / 3)
    limited = Training(SMALL).fit(X, Y, check=False)
    assert "up to 2 steps" in str(limited.trainer.explain())
    assert_same(limited, expected)


def test_single_steps_follow_the_cpu_and_leave_their_gradient_loss_and_outputs():
    runs = [Training(SMALL, device) for device in ("cpu", "sim")]
    for i in range(3):
        rows = slice(i * ROWS, (i + 1) * ROWS)
        values = [run.trainer.step(X[rows], Y[rows].astype(np.int32)) for run in runs]
        np.testing.assert_allclose(gn.to_host(values[1]), values[0], rtol=1e-5)
        for name in ("params", "grads"):
            cpu, sim = (gn.to_host(getattr(run.trainer.model.store, name)) for run in runs)
            np.testing.assert_allclose(sim, cpu, rtol=0, atol=1e-6)


def test_digits_train_to_the_losses_of_the_graph_and_resume_to_the_same_bits(tmp_path):
    train = digits().take(np.arange(330))

    def run(executor, epochs, **options):
        return Training(lambda: gn.MLP([64, 64, 10], seed=0), executor=executor, **options).fit(
            train.X, train.y, check=False, epochs=epochs, batch_size=32
        )

    whole = run("persistent", 3)
    np.testing.assert_allclose(whole.history(), run("graph", 3).history(), rtol=1e-5)
    first = run("persistent", 1)
    first.trainer.save(tmp_path / "run")
    with gn.use_device("sim"):
        first.trainer = gn.Trainer.resume(tmp_path / "run")
    assert first.trainer.executor == "persistent"
    assert_same(first.fit(train.X, train.y, check=False, epochs=2, batch_size=32), whole)


def test_auto_selects_the_persistent_kernel_and_explain_describes_it():
    run = Training(SMALL, executor="auto").fit(X[: 3 * ROWS], Y[: 3 * ROWS], check=False)
    (node,) = run.trainer.explain().nodes
    assert node.kernel == "mlp_train"
    assert node.shapes == ((6, 40), (40, 12), (12, 5))
    assert node.flops == 2 * ROWS * (2 * 6 * 40 + 3 * 40 * 12 + 3 * 12 * 5)


def without_cooperative_launches(monkeypatch):
    properties = gn.simulator.cuda.runtime.getDeviceProperties(0) | {"cooperativeLaunch": 0}
    monkeypatch.setattr(gn.simulator.cuda.runtime, "getDeviceProperties", lambda device: properties)


def too_few_resident_blocks(monkeypatch):
    monkeypatch.setattr("gpunet.simulator.limits.MAX_RESIDENT_THREADS", 256)


@pytest.mark.parametrize(
    ("machine", "reason"),
    [
        (without_cooperative_launches, "sim does not support cooperative launches"),
        (too_few_resident_blocks, "threads that can be resident"),
    ],
)
def test_without_support_for_it_the_graph_runs_and_explain_reports_why(machine, reason, monkeypatch):
    machine(monkeypatch)
    run = Training(SMALL, executor="auto").fit(X[: 2 * ROWS], Y[: 2 * ROWS], check=False)
    assert "graph" in run.trainer.explain().executor
    assert reason in run.trainer.explain().executor
    with pytest.raises(StateError, match=f"'persistent' cannot run the training step: .*{reason}"):
        Training(SMALL).fit(X, Y, check=False)


def test_if_its_memory_does_not_fit_it_is_freed_and_the_graph_runs(monkeypatch):
    taken = []

    def taking(function):
        def take(shape, dtype=float):
            if dtype == np.uint64:  # the last piece
                raise MemoryError
            a = function(shape, dtype)
            taken.append(weakref.ref(a))
            return a

        return take

    def record(executor):
        sizes = [a().size for a in taken if a() is not None]
        assert len(taken) >= 4
        assert max(sizes, default=0) <= ROWS * 5  # which are the outputs of the step
        record_graph(executor)

    record_graph = GraphExecutor.record
    monkeypatch.setattr(GraphExecutor, "record", record)
    monkeypatch.setattr(persistent, "multiprocessors", lambda device: taken.clear() or 4)  # from here on
    for name in ("zeros", "empty"):
        monkeypatch.setattr(gn.simulator, name, taking(getattr(gn.simulator, name)))
    run = Training(SMALL, executor="auto").fit(X[: 2 * ROWS], Y[: 2 * ROWS], check=False)
    assert "no persistent kernel: its memory does not fit" in run.trainer.explain().executor
    with pytest.raises(OutOfMemoryError, match="Use a smaller batch_size"):
        Training(SMALL).fit(X, Y, check=False)


@pytest.mark.parametrize(
    ("reason", "model", "options"),
    [
        ("not RMSprop", SMALL, {"optimizer": lambda: gn.RMSprop(0.01)}),
        ("clip_norm needs", SMALL, {"optimizer": lambda: gn.Adam(clip_norm=1.0)}),
        ("the model is not a stack of Linear layers", lambda: gn.Sequential(gn.Linear(6, 5), gn.BatchNorm1d(5)), {}),
        ("the model is not a stack of Linear layers", layers(6, 8, "relu", 5, "tanh"), {}),
        ("it supports 2 to 6 layers, but the model has 1", layers(6, 5), {}),
        ("256 outputs", layers(6, 8, 300), {}),
        ("a precision was set", SMALL, {"precision": "tf32"}),
        ("not HuberLoss", SMALL, {"loss": gn.HuberLoss()}),
    ],
)
def test_an_unsupported_step_is_refused_with_the_reason(reason, model, options):
    y = np.zeros((ROWS, 5)) if "loss" in options else Y[:ROWS]
    with pytest.raises(StateError, match=f"'persistent' cannot run the training step: .*{reason}"):
        Training(model, **options).fit(X[:ROWS], y, check=False)


def test_a_large_net_is_refused(monkeypatch):
    monkeypatch.setattr(persistent, "MOST_FLOPS", 1e5)
    with pytest.raises(StateError, match="the net is large"):
        Training(SMALL).fit(X[:ROWS], Y[:ROWS], check=False)


def test_soft_labels_and_float64_are_refused():
    with pytest.raises(StateError, match="class labels only"):
        Training(SMALL).fit(X[:ROWS], np.full((ROWS, 5), 0.2), check=False)
    with pytest.raises(StateError, match="float64"):
        Training(lambda: SMALL().to(dtype="float64")).fit(X[:ROWS], Y[:ROWS], check=False)


def test_the_persistent_executor_needs_a_gpu():
    with pytest.raises(StateError, match="'persistent' runs on a GPU"):
        Training(SMALL, "cpu", executor="persistent").fit(X, Y)

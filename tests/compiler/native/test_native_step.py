"""The native executor: the results of eager steps up to rounding, and the same bits however its steps are called."""

import numpy as np
import pytest
from problems import classification, measured

import gpunet as gn

X, Y = classification(90)

OPTIMIZERS = {
    "adam": lambda: gn.Adam(0.01),
    "sgd": lambda: gn.SGD(gn.CosineLR(0.05, 60), momentum=0.9, nesterov=True, weight_decay=0.01),
    "clipped": lambda: gn.AdamW(gn.StepLR(0.01, 7), clip_norm=0.1),
    "rmsprop, values clipped": lambda: gn.RMSprop(0.01, momentum=0.5, clip_value=0.01),
}
LOSSES = {
    "labels": (gn.CrossEntropyLoss(0.1, class_weight=[1, 2, 3]), 3, Y),
    "distributions": (gn.CrossEntropyLoss(), 3, np.eye(3)[Y]),
    "yes or no": (gn.BCEWithLogitsLoss(), 2, np.stack([Y > 0, Y > 1], axis=1)),
    "values": (gn.MSELoss(), 2, X[:, :2]),
    "huber": (gn.HuberLoss(0.5), 1, X[:, :1]),
}
ACTIVATIONS = ["relu", "leaky_relu", "elu", "sigmoid", "tanh", "softplus", "silu", "gelu", "gelu_tanh"]


class EachStep(gn.Callback):
    """Overrides `on_step_end`, so that each step is a call of its own."""

    def __init__(self, act=lambda trainer: None):
        self.act = act

    def on_step_end(self, trainer, rows):
        self.act(trainer)


def trainer(
    executor, optimizer="adam", *, hidden=16, activation="relu", dropout=0.2, dtype="float64", loss="labels", **options
):
    objective, outputs, _ = LOSSES[loss]
    model = gn.MLP([5, hidden, 8, outputs], activation, dropout=dropout, seed=0).to(dtype=dtype)
    return gn.Trainer(model, loss=objective, optimizer=OPTIMIZERS[optimizer](), seed=3, executor=executor, **options)


def state(trainer):
    store = trainer.model.store
    return np.concatenate([a.ravel() for a in (store.params, *store.slots.values())])


def assert_same(*runs):
    for other in runs[1:]:
        np.testing.assert_array_equal(state(other), state(runs[0]))
        assert measured(other.history) == measured(runs[0].history)


def assert_close(native, eager, dtype="float64"):
    rtol, atol = (1e-8, 1e-11) if dtype == "float64" else (1e-3, 1e-4)
    np.testing.assert_allclose(state(native), state(eager), rtol=rtol, atol=atol)
    for column in eager.history.columns:
        if column != "seconds":
            np.testing.assert_allclose(native.history[column], eager.history[column], rtol=rtol)


def all_nodes_are_native(run):
    return all(node.choice != "NumPy" for node in run.explain().nodes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_every_optimizer_follows_eager_steps(optimizer, dtype):
    pair = [trainer(executor, optimizer, dtype=dtype) for executor in ("native", "eager")]
    for run in pair:
        run.fit(X, Y, epochs=8, batch_size=17, sample_weight=np.linspace(0, 2, 90))
    assert all_nodes_are_native(pair[0])
    assert_close(*pair, dtype)


@pytest.mark.parametrize("weight", [None, np.linspace(0, 2, 90)], ids=["alike", "weighted"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_follows_eager_steps(loss, weight):
    pair = [trainer(executor, loss=loss) for executor in ("native", "eager")]
    for run in pair:
        run.fit(X, LOSSES[loss][2], epochs=4, batch_size=20, sample_weight=weight)
    assert all_nodes_are_native(pair[0])
    assert_close(*pair)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_follows_eager_steps(activation):
    pair = [trainer(executor, activation=activation) for executor in ("native", "eager")]
    for run in pair:
        run.fit(X, Y, epochs=4, batch_size=20)
    assert all_nodes_are_native(pair[0])
    assert_close(*pair)


@pytest.mark.parametrize("executor", ["native", "numpy", "eager"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_many_steps_in_one_call_are_the_bits_of_single_ones(optimizer, executor, monkeypatch):
    runs = [trainer(executor, optimizer, callbacks=callbacks) for callbacks in ([], [EachStep()], [gn.Callback()])]
    for run in runs[:2]:
        run.fit(X, Y, epochs=6, batch_size=4)
    monkeypatch.setattr("gpunet.training.epochs._steps_of_a_call", lambda step: 3)  # whatever the machine's pace
    runs[2].fit(X, Y, epochs=6, batch_size=4)
    assert_same(*runs)


def test_any_number_of_threads_gives_the_same_bits(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((300, 5)), rng.integers(0, 3, 300)
    runs = []
    for count in (1, 2, 3):
        monkeypatch.setattr("gpunet.native.program.thread_count", lambda count=count: count)
        run = trainer("native", hidden=512, dtype="float32")
        run.fit(x, y, epochs=2, batch_size=130)
        assert f"threads: {count};" in run.explain().executor
        runs.append(run)
    assert_same(*runs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("after", [1, 7, 23, 24])
def test_an_interrupted_and_resumed_training_gives_the_same_bits(optimizer, after, tmp_path):
    whole = trainer("native", optimizer)
    whole.fit(X, Y, epochs=3, batch_size=4)
    stop = EachStep(lambda run: run.stop("interrupted") if run.optimizer.steps == after else None)
    first = trainer("native", optimizer, callbacks=[stop, gn.Checkpoint(tmp_path / "run")])
    assert first.fit(X, Y, epochs=3, batch_size=4).stopped == "interrupted"
    resumed = gn.Trainer.resume(tmp_path / "run")
    assert resumed.executor == "native"
    resumed.fit(X, Y, epochs=3 - resumed.epoch, batch_size=4)
    assert_same(resumed, whole)


def change_dropout(run):
    run.model[1].p = 0.7


def change_activation(run):
    run.model[0].activation = gn.Tanh()


def change_loss(run):
    run.loss = gn.CrossEntropyLoss(0.2)


def change_optimizer(run):
    run.optimizer.weight_decay = 0.1


def change_schedule(run):
    run.optimizer.schedule = gn.StepLR(0.5, 3)


def change_rate(run):
    run.optimizer.lr = 0.07


def change_weights(run):
    run.model[0].params["weight"] = np.full((5, 16), 0.1)


def change_seed(run):
    run.seed = 8


@pytest.mark.parametrize(
    "change",
    [
        change_dropout,
        change_activation,
        change_loss,
        change_optimizer,
        change_schedule,
        change_rate,
        change_weights,
        change_seed,
    ],
)
@pytest.mark.parametrize("executor", ["native", "numpy"])
@pytest.mark.parametrize("by", ["step", "fit"])
def test_a_change_counts_from_the_next_step_on(change, executor, by):
    runs = [trainer(kind, "sgd") for kind in (executor, "eager", executor)]
    for run, changes in zip(runs, (True, True, False), strict=True):
        for turn in range(3):
            if turn == 1 and changes:
                change(run)
            if by == "fit":
                run.fit(X, Y, epochs=1, batch_size=20)
            else:
                for rows in range(0, 90, 20):
                    run.step(X[rows : rows + 20], Y[rows : rows + 20])
    if executor == "numpy":
        assert_same(*runs[:2])
    assert_close(*runs[:2])
    assert (state(runs[0]) != state(runs[2])).any()


def test_single_steps_read_arrays_of_any_kind_in_place_or_copied():
    batches = [
        (X[:20].astype(np.float64), Y[:20]),
        (np.asfortranarray(X[20:40], np.float64), Y[20:40].astype(np.int32)),
        (X[::-1][:20], Y[::-1][:20]),
        (X[40:60].tolist(), Y[40:60].tolist()),
        (X[:20].astype(np.float64)[:, ::-1][:, ::-1], Y[:20]),
    ]
    pair = [trainer(executor) for executor in ("native", "eager")]
    for x, y in 3 * batches:
        losses = [float(run.step(x, y)) for run in pair]
        assert losses[0] == pytest.approx(losses[1], rel=1e-9)
    assert_close(*pair)


def test_a_batch_that_is_written_between_steps_is_read_anew_and_may_be_freed():
    pair = [trainer(executor) for executor in ("native", "eager")]
    x, y = X[:20].astype(np.float64), Y[:20].copy()
    for turn in range(6):
        x *= -1.1
        y[:] = (y + 1) % 3
        for run in pair:
            run.step(x, y)
            if turn % 2:
                run.step(x.copy(), y.copy())
    assert_close(*pair)


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 1.0}, {"clip_value": 1.0}], ids=["plain", "norm", "value"])
def test_a_gradient_that_is_not_finite_is_not_applied_in_a_call_of_many_steps(clip, monkeypatch):
    monkeypatch.setattr("gpunet.training.epochs._steps_of_a_call", lambda step: 10)
    huge = X.copy()
    huge[40:60] = 3e38  # finite, but not what comes of it
    pair = []
    for executor in ("native", "eager"):
        run = gn.Trainer(gn.MLP([5, 8, 3], seed=0), optimizer=gn.Adam(0.01, **clip), executor=executor)
        run.model[0].params["weight"] = 100 * run.model[0].params["weight"]
        run.fit(X, Y, epochs=1, batch_size=20, shuffle=False)
        warns = pytest.warns(UserWarning, match="epoch 2: from step 8 of the training on, gradients were not finite")
        with warns, np.errstate(all="ignore"):
            run.fit(huge, Y, epochs=1, batch_size=20, shuffle=False)
        assert run.optimizer.first_skipped == 8
        assert run.optimizer.steps == 10
        run.fit(X, Y, epochs=1, batch_size=20, shuffle=False)
        assert np.isfinite(run.history["loss"][2])
        pair.append(run)
    np.testing.assert_allclose(state(pair[0]), state(pair[1]), rtol=1e-3, atol=1e-4)

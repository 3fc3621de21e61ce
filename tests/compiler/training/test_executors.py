"""The CPU executors: the same bits however steps are split into calls; changes take effect at the next step."""

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


class EachStep(gn.Callback):
    """A callback that overrides `on_step_end`, so that each step is a separate call."""

    def __init__(self, act=lambda trainer: None):
        self.act = act

    def on_step_end(self, trainer, rows):
        self.act(trainer)


def trainer(executor, optimizer="adam", **options):
    model = gn.MLP([5, 16, 8, 3], dropout=0.2, seed=0).to(dtype="float64")
    return gn.Trainer(model, optimizer=OPTIMIZERS[optimizer](), seed=3, executor=executor, **options)


def state(trainer):
    store = trainer.model.store
    return np.concatenate([a.ravel() for a in (store.params, *store.slots.values())])


def assert_same(*runs):
    for other in runs[1:]:
        np.testing.assert_array_equal(state(other), state(runs[0]))
        assert measured(other.history) == measured(runs[0].history)


def assert_close(one, other):
    np.testing.assert_allclose(state(one), state(other), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("executor", ["native", "numpy", "eager"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_many_steps_in_one_call_equal_single_steps_bitwise(optimizer, executor, monkeypatch):
    runs = [trainer(executor, optimizer, callbacks=callbacks) for callbacks in ([], [EachStep()], [gn.Callback()])]
    for run in runs[:2]:
        run.fit(X, Y, epochs=6, batch_size=4)
    monkeypatch.setattr("gpunet.training.epochs._steps_of_a_call", lambda step: 3)  # whatever the machine's pace
    runs[2].fit(X, Y, epochs=6, batch_size=4)
    assert_same(*runs)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("after", [1, 7, 23, 24])
def test_an_interrupted_training_resumes_bitwise(optimizer, after, tmp_path):
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
def test_a_change_takes_effect_at_the_next_step(change, executor, by):
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

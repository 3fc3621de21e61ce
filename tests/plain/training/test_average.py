"""The moving average of the weights: PyTorch's values, evaluation with it, checkpoints and resume."""

from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from own_optimizers import Shrinking
from problems import classification, measured, net, weights

import gpunet as gn
from gpunet.errors import ArgumentError, StateError
from gpunet.interop import load_torch

X, Y = classification()
REFERENCE = safetensors.numpy.load_file(Path(__file__).parents[2] / "helpers" / "torch_average.safetensors")
EXECUTORS = ["auto", "numpy", "eager"]


class Follow(gn.Callback):
    """Compute the average by hand, after each step that changes the weights."""

    def __init__(self, decay):
        self.decay, self.average = decay, None

    def on_fit_begin(self, trainer, total_rows):
        self.before = weights(trainer.model)

    def on_step_end(self, trainer, rows):
        p = weights(trainer.model)
        if (p != self.before).any():
            self.average = p if self.average is None else self.average + (1 - self.decay) * (p - self.average)
        self.before = p


def averaged(executor="auto", ema=0.9, dtype="float64", **options):
    return gn.Trainer(net(dropout=0.2).to(dtype=dtype), ema=ema, executor=executor, **options)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-10), ("float32", 1e-5)])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_52_steps_of_three_batches_each_with_a_clipped_norm_follow_pytorch(executor, dtype, tolerance):
    def loaded(name):
        model = gn.MLP([5, 8, 3]).to(dtype=dtype)
        load_torch(model, {key.removeprefix(name): a for key, a in REFERENCE.items() if key.startswith(name)})
        return model

    optimizer = gn.AdamW(0.01, clip_norm=0.3)
    trainer = gn.Trainer(loaded("begin/"), optimizer=optimizer, ema=0.9, accumulate=3, executor=executor)
    trainer.fit(REFERENCE["x"], REFERENCE["y"], epochs=13, batch_size=7, shuffle=False)
    assert optimizer.steps == 52
    for model, name in ((trainer.model, "end/"), (trainer.ema_model(), "average/")):
        np.testing.assert_allclose(weights(model), weights(loaded(name)), atol=tolerance)


@pytest.mark.parametrize("decay", [0, 0.5, 0.99])
@pytest.mark.parametrize("executor", EXECUTORS)
def test_the_average_starts_with_the_weights_after_the_first_step(executor, decay):
    follow = Follow(decay)
    trainer = averaged(executor, decay, callbacks=[follow])
    trainer.fit(X, Y, epochs=3, batch_size=7)
    np.testing.assert_allclose(weights(trainer.ema_model()), follow.average, rtol=1e-13)


@pytest.mark.parametrize("bad", [slice(0, 7), slice(20, 35)], ids=["the first step", "later steps"])
@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.filterwarnings("ignore:epoch 1. from step", "ignore:overflow", "ignore:invalid value")
def test_a_skipped_step_does_not_change_the_average(executor, bad):
    x, follow = X.astype(np.float64), Follow(0.9)
    x[bad] = 1e200
    trainer = averaged(executor, optimizer=gn.SGD(0.1), loss=gn.MSELoss(), callbacks=[follow])
    trainer.fit(x, np.eye(3)[Y], epochs=1, batch_size=7, shuffle=False)
    assert trainer.optimizer.first_skipped
    np.testing.assert_allclose(weights(trainer.ema_model()), follow.average, rtol=1e-13)


def test_without_an_applied_step_the_average_equals_the_weights():
    trainer = averaged()
    trainer.attach()
    np.testing.assert_array_equal(weights(trainer.ema_model()), weights(trainer.model))
    assert trainer.evaluate(X, Y) == gn.Trainer(trainer.ema_model()).evaluate(X, Y)


def test_validation_evaluate_and_predict_use_the_average_and_keep_the_weights():
    trainer = averaged(optimizer=gn.SGD(0.3))
    history = trainer.fit(X, Y, epochs=2, batch_size=7, validation=(X, Y))
    kept, model = weights(trainer.model), trainer.ema_model()
    assert history["val_loss"][-1] == trainer.evaluate(X, Y)["loss"] == gn.Trainer(model).evaluate(X, Y)["loss"]
    assert gn.Trainer(trainer.model.__copy__()).evaluate(X, Y)["loss"] != history["val_loss"][-1]
    np.testing.assert_array_equal(trainer.predict(X), model.predict(X))
    np.testing.assert_array_equal(weights(trainer.model), kept)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_training_is_the_same_with_an_average_and_without(executor):
    runs = [averaged(executor, ema) for ema in (None, 0.9)]
    for run in runs:
        run.fit(X, Y, epochs=2, batch_size=7)
    np.testing.assert_array_equal(*(weights(run.model) for run in runs))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_resumed_training_is_bitwise_equal_to_an_uninterrupted_one(executor, tmp_path):
    whole, half = averaged(executor, dtype="float32"), averaged(executor, dtype="float32")
    whole.fit(X, Y, epochs=4, batch_size=7, validation=0.2)
    half.fit(X, Y, epochs=2, batch_size=7, validation=0.2)
    half.save(tmp_path / "half")
    resumed = gn.Trainer.resume(tmp_path / "half")
    assert (resumed.ema, resumed.accumulate) == (0.9, 1)
    np.testing.assert_array_equal(resumed.model.store.average, half.model.store.average)  # also the padding
    resumed.fit(X, Y, epochs=2, batch_size=7, validation=0.2)
    assert measured(resumed.history) == measured(whole.history)
    for of in (lambda run: run.model, lambda run: run.ema_model()):
        np.testing.assert_array_equal(weights(of(resumed)), weights(of(whole)))


def test_a_checkpoint_before_the_first_step_resumes(tmp_path):
    trainer = averaged()
    trainer.save(tmp_path / "begin")
    resumed = gn.Trainer.resume(tmp_path / "begin")
    for run in (trainer, resumed):
        run.fit(X, Y, epochs=1)
    np.testing.assert_array_equal(weights(resumed.ema_model()), weights(trainer.ema_model()))


def test_the_best_checkpoint_and_early_stopping_store_the_average_of_the_best_epoch(tmp_path):
    best = gn.Checkpoint(tmp_path / "best", best=True)
    stopping = gn.EarlyStopping(2)
    trainer = averaged(ema=0.5, optimizer=gn.SGD(3.0), callbacks=[best, stopping])
    history = trainer.fit(X, Y, epochs=30, batch_size=7, validation=(X, Y))
    assert history.stopped == "early stopping"
    least = min(history["val_loss"])
    assert least < history["val_loss"][-1]
    assert gn.Trainer.resume(tmp_path / "best").evaluate(X, Y)["loss"] == least
    assert trainer.evaluate(X, Y)["loss"] == least


def test_the_average_is_converted_with_the_models_dtype():
    trainer = averaged()
    trainer.fit(X, Y, epochs=1)
    before = weights(trainer.ema_model())
    trainer.model.to(dtype="float32")
    np.testing.assert_array_equal(weights(trainer.ema_model()), before.astype(np.float32))
    trainer.fit(X, Y, epochs=1)
    assert (weights(trainer.ema_model()) != before).any()


def test_a_new_decay_continues_the_average_and_none_ends_it():
    trainer = averaged(ema=0.0)
    trainer.fit(X, Y, epochs=1)
    trainer.ema = 0.5
    before = weights(trainer.model)
    trainer.fit(X, Y, epochs=1, batch_size=60)
    np.testing.assert_allclose(weights(trainer.ema_model()), (before + weights(trainer.model)) / 2)
    trainer.ema = None
    trainer.fit(X, Y, epochs=1)
    with pytest.raises(StateError, match="there is no moving average of the weights; use"):
        trainer.ema_model()
    assert trainer.evaluate(X, Y) == gn.Trainer(trainer.model.__copy__()).evaluate(X, Y)


def test_a_new_training_starts_without_the_previous_average():
    first = averaged()
    first.fit(X, Y, epochs=1)
    second = gn.Trainer(first.model)
    second.fit(X, Y, epochs=1)
    assert second.evaluate(X, Y) == gn.Trainer(second.model.__copy__()).evaluate(X, Y)


@pytest.mark.parametrize("ema", [1, -0.1, 1.5, "0.9"])
def test_a_decay_out_of_range_is_refused(ema):
    with pytest.raises(ArgumentError, match="Trainer: ema must"):
        gn.Trainer(net(), ema=ema)


def test_an_optimizer_that_overrides_step_is_refused():
    with pytest.raises(ArgumentError, match=r"ema does not work with .*, which overrides `step`"):
        gn.Trainer(net(), ema=0.9, optimizer=Shrinking(0.1))

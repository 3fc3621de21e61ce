"""The whole library on the device "sim", in array code alone: the CPU's numbers, and no wait in a step."""

import subprocess
import sys

import numpy as np
import pytest
from problems import classification, regression

import gpunet as gn
from gpunet import simulator
from gpunet.errors import DeviceMismatchError
from gpunet.ops.activations import FUNCTIONS
from gpunet.ops.dropout import dropout

SIM = gn.get_device("sim")
DIGITS = gn.data.digits()


class Losses(gn.Callback):
    """Note the sum of the losses after each step."""

    def __init__(self):
        self.sums = []

    def on_step_end(self, trainer, rows):
        self.sums.append(trainer.running.state(trainer.model.device)["totals"][0])


def losses(device, X, y, *, model, epochs=1, batch_size=16, **trainer):
    """Return the sum of the losses after each step of a training on the device."""
    losses = Losses()
    gn.Trainer(model().to(device), callbacks=[losses], **trainer).fit(X, y, epochs=epochs, batch_size=batch_size)
    return losses.sums


def assert_same_losses(X, y, **training):
    here, there = losses("cpu", X, y, **training), losses("sim", X, y, **training)
    assert len(here) > 3
    np.testing.assert_allclose(there, here, rtol=1e-4)


def test_digits_train_as_on_the_cpu():
    X, y = np.asarray(DIGITS.X, np.float32) / 16, DIGITS.y
    assert_same_losses(X, y, model=lambda: gn.MLP([64, 32, 10], dropout=0.2), epochs=2, batch_size=64)


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_every_activation_trains_as_on_the_cpu(activation):
    assert_same_losses(*classification(), model=lambda: gn.MLP([5, 8, 3], activation=activation))


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: gn.SGD(0.1, momentum=0.9, nesterov=True, clip_norm=1.0),
        lambda: gn.SGD(0.1, weight_decay=0.1, clip_value=0.1),
        lambda: gn.AdamW(1e-2),
        lambda: gn.RMSprop(1e-2, momentum=0.5),
    ],
)
def test_every_optimizer_trains_as_on_the_cpu(optimizer):
    X, y = classification()
    here, there = (
        losses(device, X, y, model=lambda: gn.MLP([5, 8, 3]), optimizer=optimizer()) for device in ("cpu", "sim")
    )
    np.testing.assert_allclose(there, here, rtol=1e-4)


@pytest.mark.parametrize("loss", [gn.MSELoss(), gn.HuberLoss(2.0)])
def test_every_regression_loss_trains_as_on_the_cpu(loss):
    X, y = regression()
    assert_same_losses(X, y / 500, model=lambda: gn.MLP([5, 8, 1]), loss=loss)


def test_yes_or_no_questions_train_as_on_the_cpu():
    X, y = classification()
    assert_same_losses(X, (y == 1).astype(np.float32), model=lambda: gn.MLP([5, 8, 1]), loss=gn.BCEWithLogitsLoss())


def test_dropout_masks_are_those_of_the_cpu():
    x = np.ones((33, 65), np.float32)
    keep = []
    for device in (gn.get_device("cpu"), SIM):
        tape = gn.Tape(seed=3)
        tape.reset(step=5)
        dropout(device.asarray(x), 0.5, tape)
        keep.append(device.to_host(dropout(device.asarray(x), 0.5, tape)[1]))
    np.testing.assert_array_equal(*keep)
    assert 0 < keep[0].mean() < 1


def steady_step(dropout):
    """Return what a step counts once the buffers are there."""
    X, y = classification()
    trainer = gn.Trainer(gn.MLP([5, 8, 3], dropout=dropout).to("sim"))
    batch = SIM.asarray(X), SIM.asarray(y)
    for _ in range(2):
        trainer.step(*batch)
    simulator.counters.reset()
    trainer.step(*batch)
    return simulator.counters


def test_a_steady_step_neither_copies_nor_waits():
    counted = steady_step(dropout=0.0)
    assert counted.launches > 0
    assert (counted.uploads, counted.downloads, counted.synchronizations) == (0, 0, 0)


def test_a_steady_step_with_dropout_waits_for_nothing():
    counted = steady_step(dropout=0.5)
    assert (counted.downloads, counted.synchronizations) == (0, 0)


def test_an_epoch_reads_the_device_once():
    trainer = gn.Trainer(gn.MLP([5, 8, 3]).to("sim"))
    trainer.fit(*classification(), epochs=1, batch_size=7)
    simulator.counters.reset()
    trainer.fit(*classification(), epochs=4, batch_size=7)
    assert (simulator.counters.downloads, simulator.counters.synchronizations) == (4, 4)


def test_a_model_moves_there_and_back(tmp_path):
    X, _ = classification()
    model = gn.MLP([5, 8, 3], seed=1)
    expected = model.outputs(X)
    model.to("sim")
    assert isinstance(model.store.params, simulator.ndarray)
    np.testing.assert_allclose(model.outputs(X), expected, rtol=1e-6)
    model.save(tmp_path / "model")
    np.testing.assert_allclose(gn.load(tmp_path / "model").outputs(X), expected, rtol=1e-6)
    assert isinstance(model.to("cpu").store.params, np.ndarray)


def test_arrays_of_two_devices_are_refused_by_name():
    with pytest.raises(DeviceMismatchError, match="a is on sim, b is on cpu"):
        gn.ops.matmul(SIM.asarray(np.ones((2, 2))), np.ones((2, 2)))


def test_the_simulator_is_imported_only_when_asked_for():
    code = "import gpunet, sys; gpunet.get_device('cpu'); sys.exit('gpunet.simulator' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Training on a real GPU: it follows the CPU, repeats itself bit by bit, and hardly ever reads the device."""

import copy
import io
import pickle

import numpy as np
import pytest
from problems import classification, measured, net, regression, weights

import gpunet as gn
from gpunet.data import Standardizer, digits, split_indices
from gpunet.errors import DataError, GpunetWarning

pytestmark = pytest.mark.cuda

X, Y = classification()


def test_digits_are_learnt_as_on_the_cpu(cuda):
    data = digits()
    train, test = (data.take(part) for part in split_indices(data.y, (0.8, 0.2), seed=0))
    histories, accuracies = [], []
    for device in ("cpu", "cuda"):
        model = gn.MLP([64, 32, 10], dropout=0.1).to(device)
        model.input_scaler = Standardizer.fit(train.X)
        trainer = gn.Trainer(model, optimizer=gn.Adam(3e-3))
        histories.append(trainer.fit(train.X, train.y, epochs=8, batch_size=64))
        accuracies.append(trainer.evaluate(test.X, test.y)["accuracy"])
    np.testing.assert_allclose(histories[1]["loss"], histories[0]["loss"], rtol=1e-2)
    assert accuracies[1] == pytest.approx(accuracies[0], abs=0.01)
    assert accuracies[1] > 0.93


@pytest.mark.parametrize(
    ("loss", "outputs", "target"),
    [
        (gn.CrossEntropyLoss(class_weight=[1, 2, 3]), 3, Y),
        (gn.CrossEntropyLoss(), 3, np.eye(3)[Y]),
        (gn.BCEWithLogitsLoss(), 1, Y > 0),
        (gn.MSELoss(), 1, regression()[1] / 100),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_task_trains_and_predicts_as_on_the_cpu(cuda, loss, outputs, target, dtype):
    results = []
    for device in ("cpu", "cuda"):
        trainer = gn.Trainer(net(outputs).to(device, dtype=dtype), loss=loss, optimizer=gn.SGD(1e-3, momentum=0.9))
        history = trainer.fit(X, target, epochs=3, validation=(X, target), sample_weight=np.linspace(0.5, 2, 60))
        results.append((weights(trainer.model), history["val_loss"], trainer.model.outputs(X)))
    for host, there in zip(*results, strict=True):
        np.testing.assert_allclose(there, host, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: gn.SGD(0.05, momentum=0.9, nesterov=True),
        lambda: gn.Adam(gn.CosineLR(0.01, 20), clip_norm=0.1),
        lambda: gn.AdamW(0.01, clip_value=0.01),
        lambda: gn.RMSprop(0.01, momentum=0.5),
    ],
)
def test_a_resumed_training_gives_the_same_bits(cuda, optimizer, tmp_path):
    whole, half = (gn.Trainer(net(dropout=0.3).to("cuda"), optimizer=optimizer()) for _ in range(2))
    whole.fit(X, Y, epochs=6, batch_size=25)
    half.fit(X, Y, epochs=3, batch_size=25)
    half.save(tmp_path / "run")
    with gn.use_device("cuda"):
        resumed = gn.Trainer.resume(tmp_path / "run")
    assert resumed.model.device is cuda
    resumed.fit(X, Y, epochs=3, batch_size=25)
    np.testing.assert_array_equal(weights(resumed.model), weights(whole.model))
    assert measured(resumed.history) == measured(whole.history)


def test_an_epoch_reads_the_device_once(cuda):
    for batch_size in (60, 3):
        trainer = gn.Trainer(net(dropout=0.2).to("cuda"))
        before = cuda.host_reads
        trainer.fit(X, Y, epochs=3, batch_size=batch_size)
        assert cuda.host_reads == before + 3


def test_callbacks_work_on_the_gpu(cuda, tmp_path):
    class Poison(gn.Callback):
        def on_step_end(self, trainer, rows):
            if trainer.optimizer.steps == 8:
                trainer.model[0].params["weight"].fill(np.nan)

    model = net().to("cuda")
    callbacks = [
        gn.ProgressBar(file=io.StringIO()),
        gn.EarlyStopping(),
        gn.Checkpoint(tmp_path / "run"),
        gn.Log(tmp_path / "log.csv"),
        gn.TerminateOnNaN(),
        Poison(),
    ]
    trainer = gn.Trainer(model, callbacks=callbacks)
    with pytest.warns(GpunetWarning, match="from step 9 of the training on, gradients were not finite"):
        history = trainer.fit(X, Y, epochs=5, batch_size=20, validation=0.2)
    assert history.stopped == "non-finite loss"
    assert np.isfinite(weights(model)).all()
    assert gn.Trainer.resume(tmp_path / "run").epoch == len(history)


def test_a_model_goes_from_the_gpu_to_a_file_a_pickle_and_a_copy(cuda, tmp_path):
    model = net().to("cuda")
    gn.Trainer(model).fit(X, Y, epochs=1)
    model.save(tmp_path / "model.safetensors")
    with gn.use_device("cpu"):
        loaded = gn.load(tmp_path / "model.safetensors")
    for twin, device in ((loaded, "cpu"), (pickle.loads(pickle.dumps(model)), "cpu"), (copy.deepcopy(model), "cuda:0")):
        assert twin.device.name == device
        np.testing.assert_array_equal(weights(twin), weights(model))
        np.testing.assert_allclose(twin.predict_proba(X), model.predict_proba(X), rtol=1e-4, atol=1e-6)


def test_a_model_moves_between_two_fits_with_its_optimizer(cuda):
    stays, moves = (gn.Trainer(net(dropout=0.2), optimizer=gn.SGD(0.05, momentum=0.9)) for _ in range(2))
    for device in ("cpu", "cuda", "cpu"):
        moves.model.to(device)
        for trainer in (stays, moves):
            trainer.fit(X, Y, epochs=1)
    np.testing.assert_allclose(weights(moves.model), weights(stays.model), rtol=1e-3, atol=1e-5)


def test_a_label_out_of_range_is_refused_before_the_gpu_sees_it(cuda):
    trainer = gn.Trainer(net().to("cuda"))
    before = weights(trainer.model)
    with pytest.raises(DataError, match="y is 3 at row 0; 3 classes have labels 0 to 2"):
        trainer.fit(X, np.where(np.arange(60) == 0, 3, Y))
    np.testing.assert_array_equal(weights(trainer.model), before)

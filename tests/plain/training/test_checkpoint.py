"""Resume and Ctrl-C: an interrupted and resumed training equals an uninterrupted one bitwise."""

import os
import pickle
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
from problems import classification, measured, net, weights

import gpunet as gn
from gpunet.errors import ArgumentError, ModelFileError
from gpunet.files import read_arrays, write_arrays

X, Y = classification()

RESUME = """
import sys, gpunet as gn
from problems import classification
source, result, *patience = sys.argv[1:]
callbacks = [gn.EarlyStopping(int(patience[0]), monitor="val_accuracy")] if patience else []
trainer = gn.Trainer.resume(source, callbacks=callbacks)
trainer.fit(*classification(), epochs=5, batch_size=16, validation=0.2)
trainer.save(result)
"""

SLOW = """
import sys, time, gpunet as gn
from problems import classification, net

class Slow(gn.Callback):
    def on_step_end(self, trainer, rows):
        if trainer.optimizer.steps == 4:
            print("training", flush=True)
        time.sleep(0.005)

trainer = gn.Trainer(net(dropout=0.3), callbacks=[gn.Checkpoint(sys.argv[1]), Slow()])
history = trainer.fit(*classification(), epochs=1000, batch_size=10)
print(history.stopped, trainer.optimizer.steps)
"""


def python(code, *arguments):
    """Start a new Python process that can import the same modules as this one."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE)


def whole_state(path):
    """Return the contents of a checkpoint without the duration of the epochs."""
    arrays, description = read_arrays(path, "checkpoint")
    for row in description["history"]:
        del row["seconds"]
    return {name: (a.dtype.str, a.shape, a.tobytes()) for name, a in arrays.items()}, description


class Interrupt(gn.Callback):
    """Press Ctrl-C after a step."""

    def __init__(self, after, times=1):
        self.after = after
        self.times = times

    def on_step_end(self, trainer, rows):
        if trainer.optimizer.steps == self.after:
            for _ in range(self.times):
                signal.raise_signal(signal.SIGINT)


# resume


def test_five_epochs_and_five_in_a_new_process_equal_ten_bitwise(tmp_path):
    def fit(epochs, name):
        trainer = gn.Trainer(net(dropout=0.3), optimizer=gn.SGD(0.02, momentum=0.9), seed=4)
        trainer.fit(X, Y, epochs=epochs, batch_size=16, validation=0.2)
        trainer.save(tmp_path / name)

    fit(5, "half")
    fit(10, "whole")
    with python(RESUME, tmp_path / "half", tmp_path / "result") as process:
        assert process.wait() == 0
    assert whole_state(tmp_path / "result") == whole_state(tmp_path / "whole")


def test_schedule_and_early_stopping_continue_in_a_new_process(tmp_path):
    stopping = gn.EarlyStopping(4, monitor="val_accuracy")
    checkpoint = gn.Checkpoint(tmp_path / "half", every=5)
    optimizer = gn.Adam(gn.CosineLR(0.005, 30))
    trainer = gn.Trainer(net(dropout=0.3), optimizer=optimizer, callbacks=[stopping, checkpoint], seed=2)
    assert trainer.fit(X, Y, epochs=10, batch_size=16, validation=0.2).stopped == "early stopping"
    assert trainer.epoch == 8
    trainer.callbacks.remove(checkpoint)
    trainer.save(tmp_path / "whole")
    with python(RESUME, tmp_path / "half", tmp_path / "result", stopping.patience) as process:
        assert process.wait() == 0
    assert whole_state(tmp_path / "result") == whole_state(tmp_path / "whole")


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: gn.SGD(gn.StepLR(0.05, 7), momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda: gn.Adam(gn.LinearWarmup(gn.ReduceLROnPlateau(0.05, patience=0, threshold=0.5), 6)),
        lambda: gn.AdamW(gn.CosineLR(0.01, 20), betas=(0.8, 0.99), clip_norm=0.5),
        lambda: gn.RMSprop(0.01, momentum=0.5, clip_value=0.1),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_optimizer_and_schedule_resumes_bitwise(optimizer, dtype, tmp_path):
    def make():
        return gn.Trainer(net(dropout=0.1).to(dtype=dtype), optimizer=optimizer())

    whole, half = make(), make()
    whole.fit(X, Y, epochs=6, batch_size=25)
    half.fit(X, Y, epochs=3, batch_size=25)
    half.save(tmp_path / "half")
    resumed = gn.Trainer.resume(tmp_path / "half")
    resumed.fit(X, Y, epochs=3, batch_size=25)
    for trainer, name in ((whole, "whole"), (resumed, "resumed")):
        trainer.save(tmp_path / name)
    assert whole_state(tmp_path / "resumed") == whole_state(tmp_path / "whole")


@pytest.mark.parametrize(
    ("loss", "outputs", "target"),
    [
        (gn.CrossEntropyLoss(label_smoothing=0.1, class_weight=[1, 2, 3]), 3, Y),
        (gn.BCEWithLogitsLoss("balanced"), 1, Y > 0),
        (gn.HuberLoss(delta=0.5), 1, X[:, 0]),
        (gn.QuantileLoss(0.9), 1, X[:, 0]),
        (gn.PoissonNLLLoss(), 1, Y),
    ],
    ids=repr,
)
def test_the_loss_is_resumed_with_its_arguments(loss, outputs, target, tmp_path):
    trainer = gn.Trainer(net(outputs), loss=loss)
    trainer.fit(X, target, epochs=1)
    trainer.save(tmp_path / "run")
    resumed = gn.Trainer.resume(tmp_path / "run")
    assert repr(resumed.loss) == repr(loss)
    assert resumed.evaluate(X, target) == trainer.evaluate(X, target)
    assert resumed.model.task == trainer.model.task


def test_each_callback_restores_the_state_of_its_kind(tmp_path):
    class Count(gn.Callback):
        def __init__(self):
            self.epochs = np.zeros(1)

        def on_epoch_end(self, trainer, row):
            self.epochs += 1

        def state(self):
            return {"epochs": self.epochs, "text": "x"}

        def restore(self, state, trainer):
            self.epochs, self.text = state["epochs"], state["text"]

    trainer = gn.Trainer(net(), callbacks=[Count(), gn.EarlyStopping(7), Count()])
    trainer.fit(X, Y, epochs=2)
    trainer.callbacks[2].epochs += 10
    trainer.save(tmp_path / "run")
    callbacks = [gn.EarlyStopping(7), gn.TerminateOnNaN(), Count(), Count(), Count()]
    gn.Trainer.resume(tmp_path / "run", callbacks=callbacks)
    assert [callback.epochs.tolist() for callback in callbacks[2:]] == [[2], [12], [0]]
    assert callbacks[2].text == "x"
    assert callbacks[0].best == trainer.history["loss"][-1]


# Ctrl-C


@pytest.mark.parametrize("after", [3, 5, 7, 8, 12])
def test_an_interrupted_training_stops_after_a_step_and_resumes_bitwise(after, tmp_path):
    def make(*callbacks):
        return gn.Trainer(net(dropout=0.3), optimizer=gn.SGD(0.05, momentum=0.9), callbacks=callbacks)

    whole = make()
    whole.fit(X, Y, epochs=3, batch_size=16)
    interrupted = make(Interrupt(after), gn.Checkpoint(tmp_path / "run", every=100), gn.EarlyStopping())
    history = interrupted.fit(X, Y, epochs=3, batch_size=16)
    assert (history.stopped, interrupted.optimizer.steps) == ("interrupted", after)
    assert len(history) == after // 4
    resumed = gn.Trainer.resume(tmp_path / "run")
    np.testing.assert_array_equal(weights(resumed.model), weights(interrupted.model))
    if after < 12:
        resumed.fit(X, Y, epochs=3 - resumed.epoch, batch_size=16)
    np.testing.assert_array_equal(weights(resumed.model), weights(whole.model))
    assert measured(resumed.history) == measured(whole.history)


def test_an_interrupted_fit_continues_in_the_same_process():
    whole, interrupted = gn.Trainer(net(dropout=0.3)), gn.Trainer(net(dropout=0.3), callbacks=[Interrupt(6)])
    whole.fit(X, Y, epochs=3, batch_size=16)
    interrupted.fit(X, Y, epochs=3, batch_size=16)
    history = interrupted.fit(X, Y, epochs=2, batch_size=16)
    assert history.stopped is None
    np.testing.assert_array_equal(weights(interrupted.model), weights(whole.model))
    assert measured(history) == measured(whole.history)


def test_the_previous_ctrl_c_handler_is_restored_after_fit():
    def usual(*_):
        raise AssertionError

    before = signal.signal(signal.SIGINT, usual)
    try:
        for callbacks in ([], [Interrupt(1)]):
            gn.Trainer(net(), callbacks=callbacks).fit(X, Y, epochs=1)
            assert signal.getsignal(signal.SIGINT) is usual
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_second_ctrl_c_stops_immediately():
    trainer = gn.Trainer(net(), callbacks=[Interrupt(2, times=2)])
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, batch_size=16)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_fit_works_in_another_thread():
    there, here = gn.Trainer(net()), gn.Trainer(net())
    thread = threading.Thread(target=lambda: there.fit(X, Y, epochs=2))
    thread.start()
    thread.join()
    here.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(weights(there.model), weights(here.model))


@pytest.mark.skipif(os.name != "posix", reason="a process cannot send Ctrl-C to another one here")
def test_sigint_from_another_process_ends_training_with_a_checkpoint(tmp_path):
    with python(SLOW, tmp_path / "run") as process:
        assert process.stdout.readline() == "training\n"
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    stopped, steps = output.split()
    resumed = gn.Trainer.resume(tmp_path / "run")
    assert stopped == "interrupted"
    assert resumed.optimizer.steps == int(steps) >= 4
    whole = gn.Trainer(net(dropout=0.3))
    resumed.fit(X, Y, epochs=1, batch_size=10)
    whole.fit(X, Y, epochs=resumed.epoch, batch_size=10)
    np.testing.assert_array_equal(weights(resumed.model), weights(whole.model))


# files that are no checkpoint, and trainings that no file can hold


def test_an_invalid_checkpoint_file_is_refused_by_name(tmp_path):
    trainer = gn.Trainer(net())
    trainer.save(tmp_path / "run")
    data = (tmp_path / "run").read_bytes()
    with pytest.raises(FileNotFoundError, match="nowhere"):
        gn.Trainer.resume(tmp_path / "nowhere")
    trainer.model.save(tmp_path / "model")
    flipped = bytearray(data)
    flipped[-20] ^= 1
    for name, content in (("cut", data[:-50]), ("flipped", flipped), ("pickle", pickle.dumps({})), ("empty", b"")):
        (tmp_path / name).write_bytes(content)
    for name in ("model", "cut", "flipped", "pickle", "empty"):
        with pytest.raises(ModelFileError, match=name):
            gn.Trainer.resume(tmp_path / name)
    with pytest.raises(ModelFileError, match="contains a 'checkpoint', not a 'model'"):
        gn.load(tmp_path / "run")


@pytest.mark.parametrize(("plan", "executor"), [(True, "auto"), ("auto", "auto"), (False, "eager")])
def test_an_old_checkpoint_with_plan_selects_the_executor(plan, executor, tmp_path):
    trainer = gn.Trainer(net(), executor="eager")
    trainer.fit(X, Y, epochs=1)
    trainer.save(tmp_path / "run")
    arrays, description = read_arrays(tmp_path / "run", "checkpoint")
    del description["executor"]
    write_arrays(tmp_path / "run", arrays, {**description, "kind": "checkpoint", "plan": plan})
    assert gn.Trainer.resume(tmp_path / "run").executor == executor


class OwnLoss(gn.MSELoss):
    pass


class OwnOptimizer(gn.SGD):
    pass


@pytest.mark.parametrize(
    ("model", "options", "said"),
    [
        (net(), {"loss": OwnLoss()}, "OwnLoss"),
        (net(), {"optimizer": OwnOptimizer(0.1)}, "OwnOptimizer"),
        (gn.MLP([5, 3, 3], activation=gn.CustomActivation(np.sin, np.cos)), {}, "CustomActivation"),
    ],
)
def test_your_own_code_is_refused_when_it_is_saved_not_when_it_is_read(model, options, said, tmp_path):
    with pytest.raises(ArgumentError, match=said):
        gn.Trainer(model, **options).save(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_numpy_numbers_in_arguments_and_states_are_written(tmp_path):
    optimizer = gn.SGD(np.float32(0.5), momentum=np.float32(0.5), nesterov=np.bool_(True))
    stopping = gn.EarlyStopping(2)
    stopping.best = np.float32(0.25)
    gn.Trainer(gn.MLP([5, 3], dropout=np.float32(0.5)), optimizer=optimizer, callbacks=[stopping]).save(
        tmp_path / "run"
    )
    resumed = gn.EarlyStopping(2)
    assert gn.Trainer.resume(tmp_path / "run", callbacks=[resumed]).optimizer.config()["nesterov"] is True
    assert resumed.best == 0.25

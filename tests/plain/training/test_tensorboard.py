"""The event files of the TensorBoard callback."""

import math
import struct
import sys

import pytest
from problems import classification, net

import gpunet as gn
from gpunet.errors import MissingPackageError

X, Y = classification()


def events(path):
    """Return the events of a file: records of a length, its checksum, the event, its checksum."""
    event_pb2 = pytest.importorskip("tensorboardX.proto.event_pb2")
    data, found = path.read_bytes(), []
    while data:
        (length,) = struct.unpack("<Q", data[:8])
        found.append(event_pb2.Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return found


def shown(folder):
    """Return {column: {step: value}} as TensorBoard shows it: a session's start hides its first step and later ones."""
    curves = {}
    for path in sorted(folder.iterdir()):
        for event in events(path):
            if event.session_log.status == event.session_log.START:
                for curve in curves.values():
                    for step in [step for step in curve if step >= event.step]:
                        del curve[step]
            for value in event.summary.value:
                curves.setdefault(value.tag, {})[event.step] = value.simple_value
    return curves


def curves_of(history):
    """Return what TensorBoard should show of a history: each column but the epoch, in single precision."""
    return {
        name: {row["epoch"]: pytest.approx(row[name], rel=1e-6, nan_ok=True) for row in history.epochs if name in row}
        for name in history.columns
        if name != "epoch"
    }


@pytest.fixture
def folder(tmp_path):
    pytest.importorskip("tensorboardX")
    return tmp_path / "events" / "run"  # neither folder exists yet


def test_every_column_becomes_a_scalar_over_the_epochs(folder):
    history = gn.Trainer(net(), callbacks=[gn.TensorBoard(folder)]).fit(X, Y, epochs=3, validation=0.2)
    assert shown(folder) == curves_of(history)
    assert list(shown(folder)) == ["loss", "accuracy", "val_loss", "val_accuracy", "lr", "seconds"]


def test_a_second_fit_continues_the_curves_even_within_one_second(folder):
    trainer = gn.Trainer(net(), callbacks=[gn.TensorBoard(folder)])
    trainer.fit(X, Y, epochs=2)
    history = trainer.fit(X, Y, epochs=1, validation=0.2)
    assert len(list(folder.iterdir())) == 2
    assert shown(folder) == curves_of(history)


def test_a_resumed_training_continues_from_its_checkpoint_and_hides_later_epochs(folder, tmp_path):
    path = tmp_path / "c.safetensors"
    trainer = gn.Trainer(net(), callbacks=[gn.TensorBoard(folder)])
    trainer.fit(X, Y, epochs=2)
    trainer.save(path)
    trainer.fit(X, Y, epochs=3)
    history = gn.Trainer.resume(path, callbacks=[gn.TensorBoard(folder)]).fit(X, Y, epochs=1)
    assert list(shown(folder)["loss"]) == [1, 2, 3]
    assert shown(folder) == curves_of(history)


def test_another_training_in_the_same_folder_replaces_the_first(folder):
    gn.Trainer(net(), callbacks=[gn.TensorBoard(folder)]).fit(X, Y, epochs=3)
    history = gn.Trainer(net(seed=1), callbacks=[gn.TensorBoard(folder)]).fit(X, Y, epochs=2)
    assert shown(folder) == curves_of(history)


def test_a_column_of_nan_is_written_as_it_is(folder):
    trainer = gn.Trainer(net(), callbacks=[gn.TensorBoard(folder)], metrics={"odd": lambda target, output: math.nan})
    trainer.fit(X, Y, epochs=1, validation=0.2)
    assert math.isnan(shown(folder)["val_odd"][1])


def test_measurements_before_an_error_are_in_the_file(folder):
    class Break(gn.Callback):
        def on_epoch_end(self, trainer, row):
            if row["epoch"] == 2:
                raise RuntimeError("broken")

    trainer = gn.Trainer(net(), callbacks=[gn.TensorBoard(folder), Break()])
    with pytest.raises(RuntimeError, match="broken"):
        trainer.fit(X, Y, epochs=3)
    assert shown(folder) == curves_of(trainer.history)


def test_a_folder_that_cannot_be_created_is_refused_before_the_first_step(tmp_path):
    pytest.importorskip("tensorboardX")
    (tmp_path / "file").write_text("")
    trainer = gn.Trainer(net(), callbacks=[gn.TensorBoard(tmp_path / "file" / "run")])
    with pytest.raises(OSError, match="file"):
        trainer.fit(X, Y)
    assert trainer.optimizer.steps == 0


def test_without_tensorboardx_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    trainer = gn.Trainer(net(), callbacks=[gn.TensorBoard(tmp_path / "run")])
    with pytest.raises(MissingPackageError, match=r"pip install 'gpunet\[tensorboard\]'"):
        trainer.fit(X, Y)
    assert trainer.optimizer.steps == 0
    assert list(tmp_path.iterdir()) == []

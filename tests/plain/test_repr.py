"""The repr and the HTML of gpunet's objects: short, and without arrays."""

import numpy as np
import pytest
from problems import classification, net

import gpunet as gn
from gpunet.data import Dataset, Standardizer
from gpunet.training.history import MOST_ROWS, History

X, Y = classification()


@pytest.fixture
def trained():
    trainer = gn.Trainer(net(), callbacks=[gn.TerminateOnNaN()])
    trainer.fit(X, Y, epochs=1)
    return trainer


def test_the_repr_of_a_trainer_shows_its_parts_and_progress(trained):
    assert repr(trained) == (
        f"<Trainer: 1 epoch of {trained.model!r} with CrossEntropyLoss(label_smoothing=0.0) and Adam(lr=0.001)>"
    )


def test_the_repr_of_a_tape_shows_its_size():
    tape = gn.Tape()
    tape.reset()
    net().forward(X, tape)
    assert repr(tape) == f"<Tape: step 1, {len(tape._buffers)} buffers of {tape.nbytes:,} bytes>"
    assert tape.nbytes > 0


@pytest.mark.parametrize(
    ("callback", "shown"),
    [
        (gn.ProgressBar(), "ProgressBar()"),
        (gn.TerminateOnNaN(), "TerminateOnNaN()"),
        (gn.TensorBoard("tb"), "TensorBoard(folder='tb')"),
        (gn.EarlyStopping(3, monitor="val_accuracy"), "EarlyStopping(patience=3, monitor='val_accuracy')"),
        (gn.Checkpoint("a.safetensors"), "Checkpoint(path='a.safetensors', every=1, monitor=None)"),
    ],
)
def test_the_repr_of_a_callback_shows_its_settings(callback, shown):
    assert repr(callback) == shown


def test_the_repr_of_a_log_shows_its_path():
    assert "log.csv" in repr(gn.Log("log.csv"))


def test_the_repr_of_a_data_set_shows_its_size_and_classes():
    assert repr(gn.data.digits()) == "<Dataset 'digits': 1,797 rows of shape (64,) in float32, 10 classes>"
    part = Dataset(X, X[:, 0])
    whole = Dataset(X, Y, ("a", "b", "c"), test=part)
    assert repr(part) == "<Dataset: 60 rows of shape (5,) in float32, values of shape ()>"
    assert repr(whole) == "<Dataset: 60 rows of shape (5,) in float32, 3 classes, 60 test rows>"
    assert repr(Standardizer.fit(X)) == "<Standardizer of rows of shape (5,)>"


def test_the_repr_of_an_explanation_is_its_table(trained):
    assert repr(trained.explain()) == str(trained.explain())


def test_the_repr_of_a_loss_truncates_many_weights():
    loss = gn.CrossEntropyLoss(class_weight=np.ones(1000))
    assert len(repr(loss)) < 200
    assert repr(loss).startswith("CrossEntropyLoss(label_smoothing=0.0, class_weight=[1.0, 1.0, ")


def test_a_notebook_shows_a_model_as_the_table_of_its_summary():
    shown = gn.Sequential(gn.Linear(64, 8), gn.ReLU(), gn.Linear(8, 10))._repr_html_()
    assert shown.startswith("<table>\n<tr><th>layer</th><th>output of a row</th><th>parameters</th></tr>\n")
    assert "<tr><td>2  Linear(8, 10)</td><td>(10,)</td><td>90</td></tr>" in shown
    assert shown.endswith("<p>610 parameters, float32, on cpu</p>")


def test_a_notebook_shows_a_history_as_a_table():
    history = History([{"epoch": 1, "loss": 1 / 3}, {"epoch": 12345, "loss": 0.25, "val_<loss>": 0.5}])
    assert history._repr_html_().splitlines() == [
        "<table>",
        "<tr><th>epoch</th><th>loss</th><th>val_&lt;loss&gt;</th></tr>",
        "<tr><td>1</td><td>0.3333</td><td></td></tr>",
        "<tr><td>12345</td><td>0.25</td><td>0.5</td></tr>",
        "</table>",
        "<p>&lt;History: 2 epochs; last: epoch=1.234e+04, loss=0.25, val_&lt;loss&gt;=0.5&gt;</p>",
    ]


@pytest.mark.parametrize("epochs", [0, MOST_ROWS, MOST_ROWS + 1])
def test_a_notebook_shows_the_ends_of_a_long_history(epochs):
    shown = History({"epoch": epoch + 1} for epoch in range(epochs))._repr_html_()
    cells = [line for line in shown.splitlines() if line.startswith("<tr><td>")]
    if epochs <= MOST_ROWS:
        assert len(cells) == epochs
    else:
        assert len(cells) == MOST_ROWS + 1
        assert cells[0] == "<tr><td>1</td></tr>"
        assert cells[MOST_ROWS // 2] == "<tr><td>…</td></tr>"
        assert cells[-1] == f"<tr><td>{epochs}</td></tr>"

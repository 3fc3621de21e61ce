import json
import math
import pickle
import subprocess
import sys

import pandas as pd
import pytest

from gpunet.errors import ArgumentError, MissingPackageError, StateError
from gpunet.training.history import History

ROWS = [
    {"epoch": 1, "loss": 0.5, "accuracy": 0.75, "lr": 0.1, "seconds": 2.0},
    {"epoch": 2, "loss": 0.25, "accuracy": 0.875, "val_loss": 0.375, "val_accuracy": 0.8125, "lr": 0.1, "seconds": 1.0},
]


@pytest.fixture
def history():
    return History(ROWS)


def test_rows_come_back_in_order(history):
    assert history.epochs == ROWS
    assert history.last == ROWS[1]
    assert len(history) == 2


def test_a_column_has_one_number_per_epoch(history):
    assert history["loss"] == [0.5, 0.25]
    assert all(type(value) is float for value in history["epoch"])


def test_a_missing_value_of_a_column_is_nan(history):
    first, second = history["val_loss"]
    assert math.isnan(first)
    assert second == 0.375


def test_columns_can_be_tested_with_in(history):
    assert history.columns == ["epoch", "loss", "accuracy", "lr", "seconds", "val_loss", "val_accuracy"]
    assert history.to_dict() == {column: history[column] for column in history.columns}
    assert "val_loss" in history
    assert "val_mae" not in history


def test_an_unknown_column_is_refused_with_the_known_ones(history):
    with pytest.raises(ArgumentError, match="no column 'mae'; it has epoch, loss, accuracy, lr"):
        history["mae"]


def test_an_empty_history_says_so(tmp_path):
    history = History()
    assert len(history) == 0
    with pytest.raises(ArgumentError, match="no column 'loss'; it has none"):
        history["loss"]
    with pytest.raises(StateError, match="history is empty"):
        _ = history.last
    with pytest.raises(StateError, match="nothing to plot"):
        history.plot(tmp_path / "history.png")


def test_a_history_survives_json_and_pickle(history):
    history.stopped = "interrupted"
    assert History(json.loads(json.dumps(history.epochs))).epochs == ROWS
    copy = pickle.loads(pickle.dumps(history))
    assert (copy.epochs, copy.stopped) == (ROWS, "interrupted")


def test_repr_shows_the_epochs_the_last_row_and_the_reason_of_the_end(history):
    assert repr(History()) == "<History: 0 epochs>"
    assert repr(History([{"loss": 0.123456}])) == "<History: 1 epoch; last: loss=0.1235>"
    history.stopped = "early stopping"
    assert repr(history).startswith("<History: 2 epochs; last: epoch=2, loss=0.25, accuracy=0.875")
    assert repr(history).endswith("stopped: early stopping>")


def drawn(history, tmp_path, monkeypatch):
    """The panels of the plot: for each title, the label and the values of every line."""
    figure = pytest.importorskip("matplotlib.figure").Figure
    figures = []
    monkeypatch.setattr(figure, "savefig", lambda self, *args, **kwargs: figures.append(self))
    history.plot(tmp_path / "history.png")
    return {
        axes.get_title(): {line.get_label(): list(line.get_ydata()) for line in axes.lines} for axes in figures[0].axes
    }


def test_plot_draws_loss_and_metrics_of_training_and_validation(history, tmp_path, monkeypatch):
    panels = drawn(history, tmp_path, monkeypatch)
    assert list(panels) == ["loss", "accuracy"]
    assert panels["accuracy"]["training"] == [0.75, 0.875]
    assert panels["loss"]["validation"] == pytest.approx([math.nan, 0.375], nan_ok=True)


def test_plot_without_validation_draws_training_alone(tmp_path, monkeypatch):
    panels = drawn(History([{"loss": 2.0}, {"loss": 1.0}]), tmp_path, monkeypatch)
    assert panels == {"loss": {"training": [2.0, 1.0]}}


@pytest.mark.parametrize("name", ["history.png", "history"])
def test_plot_writes_a_png_whatever_the_suffix(history, tmp_path, name):
    pytest.importorskip("matplotlib")
    history.plot(tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_plot_imports_no_pyplot():
    pytest.importorskip("matplotlib")
    code = (
        "import io, sys; from gpunet.training.history import History; assert 'matplotlib' not in sys.modules;"
        "History([{'loss': 1.0}]).plot(io.BytesIO()); assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_plot_without_matplotlib_says_how_to_install_it(history, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingPackageError, match="pip install 'matplotlib"):
        history.plot(tmp_path / "history.png")
    assert not list(tmp_path.iterdir())


def test_a_history_is_a_data_frame_of_its_rows(history):
    frame = pd.DataFrame(history)
    assert list(frame.columns) == history.columns
    assert frame["loss"].tolist() == history["loss"]
    assert frame["val_loss"].isna().tolist() == [True, False]
    assert list(history) == ROWS

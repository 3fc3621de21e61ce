from __future__ import annotations

import shutil
import sys

import numpy as np
import pytest

import gpunet as gn
from gpunet.arguments import shortened
from gpunet.cli import run
from gpunet.cli.parts import load_parts

FIGURE = pytest.importorskip("matplotlib.figure").Figure


@pytest.fixture
def panels(invoke, monkeypatch):
    """Run `gpunet plot` and return its panels by title."""
    drawn = []
    monkeypatch.setattr(FIGURE, "savefig", lambda self, *arguments, **options: drawn.append(self))

    def plot(*arguments):
        result = invoke("plot", *arguments)
        assert result.exit_code == 0, result.stderr
        return {axes.get_title(): axes for axes in drawn[-1].axes}

    return plot


@pytest.fixture
def copied(flowers_run, tmp_path):
    """A copy of a run, for tests that damage it."""
    return shutil.copytree(flowers_run, tmp_path / "copied")


def written(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_plot_is_saved_in_the_runs_folder(invoke, copied):
    result = invoke("plot", copied)
    assert result.exit_code == 0
    assert result.stdout == f"see {copied / 'plot.png'}\n"
    assert (copied / "plot.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def test_a_plot_shows_the_curves_and_the_confusion_matrix_of_the_test_part(panels, digits_run, tmp_path):
    folder, trained = digits_run
    drawn = panels(folder, "--out", tmp_path / "digits.png")
    assert list(drawn) == ["loss", "accuracy", "confusion matrix"]
    curves = {line.get_label(): list(line.get_ydata()) for line in drawn["accuracy"].lines}
    history = gn.Trainer.resume(folder / run.CHECKPOINT).history
    assert curves == {"training": history["accuracy"], "validation": history["val_accuracy"]}
    counts = drawn["confusion matrix"].images[0].get_array()
    assert counts.sum() == 360
    assert counts.trace() / 360 == pytest.approx(trained["test"]["accuracy"])
    held_out = load_parts(run.Settings.read(folder))["test"]
    np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(held_out.y))
    assert [tick.get_text() for tick in drawn["confusion matrix"].get_xticklabels()] == list("0123456789")


def test_several_runs_share_the_panels(panels, digits_run, flowers_run, tmp_path):
    drawn = panels(digits_run[0], flowers_run, "--out", tmp_path / "both.png")
    names = [str(digits_run[0]), str(flowers_run)]
    assert list(drawn) == ["loss", "accuracy", *(f"confusion matrix\n{shortened(name, -40)}" for name in names)]
    labels = [line.get_label() for line in drawn["loss"].lines]
    assert labels == [f"{part} {name}" for name in names for part in ("training", "validation")]
    assert [len(line.get_ydata()) for line in drawn["loss"].lines] == [3, 3, 10, 10]


def test_a_regression_has_no_confusion_matrix(panels, invoke, line, tmp_path):
    invoke("train", line, "--epochs", 2, "--out", tmp_path / "run")
    assert list(panels(tmp_path / "run")) == ["loss", "mae", "r2"]


def test_several_runs_need_an_output_file(refused, flowers_run, digits_run):
    assert "--out" in refused("plot", flowers_run, digits_run[0])


def test_out_rejects_a_file_that_is_not_a_png(refused, copied):
    before = written(copied)
    assert ".png" in refused("plot", copied, "--out", copied / "model.safetensors")
    assert written(copied) == before


@pytest.mark.parametrize("name", ["nowhere/p.png", "folder.png"])
def test_an_unwritable_output_is_rejected_and_leaves_nothing(refused, copied, tmp_path, name):
    (tmp_path / "folder.png").mkdir()
    before = written(tmp_path)
    assert name.split("/")[0] in refused("plot", copied, "--out", tmp_path / name)
    assert written(tmp_path) == before


def test_anything_but_a_run_is_rejected(refused, flowers_run, tmp_path):
    assert "config.json" in refused("plot", tmp_path)
    assert "config.json" in refused("plot", tmp_path / "nowhere")
    assert "config.json" in refused("plot", flowers_run / "model.safetensors")
    assert "config.json" in refused("plot", flowers_run, tmp_path, "--out", tmp_path / "p.png")
    assert written(tmp_path) == {}


@pytest.mark.parametrize("missing", ["model.safetensors", "metrics.jsonl"])
def test_an_unfinished_run_is_rejected_with_the_command_to_resume(refused, copied, missing):
    (copied / missing).unlink()
    message = refused("plot", copied)
    assert "unfinished" in message
    assert "gpunet train --resume" in message
    assert not (copied / "plot.png").exists()


@pytest.mark.parametrize("log", ['{"epoch": 1, "loss": 0.5', '{"epoch": "one"}', "[1]", b"\xff\xfe".decode("latin-1")])
def test_a_damaged_log_is_rejected_naming_the_file(refused, copied, log):
    (copied / "metrics.jsonl").write_bytes(log.encode("latin-1"))
    assert "metrics.jsonl" in refused("plot", copied)


def test_data_that_changed_since_the_run_began_is_rejected(invoke, refused, flowers, tmp_path):
    data = tmp_path / "data.csv"
    text = flowers.read_text(encoding="utf-8")
    data.write_text(text, encoding="utf-8")
    invoke("train", data, "--epochs", 1, "--out", tmp_path / "run")
    data.write_text(text.replace("rose", "tulip"), encoding="utf-8")
    assert f"{data}: changed since" in refused("plot", tmp_path / "run")
    data.unlink()
    assert "data.csv" in refused("plot", tmp_path / "run")
    assert not (tmp_path / "run" / "plot.png").exists()


def test_without_matplotlib_the_error_says_how_to_install_it(refused, copied, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "pip install 'matplotlib" in refused("plot", copied)
    assert not (copied / "plot.png").exists()

from __future__ import annotations

import json
import math
import re
from dataclasses import replace

import pytest

import gpunet as gn
from gpunet.cli.run import Settings

SETTINGS = Settings("digits", None, None, [8], "relu", 0.0, 0.0, 9, 32, "Adam", 0.001, "cpu", 0, "0" * 64)
LOSSES = (0.5, 0.25, 0.375)


def write_run(folder, settings=SETTINGS, losses=LOSSES, test=None):
    """Write the files of a run of `train`: one epoch of two seconds for each validation loss."""
    settings.write(folder)
    rows = [
        {"epoch": epoch, "loss": 1.0, "val_loss": loss, "val_accuracy": 1 - (loss or 1), "lr": 0.1, "seconds": 2.0}
        for epoch, loss in enumerate(losses, 1)
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if test is not None:
        (folder / "results.json").write_text(json.dumps({"test": test}))
    return folder


@pytest.fixture
def runs(tmp_path):
    """Two runs; the second has not ended."""
    first = write_run(tmp_path / "first", test={"loss": 0.125, "accuracy": 0.75})
    return first, write_run(tmp_path / "second", replace(SETTINGS, hidden=[16, 8], lr=0.01), (0.5,))


def table(text):
    """Return the rows of a table whose columns are separated by at least two spaces."""
    names, *rows = (re.split(r" {2,}", line) for line in text.splitlines())
    return [dict(zip(names, row, strict=True)) for row in rows]


def test_the_table_shows_the_settings_that_differ_and_the_results(invoke, runs):
    result = invoke("compare", *runs)
    assert result.exit_code == 0
    first, second = table(result.stdout)
    assert first == {
        "run": str(runs[0]),
        "hidden": "8",
        "lr": "0.001",
        "epochs done": "3",
        "best epoch": "2",
        "best val_loss": "0.2500",
        "best val_accuracy": "0.7500",
        "last val_loss": "0.3750",
        "last val_accuracy": "0.6250",
        "test loss": "0.1250",
        "test accuracy": "0.7500",
        "seconds": "6.0",
    }
    assert (second["hidden"], second["lr"], second["epochs done"]) == ("16,8", "0.01", "1")
    assert (second["test loss"], second["test accuracy"]) == ("-", "-")


def test_columns_are_aligned_with_their_names(invoke, runs):
    names, first, second = invoke("compare", *runs).stdout.splitlines()
    assert len(names) == len(first) == len(second)
    assert first.index("0.1250") + 6 == names.index("test loss") + len("test loss")


def test_json_is_one_line_in_full_precision(invoke, runs):
    (line,) = invoke("compare", *runs, "--json").stdout.splitlines()
    answer = json.loads(line)
    assert list(answer) == [str(folder) for folder in runs]
    assert answer[str(runs[0])] == {
        "settings": {"hidden": [8], "lr": 0.001},
        "epochs": 3,
        "best": {"epoch": 2, "val_loss": 0.25, "val_accuracy": 0.75},
        "last": {"val_loss": 0.375, "val_accuracy": 0.625},
        "test": {"loss": 0.125, "accuracy": 0.75},
        "seconds": 6.0,
    }
    assert answer[str(runs[1])]["test"] == {}


def test_a_single_run_shows_no_settings(invoke, runs):
    (row,) = table(invoke("compare", runs[0]).stdout)
    assert list(row)[:2] == ["run", "epochs done"]


def test_data_that_changed_between_two_runs_is_shown(invoke, tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", replace(SETTINGS, sha256="1" * 64))
    a, b = table(invoke("compare", tmp_path / "a", tmp_path / "b").stdout)
    assert (a["sha256"], b["sha256"]) == ("0" * 8, "1" * 8)


def test_absent_settings_are_a_dash(invoke, tmp_path):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", replace(SETTINGS, target="y", columns=["x"], roles={"x": "number"}))
    a, _ = table(invoke("compare", tmp_path / "a", tmp_path / "b").stdout)
    assert [a[name] for name in ("target", "columns", "roles")] == ["-"] * 3


@pytest.mark.parametrize(("losses", "best"), [((None, 0.5), 2), ((0.5, None), 1), ((None, None), 1)])
def test_a_nan_loss_is_never_the_best_if_another_is_finite(invoke, tmp_path, losses, best):
    write_run(tmp_path, losses=losses)
    (row,) = json.loads(invoke("compare", tmp_path, "--json").stdout).values()
    assert row["best"]["epoch"] == best
    assert row["last"]["val_loss"] == losses[-1]
    (row,) = table(invoke("compare", tmp_path).stdout)
    assert math.isnan(float(row["last val_loss"])) is (losses[-1] is None)


def test_runs_of_different_tasks_show_a_dash_for_missing_metrics(invoke, runs, tmp_path):
    write_run(tmp_path / "third", test={"loss": 0.5, "r2": 0.875})
    classifier, regression = table(invoke("compare", runs[0], tmp_path / "third").stdout)
    assert (classifier["test accuracy"], classifier["test r2"]) == ("0.7500", "-")
    assert (regression["test accuracy"], regression["test r2"]) == ("-", "0.8750")


def test_a_trained_run_shows_the_results_of_train(invoke, digits_run):
    folder, trained = digits_run
    (row,) = json.loads(invoke("compare", folder, "--json").stdout).values()
    assert row["test"] == trained["test"]
    assert row["epochs"] == 3
    best = min(gn.Trainer.resume(folder / "checkpoint.safetensors").history.epochs, key=lambda epoch: epoch["val_loss"])
    assert row["best"] == {name: best[name] for name in ("epoch", "val_loss", "val_accuracy")}


def test_anything_but_a_run_is_rejected(refused, runs, tmp_path):
    assert "config.json" in refused("compare", tmp_path)
    assert "config.json" in refused("compare", *runs, tmp_path / "nowhere", "--json")
    (runs[0] / "config.json").write_text("{]")
    assert "config.json" in refused("compare", *runs)


def test_a_run_without_an_epoch_is_rejected_with_the_command_to_resume(refused, tmp_path):
    message = refused("compare", write_run(tmp_path, losses=()))
    assert "unfinished" in message
    assert "gpunet train --resume" in message


@pytest.mark.parametrize("text", ["", "{]", "[]", "{}", '{"test": {"loss": "low"}}'])
def test_damaged_results_are_rejected_naming_the_file(refused, runs, text):
    (runs[0] / "results.json").write_text(text)
    assert "results.json" in refused("compare", *runs)

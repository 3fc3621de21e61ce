from __future__ import annotations

import csv
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import gpunet as gn
from gpunet.cli import run
from gpunet.cli.parts import load_parts
from gpunet.files import read_arrays

WITHOUT_END = ("--schedule", "constant")  # the schedule of tables ends with their epochs, and no more can follow


def arrays(folder: Path) -> dict[str, np.ndarray]:
    return read_arrays(folder / "model.safetensors", "model")[0]


def assert_same_model(one: Path, other: Path) -> None:
    left, right = arrays(one), arrays(other)
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


def settings(data: str = "digits", seed: int = 0) -> run.Settings:
    return run.Settings(data, None, None, (8,), "relu", 0.0, 0.0, 1, 32, "Adam", 0.001, "cpu", seed)


def test_json_is_one_line_and_nothing_else(invoke, tmp_path):
    result = invoke("train", "digits", "--epochs", 2, "--out", tmp_path / "run", "--json")
    assert result.exit_code == 0
    assert result.stderr == ""
    (line,) = result.stdout.splitlines()
    answer = json.loads(line)
    assert answer["device"] == "cpu"
    assert answer["epochs"] == 2
    assert answer["stopped"] is None
    assert answer["run"] == str(tmp_path / "run")
    assert answer["seconds"] > 0
    for part in ("train", "validation", "test"):
        assert answer[part]["loss"] < 2
        assert answer[part]["accuracy"] > 0.6


def test_the_output_shows_device_model_results_and_folder(invoke, tmp_path):
    result = invoke("train", "digits", "--epochs", 1, "--hidden", "16,8", "--device", "auto", "--out", tmp_path / "run")
    assert result.exit_code == 0
    assert "chosen by auto" in result.stdout
    assert "Linear(64, 16, activation=ReLU())" in result.stdout
    assert "Linear(8, 10)" in result.stdout
    table = [
        line.split() for line in result.stdout.splitlines() if line.startswith((" ", "train", "validation", "test"))
    ]
    assert [row[0] for row in table] == ["loss", "train", "validation", "test"]
    assert str(tmp_path / "run") in result.stdout.splitlines()[-1]
    assert "samples/s" not in result.stderr  # there is no terminal


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_a_terminal_shows_a_progress_bar(tmp_path):
    import pty
    import termios

    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 120))
    command = [sys.executable, "-m", "gpunet", "train", "digits", "--epochs", "1", "--hidden", "8", "--device", "cpu"]
    subprocess.run(
        [*command, "--out", str(tmp_path / "run")], check=True, stdout=subprocess.DEVNULL, stderr=theirs, timeout=60
    )
    os.close(theirs)
    shown = ""
    with suppress(OSError):  # Linux's end of a pseudo-terminal
        while part := os.read(ours, 100_000):
            shown += part.decode()
    os.close(ours)
    assert "epoch 1" in shown
    assert "samples/s" in shown


def test_the_run_folder_has_all_files(digits_run):
    folder, answer = digits_run
    expected = {"model.safetensors", "checkpoint.safetensors", "config.json", "metrics.jsonl", "results.json"}
    assert {file.name for file in folder.iterdir()} - {"history.png"} == expected
    assert (folder / "history.png").exists() == (find_spec("matplotlib") is not None)
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    config = json.loads((folder / "config.json").read_text())
    assert config["data"] == "digits"
    assert config["epochs"] == 3
    assert json.loads((folder / "results.json").read_text()) == answer
    held_out = load_parts(settings())["test"]
    accuracy = (gn.load(folder / "model.safetensors").predict(held_out.X).astype(int) == held_out.y).mean()
    assert accuracy == pytest.approx(answer["test"]["accuracy"])


def test_the_test_part_is_stratified_and_the_same_for_every_seed():
    one, other = load_parts(settings(seed=0)), load_parts(settings(seed=1))
    for part in ("train", "validation", "test"):
        np.testing.assert_array_equal(one[part].X, other[part].X)
    assert [len(part) for part in one.values()] == pytest.approx([0.64 * 1797, 0.16 * 1797, 0.2 * 1797], abs=5)
    share = np.bincount(one["test"].y) / np.bincount(gn.data.digits().y)
    assert share == pytest.approx(np.full(10, 0.2), abs=0.01)


def test_the_test_part_of_a_source_is_used_unchanged(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(100, 2, 3)), np.arange(100) % 2
    np.savez(tmp_path / "images.npz", X=X, y=y, X_test=X[:7] + 1, y_test=y[:7])
    parts = load_parts(settings(str(tmp_path / "images.npz")))
    assert [len(part) for part in parts.values()] == [80, 20, 7]
    np.testing.assert_allclose(parts["test"].X, (X[:7] + 1).reshape(7, 6), rtol=1e-6)


def test_standardisation_uses_only_the_training_part(digits_run):
    model = gn.load(digits_run[0] / "model.safetensors")
    np.testing.assert_allclose(model.input_scaler.mean, load_parts(settings())["train"].X.mean(axis=0), rtol=1e-5)


def test_regression_reports_in_the_units_of_the_target(invoke, line, tmp_path):
    result = invoke("train", line, "--epochs", 20, "--lr", 0.01, "--out", tmp_path / "run", "--json")
    answer = json.loads(result.stdout)
    assert answer["test"]["r2"] > 0.95
    assert answer["test"]["mae"] > 0.5  # standardised targets would give far less
    model = gn.load(tmp_path / "run" / "model.safetensors")
    assert model.predict(np.zeros((1, 3))) == pytest.approx([1000], abs=50)


def test_a_feature_with_a_large_mean_is_learnt_from_csv_and_npz(invoke, tmp_path):
    x = 1e5 + 1e-3 * np.random.default_rng(0).standard_normal(300)
    y = 1e9 + (x - 1e5) * 1e5
    np.savetxt(tmp_path / "far.csv", np.column_stack([x, y]), "%.17g", ",", header="x,y", comments="")
    np.savez(tmp_path / "far.npz", X=x[:, None], y=y)
    for kind in ("csv", "npz"):
        arguments = ("--epochs", 40, "--out", tmp_path / kind, "--json")
        assert json.loads(invoke("train", tmp_path / f"far.{kind}", *arguments).stdout)["test"]["r2"] > 0.98
        data = tmp_path / f"far.{kind}"
        assert json.loads(invoke("evaluate", tmp_path / kind, data, "--json").stdout)["r2"] > 0.98


def test_target_and_task_select_the_column_and_its_meaning(invoke, flowers, tmp_path):
    invoke("train", flowers, "--target", "length", "--task", "regression", "--epochs", 1, "--out", tmp_path)
    model = gn.load(tmp_path / "model.safetensors")
    assert model.task == "regression"
    assert [column.name for column in model.schema.columns] == ["colour", "width", "kind"]


def test_every_optimizer_learns_at_its_default_rate(invoke, tmp_path):
    for optimizer in ("sgd", "adam", "adamw", "rmsprop"):
        arguments = ("--optimizer", optimizer, "--epochs", 5, "--out", tmp_path / optimizer, "--json")
        answer = json.loads(invoke("train", "digits", *arguments).stdout)
        assert answer["validation"]["accuracy"] > 0.9, optimizer


def test_the_table_shows_the_loss_that_evaluate_gives(invoke, flowers, tmp_path):
    with open(flowers, encoding="utf-8") as file:
        header, *rows = file.readlines()
    invoke("train", flowers, "--label-smoothing", 0.5, "--epochs", 2, "--out", tmp_path / "run", "--json")
    held_out = gn.data.split_indices([row.endswith("rose\n") for row in rows], (0.64, 0.16, 0.2), seed=0)[2]
    (tmp_path / "test.csv").write_text(header + "".join(rows[index] for index in held_out), encoding="utf-8")
    table = json.loads(invoke("train", "--resume", tmp_path / "run", "--json").stdout)["test"]
    answer = json.loads(invoke("evaluate", tmp_path / "run", tmp_path / "test.csv", "--json").stdout)
    assert {name: answer[name] for name in table} == pytest.approx(table)


def test_resume_to_more_epochs_equals_one_long_run_bit_for_bit(invoke, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = ("--dropout", 0.3, "--batch-size", 50, "--seed", 3)
    invoke("train", "digits", *options, "--epochs", 4, "--out", whole)
    invoke("train", "digits", *options, "--epochs", 2, "--out", parts)
    answer = json.loads(invoke("train", "--resume", parts, "--epochs", 4, "--json").stdout)
    assert answer["epochs"] == 4
    assert json.loads((parts / "config.json").read_text())["epochs"] == 4
    assert len((parts / "metrics.jsonl").read_text().splitlines()) == 4
    assert_same_model(whole, parts)


@pytest.mark.parametrize("column", [0, 3], ids=["feature", "target"])
def test_resume_rejects_data_that_changed_since_the_run_began(invoke, refused, flowers, tmp_path, column):
    data, run_folder = tmp_path / "data.csv", tmp_path / "run"
    data.write_bytes(flowers.read_bytes())
    invoke("train", data, *WITHOUT_END, "--epochs", 1, "--out", run_folder)
    header, first, *rows = flowers.read_text(encoding="utf-8").splitlines()
    cells = first.split(",")
    cells[column] = {0: "0.5", 3: "lily" if cells[3] == "rose" else "rose"}[column]
    data.write_text("\n".join([header, ",".join(cells), *rows]), encoding="utf-8")
    message = refused("train", "--resume", run_folder, "--epochs", 2, "--json")
    assert f"{data}: changed since the run began" in message
    assert json.loads((run_folder / "config.json").read_text())["epochs"] == 1
    data.write_bytes(flowers.read_bytes())
    assert invoke("train", "--resume", run_folder, "--epochs", 2).exit_code == 0


def test_resume_of_a_finished_run_changes_nothing(invoke, flowers, tmp_path):
    run_folder = tmp_path / "run"
    arguments = (*WITHOUT_END, "--patience", 10, "--lr", 0.05, "--epochs", 60, "--out", run_folder, "--json")
    first = json.loads(invoke("train", flowers, *arguments).stdout)
    assert first["stopped"] == "early stopping"
    before = arrays(run_folder)
    again = json.loads(invoke("train", "--resume", run_folder, "--json").stdout)
    assert again["test"] == first["test"]
    assert again["stopped"] == "early stopping"
    assert again["seconds"] == first["seconds"]
    longer = json.loads(invoke("train", "--resume", run_folder, "--epochs", 99, "--json").stdout)
    assert longer["epochs"] == first["epochs"]
    for name, a in arrays(run_folder).items():
        np.testing.assert_array_equal(a, before[name])


def test_resume_of_a_complete_run_says_that_there_is_nothing_to_do(invoke, flowers, tmp_path):
    invoke("train", flowers, *WITHOUT_END, "--epochs", 2, "--out", tmp_path / "run")
    result = invoke("train", "--resume", tmp_path / "run")
    assert result.exit_code == 0
    assert "Nothing to do: the run has completed its 2 epochs. A larger --epochs extends it." in result.stderr


def test_a_run_whose_schedule_has_ended_cannot_be_extended(invoke, refused, flowers, tmp_path):
    invoke("train", flowers, "--epochs", 1, "--out", tmp_path / "run")
    assert "the run has completed its 1 epoch.\n" in invoke("train", "--resume", tmp_path / "run").stderr
    message = refused("train", "--resume", tmp_path / "run", "--epochs", 2)
    assert "--epochs: the learning rate reaches 0 after 1 epoch; start a new run" in message


def test_a_resumed_run_has_no_results_until_it_ends(invoke, flowers, tmp_path, monkeypatch):
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    invoke("train", flowers, *WITHOUT_END, "--epochs", 1, "--out", tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(gn.Trainer, "fit", interrupted)
        invoke("train", "--resume", tmp_path / "run", "--epochs", 2)
    assert not (tmp_path / "run" / "results.json").exists()
    invoke("train", "--resume", tmp_path / "run", "--epochs", 2)
    assert json.loads((tmp_path / "run" / "results.json").read_text())["epochs"] == 2


@pytest.mark.skipif(os.name == "nt", reason="Windows has no signal for one process alone")
def test_ctrl_c_saves_everything_and_prints_the_command_to_resume(invoke, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut short"
    options = ["train", "digits", "--hidden", "16", "--epochs", "30", "--dropout", "0.3", "--device", "cpu"]
    assert invoke(*options, "--out", whole).exit_code == 0
    command = [sys.executable, "-m", "gpunet"]
    process = subprocess.Popen(
        [*command, *options, "--out", str(cut)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (cut / "metrics.jsonl").exists() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in error
    assert gn.load(cut / "model.safetensors").predict(gn.data.digits().X[:1]).shape == (1,)
    program, *arguments = shlex.split(error.splitlines()[-1])
    assert program == "gpunet"
    subprocess.run([*command, *arguments], check=True, capture_output=True, timeout=60)
    assert_same_model(whole, cut)


def test_ctrl_c_before_training_exits_quietly(invoke, tmp_path, monkeypatch):
    def interrupted(settings: run.Settings) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["gpunet.cli.train"], "load_parts", interrupted)
    result = invoke("train", "digits", "--out", tmp_path / "run", "--json")
    assert result.exit_code == 130
    assert not (tmp_path / "run").exists()


def test_a_diverged_run_keeps_finite_weights_and_exits_with_1(invoke, tmp_path):
    result = invoke("train", "digits", "--optimizer", "sgd", "--lr", 1e30, "--out", tmp_path / "run", "--json")
    assert result.exit_code == 1
    assert "Lower --lr" in result.stderr
    assert "Warning: epoch 1: from step 2 of the training on, gradients were not finite" in result.stderr
    assert json.loads(result.stdout)["stopped"] == "non-finite loss"
    assert all(np.isfinite(a).all() for a in arrays(tmp_path / "run").values())


def test_a_diverged_run_with_finite_weights_exits_with_1_and_so_do_folds(invoke, flowers, tmp_path):
    given = ("--target", "width", "--lr", 1e8, "--epochs", 2, "--batch-size", 8)
    result = invoke("train", flowers, *given, "--out", tmp_path / "run", "--json")
    folds = invoke("train", flowers, *given, "--folds", 2, "--out", tmp_path / "folds", "--json")
    assert json.loads(result.stdout)["stopped"] is None
    assert result.exit_code == folds.exit_code == 1
    assert "over 100 times that of the untrained model" in result.stderr
    assert "Error: folds 1, 2: " in folds.stderr
    assert set(json.loads(folds.stdout)["folds"]) == {"fold 1", "fold 2"}


def test_a_run_that_fails_before_its_first_epoch_leaves_no_folder(invoke, flowers, tmp_path):
    given = ("train", flowers, "--batch-norm", "--epochs", 1, "--out", tmp_path / "run", "--batch-size")
    assert invoke(*given, 1).exit_code == 2
    assert not (tmp_path / "run").exists()
    assert invoke(*given, 8).exit_code == 0


def test_the_default_folder_is_named_after_the_data(invoke, flowers, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = json.loads(invoke("train", flowers, "--epochs", 1, "--json").stdout)["run"]
    second = json.loads(invoke("train", flowers, "--epochs", 1, "--json").stdout)["run"]
    assert first != second
    assert Path(first).parent == Path("runs")
    assert Path(first).name.startswith("flowers-")


def test_a_run_is_resumed_from_another_working_folder(invoke, flowers, tmp_path, monkeypatch):
    monkeypatch.chdir(flowers.parent)
    invoke("train", flowers.name, *WITHOUT_END, "--epochs", 1, "--out", tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    assert invoke("train", "--resume", "run", "--epochs", 2).exit_code == 0


def test_a_folder_that_is_not_empty_is_rejected_and_unchanged(refused, tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    message = refused("train", "digits", "--out", tmp_path)
    assert str(tmp_path) in message
    assert [file.name for file in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["nowhere.csv"], "nowhere.csv"),
        (["digits", "--lr", "-1"], "lr"),
        (["digits", "--lr", "nan"], "lr"),
        (["digits", "--hidden", "8,0"], "out_features"),
        (["digits", "--label-smoothing", "2"], "label_smoothing"),
        (["digits", "--target", "kind"], "target"),
        (["digits", "--device", "cuda:99"], "cuda"),
        (["digits", "--device", "gpu"], "unknown device 'gpu'"),
    ],
)
def test_invalid_input_gives_one_line_and_leaves_no_folder(refused, tmp_path, arguments, named):
    assert named in refused("train", *arguments, "--out", tmp_path / "run", "--json")
    assert not (tmp_path / "run").exists()


def test_balanced_class_weights_use_the_row_counts_also_after_resume(invoke, tmp_path):
    rng = np.random.default_rng(0)
    data = tmp_path / "rare.npz"
    np.savez(data, X=rng.normal(size=(200, 3)), y=np.arange(200) < 30)
    given = ("--class-weight", "balanced", "--hidden", 8)
    whole, parts, plain = (tmp_path / name for name in ("whole", "parts", "plain"))
    assert invoke("train", data, "--epochs", 4, *given, "--out", whole).exit_code == 0
    assert invoke("train", data, "--epochs", 2, *given, "--out", parts).exit_code == 0
    assert invoke("train", "--resume", parts, "--epochs", 4).exit_code == 0
    assert invoke("train", data, "--epochs", 4, "--hidden", 8, "--out", plain).exit_code == 0
    assert_same_model(whole, parts)
    assert (arrays(whole)["params.0.weight"] != arrays(plain)["params.0.weight"]).any()
    loss = gn.Trainer.resume(whole / "checkpoint.safetensors").loss
    rows = np.bincount(load_parts(run.Settings.read(whole))["train"].y)
    np.testing.assert_allclose(loss.class_weight, rows.sum() / (2 * rows))


def test_class_weights_are_rejected_for_regression(refused, line, tmp_path):
    message = refused("train", line, "--class-weight", "balanced", "--out", tmp_path / "run", "--json")
    assert "--class-weight: the target holds values, not classes" in message
    assert not (tmp_path / "run").exists()


def test_a_missing_target_column_is_named(refused, flowers, tmp_path):
    assert "'price'" in refused("train", flowers, "--target", "price", "--out", tmp_path / "run", "--json")


def test_a_target_of_one_class_is_rejected(refused, tmp_path):
    path = tmp_path / "same.csv"
    path.write_text("a,b\n" + "1,yes\n" * 20)
    assert "'yes'" in refused("train", path, "--out", tmp_path / "run", "--json")


def test_cuda_without_cupy_says_what_is_missing(refused, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cupy", None)
    message = refused("train", "digits", "--device", "cuda:7", "--out", tmp_path / "run")
    assert "CuPy is not installed" in message
    assert "pip install" in message


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["digits", "--hidden", "many"],
        ["digits", "--epochs", "0"],
        ["digits", "--optimizer", "lbfgs"],
        ["digits", "--dropout", "1"],
        ["digits", "--dropout", "2"],
    ],
)
def test_bad_usage_exits_with_2(invoke, arguments):
    result = invoke("train", *arguments)
    assert result.exit_code == 2
    assert "Usage: " in result.stderr


def test_resume_takes_the_settings_from_the_run(invoke, digits_run):
    result = invoke("train", "--resume", digits_run[0], "--lr", 1)
    assert result.exit_code == 2
    assert "'--lr': cannot change with --resume" in result.stderr


def test_resume_of_anything_but_a_run_is_rejected(refused, tmp_path):
    assert "config.json" in refused("train", "--resume", tmp_path)
    (tmp_path / "config.json").write_text("{]")
    assert "config.json" in refused("train", "--resume", tmp_path)
    (tmp_path / "config.json").write_text('{"colour": "red"}')
    assert "config.json" in refused("train", "--resume", tmp_path)


@pytest.fixture(scope="session")
def rare(tmp_path_factory):
    """An npz file of 1,000 rows of noise, 2 % of class "rare"."""
    path = tmp_path_factory.mktemp("data") / "rare.npz"
    y = np.where(np.arange(1000) % 50, "common", "rare")
    np.savez(path, X=np.random.default_rng(0).normal(size=(1000, 3)), y=y)
    return path


def test_rare_classes_and_a_model_that_never_predicts_them_give_notices(invoke, rare, tmp_path):
    result = invoke("train", rare, "--epochs", 1, "--hidden", 4, "--out", tmp_path / "run")
    assert "Rare classes: 'rare' 2.0% of the training rows" in result.stderr
    assert "--class-weight balanced" in result.stderr
    assert "Warning: no row of class 'rare' is recognised" in result.stderr


def test_classes_of_the_same_size_are_not_called_rare(invoke, flowers, tmp_path):
    assert "Rare" not in invoke("train", flowers, "--epochs", 1, "--out", tmp_path / "run").stderr


def test_the_best_epoch_is_that_of_the_metric(invoke, rare, tmp_path):
    given = ("--metric", "auc", "--no-early-stopping", "--epochs", 12, "--json", "--out", tmp_path / "run")
    answer = json.loads(invoke("train", rare, *given).stdout)
    assert answer["epochs"] == 12
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    best = max(row["val_auc"] for row in rows)
    assert answer["validation"]["auc"] == pytest.approx(best, abs=1e-6)
    assert rows[-1]["val_auc"] < best  # or the test would show nothing
    (compared,) = json.loads(invoke("compare", tmp_path / "run", "--json").stdout).values()
    assert compared["best"]["val_auc"] == best


def test_patience_ends_the_training_and_a_resumed_run_keeps_it(invoke, rare, tmp_path):
    given = ("--patience", 2, "--epochs", 90, "--json", "--out", tmp_path / "run")
    answer = json.loads(invoke("train", rare, *given).stdout)
    assert answer["stopped"] == "early stopping"
    rows = [json.loads(line)["val_loss"] for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert int(np.argmin(rows)) == len(rows) - 3


def test_a_cosine_schedule_ends_at_zero_and_cannot_be_extended_or_shortened(invoke, refused, flowers, tmp_path):
    invoke("train", flowers, "--schedule", "cosine", "--lr", 0.5, "--epochs", 3, "--out", tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert 0.5 > rows[0]["lr"] > rows[1]["lr"] > rows[2]["lr"]
    schedule = gn.Trainer.resume(tmp_path / "run" / "checkpoint.safetensors").optimizer.schedule
    assert schedule(3 * 3) == 0
    for epochs in (4, 2):
        message = refused("train", "--resume", tmp_path / "run", "--epochs", epochs)
        assert "reaches 0 after 3 epochs" in message
    assert invoke("train", "--resume", tmp_path / "run", "--epochs", 3).exit_code == 0


def test_counts_are_trained_and_evaluated_with_their_loss(invoke, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2))
    np.savez(tmp_path / "counts.npz", X=X, y=rng.poisson(np.exp(1 + X[:, 0])))
    given = ("--task", "regression", "--loss", "poisson", "--epochs", 60, "--json", "--out", tmp_path / "run")
    answer = json.loads(invoke("train", tmp_path / "counts.npz", *given).stdout)
    assert gn.load(tmp_path / "run" / "model.safetensors").task == "counts"
    assert answer["test"]["r2"] > 0.5


def test_options_reach_the_trainer(invoke, flowers, tmp_path):
    given = ("--weight-decay", 0.25, "--schedule", "plateau", "--batch-norm", "--tensorboard", "--epochs", 1)
    assert invoke("train", flowers, *given, "--hidden", "8,4", "--out", tmp_path / "run").exit_code == 0
    trainer = gn.Trainer.resume(tmp_path / "run" / "checkpoint.safetensors")
    assert trainer.optimizer.weight_decay == 0.25
    assert isinstance(trainer.optimizer.schedule, gn.schedules.ReduceLROnPlateau)
    assert [type(layer).__name__ for layer in trainer.model.layers].count("BatchNorm1d") == 2
    assert any((tmp_path / "run" / "tensorboard").iterdir())


@pytest.mark.parametrize(
    ("data", "given", "named"),
    [
        ("line", ["--metric", "auc"], "--metric auc: the target holds values; choose from mae, r2, rmse"),
        ("flowers", ["--metric", "r2"], "--metric r2: the target holds classes"),
        ("flowers", ["--loss", "huber"], "--loss huber: the target holds classes"),
    ],
)
def test_options_of_the_other_task_are_rejected(refused, request, tmp_path, data, given, named):
    assert named in refused("train", request.getfixturevalue(data), *given, "--out", tmp_path / "run", "--json")
    assert not (tmp_path / "run").exists()


def test_shares_divide_the_rows(invoke, flowers, tmp_path):
    given = ("--test", 0.2, "--validation", 0.5, "--epochs", 1, "--out", tmp_path / "run")
    assert "60 train, 60 validation, 30 test" in invoke("train", flowers, *given).stdout


def test_a_run_without_a_test_part_is_trained_plotted_and_compared(invoke, flowers, tmp_path):
    folder = tmp_path / "run"
    answer = json.loads(invoke("train", flowers, "--test", 0, "--epochs", 1, "--out", folder, "--json").stdout)
    assert "test" not in answer
    result = invoke("evaluate", folder, flowers, "--json")
    assert json.loads(result.stdout)["rows"] == 150
    assert (
        "the run held out no test part of it; all of its rows are evaluated, including those that trained"
        in result.stderr
    )
    assert invoke("plot", folder).exit_code == 0
    assert invoke("compare", folder).exit_code == 0


def test_validation_and_test_files_use_the_columns_and_classes_of_the_data(invoke, flowers, tmp_path):
    header, *rows = flowers.read_text(encoding="utf-8").splitlines()
    for name, part in (("train", rows[:100]), ("validation", rows[100:120]), ("test", rows[120:])):
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *part]), encoding="utf-8")
    given = ("--validation", tmp_path / "validation.csv", "--test", tmp_path / "test.csv", "--epochs", 2)
    result = invoke("train", tmp_path / "train.csv", *given, "--out", tmp_path / "run")
    assert "100 train, 20 validation, 30 test" in result.stdout
    written = json.loads((tmp_path / "run" / "results.json").read_text())
    alone = json.loads(
        invoke("evaluate", tmp_path / "run" / "model.safetensors", tmp_path / "test.csv", "--json").stdout
    )
    assert alone["accuracy"] == written["test"]["accuracy"]
    result = invoke("evaluate", tmp_path / "run", tmp_path / "train.csv")
    assert result.stdout.startswith(" ")
    assert "100 rows " in result.stdout
    assert (
        "the run held out no test part of it; all of its rows are evaluated, including those that trained"
        in result.stderr
    )


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few users make links")
@pytest.mark.parametrize("part", ["--validation", "--test"])
def test_the_rows_that_train_do_not_also_validate_or_test(refused, flowers, tmp_path, part):
    (tmp_path / "link.csv").symlink_to(flowers)
    for given in (flowers, tmp_path / "link.csv"):
        message = refused("train", flowers, part, given, "--out", tmp_path / "run")
        assert f"{part} {given}: its rows train the model" in message
    assert not (tmp_path / "run").exists()


def test_a_test_share_is_rejected_if_the_source_has_a_test_part(refused, tmp_path):
    X, y = np.zeros((20, 2)), np.arange(20) % 2
    np.savez(tmp_path / "own.npz", X=X, y=y, X_test=X, y_test=y)
    message = refused("train", tmp_path / "own.npz", "--test", 0.3, "--out", tmp_path / "run", "--json")
    assert "has a test part of its own" in message


def test_class_weights_can_be_given_by_name(invoke, refused, flowers, tmp_path):
    given = ("--class-weight", "rose=3,lily=0.5", "--epochs", 1, "--out", tmp_path / "run")
    assert invoke("train", flowers, *given).exit_code == 0
    loss = gn.Trainer.resume(tmp_path / "run" / "checkpoint.safetensors").loss
    np.testing.assert_array_equal(loss.class_weight, [0.5, 3])
    message = refused("train", flowers, "--class-weight", "tulip=3", "--out", tmp_path / "other", "--json")
    assert "tulip" in message
    assert not (tmp_path / "other").exists()


def test_folds_predict_each_row_once_with_a_model_not_trained_on_it(invoke, flowers, tmp_path):
    given = ("--folds", 5, "--epochs", 20, "--out", tmp_path / "run")
    answer = json.loads(invoke("train", flowers, *given, "--json").stdout)
    accuracies = [answer["folds"][f"fold {number}"]["accuracy"] for number in range(1, 6)]
    assert answer["mean"]["accuracy"] == pytest.approx(np.mean(accuracies))
    assert answer["sd"]["accuracy"] == pytest.approx(np.std(accuracies, ddof=1))
    with open(tmp_path / "run" / "out-of-fold.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["row"]) for row in rows] == list(range(150))
    assert list(rows[0]) == ["row", "target", "prediction", "lily", "rose"]
    with open(flowers, encoding="utf-8") as file:
        assert [row["target"] for row in rows] == [row["kind"] for row in csv.DictReader(file)]
    right = np.mean([row["target"] == row["prediction"] for row in rows])
    assert right == pytest.approx(np.mean(accuracies))  # folds of 30 rows each
    assert {file.name for file in (tmp_path / "run").iterdir()} == {"folds.json", "out-of-fold.csv"}


def test_folds_of_a_regression_are_in_the_units_of_the_target(invoke, line, tmp_path):
    answer = json.loads(invoke("train", line, "--folds", 2, "--epochs", 3, "--out", tmp_path / "run", "--json").stdout)
    assert set(answer["mean"]) == {"loss", "mae", "r2"}
    with open(tmp_path / "run" / "out-of-fold.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    errors = [abs(float(row["target"]) - float(row["prediction"])) for row in rows]
    assert np.mean(errors) == pytest.approx(answer["mean"]["mae"])


@pytest.mark.parametrize("given", [("--test", 0.2), ("--validation", "other.csv")])
def test_folds_reject_another_test_part(refused, flowers, tmp_path, given):
    assert "--folds: each fold" in refused("train", flowers, "--folds", 3, *given, "--out", tmp_path / "run")


def few(folder: Path, count: int) -> Path:
    """Write an npz file of 200 rows without structure; return it. `count` rows are of class "few"."""
    y = np.where(np.arange(200) < count, "few", "many")
    np.savez(folder / "few.npz", X=np.random.default_rng(0).normal(size=(200, 2)), y=y)
    return folder / "few.npz"


@pytest.mark.parametrize("metric", ["auc", "average_precision"])
@pytest.mark.parametrize("given", [(), ("--folds", 2)])
def test_a_metric_that_the_validation_part_leaves_undefined_is_refused(invoke, tmp_path, metric, given):
    options = ("--metric", metric, *given, "--epochs", 1, "--out", tmp_path / "run")
    result = invoke("train", few(tmp_path, 2), *options)
    assert result.exit_code == 2
    assert f"--metric {metric}: undefined, as the validation part has no row of class 'few'" in result.stderr
    assert not (tmp_path / "run" / "config.json").exists()


@pytest.mark.parametrize("metric", ["auc", "average_precision"])
def test_undefined_scores_of_folds_are_left_out_of_mean_and_sd(invoke, tmp_path, metric):
    options = ("--metric", metric, "--folds", 8, "--epochs", 1, "--validation", 0.3, "--out", tmp_path / "run")
    result = invoke("train", few(tmp_path, 7), *options)
    assert result.exit_code == 0, result.stderr
    answer = json.loads((tmp_path / "run" / "folds.json").read_text())
    found = {fold: own[metric] for fold, own in answer["folds"].items()}
    defined = [value for value in found.values() if value is not None]
    assert 2 <= len(defined) < 8
    assert answer["mean"][metric] == pytest.approx(np.mean(defined))
    assert answer["sd"][metric] == pytest.approx(np.std(defined, ddof=1))
    undefined = ", ".join(fold for fold, value in found.items() if value is None)
    assert f"{metric} is undefined in {undefined}; mean and sd are those of the other folds." in result.stdout
    assert "accuracy is undefined" not in result.stdout
    assert result.stderr.count("Rare classes: 'few'") == 1


def test_more_folds_than_rows_are_refused(invoke, flowers, tmp_path):
    result = invoke("train", flowers, "--folds", 500, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert result.stderr.endswith("Error: --folds 500: the data has only 150 rows.\n")


@pytest.mark.parametrize("command", [("predict", "flowers.csv"), ("evaluate", "flowers.csv"), ("export", "model.onnx")])
def test_a_cross_validation_leaves_no_model_to_use(invoke, refused, flowers, tmp_path, command):
    invoke("train", flowers, "--folds", 2, "--epochs", 1, "--out", tmp_path / "run")
    message = refused(command[0], tmp_path / "run", command[1])
    assert "a cross-validation leaves no model" in message


def test_the_names_of_metrics_do_not_run_together(invoke, flowers, tmp_path):
    given = ("--metric", "average_precision", "--epochs", 1, "--out", tmp_path / "run")
    assert re.search(r" accuracy +average_precision\n", invoke("train", flowers, *given).stdout)


@pytest.mark.parametrize("given", [("--validation", 1), ("--test", -0.1), ("--validation", 0), ("--class-weight", "a")])
def test_invalid_shares_and_weights_are_rejected(invoke, flowers, given):
    assert invoke("train", flowers, *given).exit_code == 2


def test_two_concurrent_runs_on_one_folder_do_not_mix_files(tmp_path):
    main = "import sys; sys.modules['matplotlib'] = None; from gpunet.cli import main; main()"  # without plots
    command = [sys.executable, "-c", main, "train", "digits", "--hidden", "8", "--epochs", "3", "--device", "cpu"]
    for attempt in range(3):
        folder = tmp_path / str(attempt)
        processes = [
            subprocess.Popen(
                [*command, "--seed", str(seed), "--out", str(folder)],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
            for seed in (1, 2)
        ]
        errors = [process.communicate(timeout=120)[1] for process in processes]
        assert sorted(process.returncode for process in processes) == [0, 2]
        winner = [process.returncode for process in processes].index(0)
        assert str(folder) in errors[1 - winner]
        assert json.loads((folder / "config.json").read_text())["seed"] == 1 + winner
        assert len((folder / "metrics.jsonl").read_text().splitlines()) == 3
        assert gn.Trainer.resume(folder / "checkpoint.safetensors").seed == 1 + winner


def test_a_run_that_is_being_written_is_not_resumed_by_another_process(invoke, refused, flowers, tmp_path):
    from gpunet.locks import claimed

    invoke("train", flowers, *WITHOUT_END, "--epochs", 1, "--out", tmp_path / "run")
    with claimed(tmp_path / "run"):
        message = refused("train", "--resume", tmp_path / "run", "--epochs", 2)
    assert "another process writes to this folder" in message
    assert invoke("train", "--resume", tmp_path / "run", "--epochs", 2).exit_code == 0


def test_the_folder_of_a_process_killed_before_writing_settings_can_be_reused(invoke, flowers, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".config.json.0123456789abcdef.tmp").write_text('{"data": "dig')
    assert invoke("train", flowers, "--epochs", 1, "--out", tmp_path / "run").exit_code == 0


@pytest.mark.parametrize(("name", "value"), [("hidden", [9]), ("optimizer", "SGD"), ("seed", 7), ("dropout", 0.5)])
def test_a_checkpoint_of_other_settings_is_rejected(invoke, refused, flowers, tmp_path, name, value):
    invoke("train", flowers, *WITHOUT_END, "--hidden", 8, "--epochs", 1, "--out", tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    message = refused("train", "--resume", tmp_path / "run", "--epochs", 2, "--json")
    assert "checkpoint.safetensors" in message
    assert "that of config.json is" in message

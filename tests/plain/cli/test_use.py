from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import gpunet as gn
from gpunet.cli.run import resume_command


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def shuffled_columns(source: Path, path: Path) -> Path:
    """The same table with its columns reversed, an additional column, and no column "kind"."""
    with open(source, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in reversed(rows[0]) if name != "kind"]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*names, "note"])
        writer.writerows([*(row[name] for name in names), "x"] for row in rows)
    return path


def test_evaluate_gives_the_metrics_of_the_model(invoke, flowers_run, flowers):
    answer = json.loads(invoke("evaluate", flowers_run / "model.safetensors", flowers, "--json").stdout)
    model = gn.load(flowers_run / "model.safetensors")
    X, y = model.schema.read_labelled(flowers, model.classes)
    assert answer["rows"] == 150
    assert answer["accuracy"] == pytest.approx((model.outputs(X).argmax(axis=1) == y).mean())
    assert answer["loss"] == pytest.approx(float(gn.CrossEntropyLoss().value(model.outputs(X), y)))


def test_evaluate_prints_a_table(invoke, digits_run):
    result = invoke("evaluate", digits_run[0] / "model.safetensors", "digits")
    names, row, blank, columns, *classes = result.stdout.splitlines()
    assert names.split() == ["loss", "accuracy", "auc", "log_loss"]
    assert row.startswith("1,797 rows")
    assert blank == ""
    assert columns.split() == ["rows", "precision", "recall", "f1", "auc"]
    assert [line.split()[0] for line in classes] == list("0123456789")
    assert classes[0].split()[1] == "178"


def test_evaluate_gives_the_same_class_scores_as_scikit_learn(invoke, flowers_run, flowers):
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    answer = json.loads(invoke("evaluate", flowers_run / "model.safetensors", flowers, "--json").stdout)
    model = gn.load(flowers_run / "model.safetensors")
    X, y = model.schema.read_labelled(flowers, model.classes)
    p = model.predict_proba(X)
    scores = zip(*precision_recall_fscore_support(y, p.argmax(axis=1)), strict=True)
    for k, (name, (precision, recall, f1, rows)) in enumerate(zip(model.classes, scores, strict=True)):
        auc = roc_auc_score(y == k, p[:, k])
        expected = {"precision": precision, "recall": recall, "f1": f1, "rows": rows, "auc": auc}
        assert answer["classes"][name] == pytest.approx(expected, abs=1e-12)


def test_evaluate_of_a_regression_has_no_classes(invoke, line, tmp_path):
    invoke("train", line, "--epochs", 1, "--out", tmp_path / "run")
    answer = json.loads(invoke("evaluate", tmp_path / "run", line, "--json").stdout)
    assert list(answer) == ["device", "rows", "loss", "mae", "r2", "rmse"]


@pytest.mark.parametrize("command", ["evaluate", "predict", "export"])
def test_an_unfinished_run_is_rejected_with_the_command_to_resume(refused, flowers_run, flowers, tmp_path, command):
    shutil.copytree(flowers_run, tmp_path / "killed")
    (tmp_path / "killed" / "model.safetensors").unlink()
    other = tmp_path / "m.onnx" if command == "export" else flowers
    message = refused(command, tmp_path / "killed", other)
    assert "unfinished" in message
    assert resume_command(tmp_path / "killed") in message


def test_evaluate_uses_the_test_part_of_the_runs_data(invoke, digits_run):
    folder, trained = digits_run
    answer = json.loads(invoke("evaluate", folder, "digits", "--json").stdout)
    assert {name: answer[name] for name in trained["test"]} == trained["test"]
    assert "360 held-out rows" in invoke("evaluate", folder, "digits").stdout


@pytest.mark.skipif(os.name == "nt", reason="Windows lets few users make links")
def test_evaluate_recognises_the_runs_data_through_a_symbolic_link(invoke, flowers_run, flowers, tmp_path):
    (tmp_path / "link.csv").symlink_to(flowers)
    assert "30 held-out rows" in invoke("evaluate", flowers_run, tmp_path / "link.csv").stdout


def test_evaluate_with_a_test_part_of_the_source_does_not_warn_of_training_rows(invoke, tmp_path):
    digits = gn.data.digits()
    own, other = tmp_path / "own.npz", tmp_path / "other.npz"
    np.savez(own, X=digits.X[:300], y=digits.y[:300], X_test=digits.X[300:340], y_test=digits.y[300:340])
    np.savez(other, X=digits.X[400:460], y=digits.y[400:460])
    assert invoke("train", own, "--test", other, "--epochs", 1, "--out", tmp_path / "run").exit_code == 0
    result = invoke("evaluate", tmp_path / "run", own, "--json")
    assert json.loads(result.stdout)["rows"] == 40
    assert not result.stderr


def test_evaluate_uses_all_rows_of_a_file_that_changed_since_the_run(invoke, flowers, tmp_path):
    data = tmp_path / "data.csv"
    header, *rows = flowers.read_text(encoding="utf-8").splitlines()
    data.write_text("\n".join([header, *rows[:100]]), encoding="utf-8")
    invoke("train", data, "--epochs", 1, "--out", tmp_path / "run")
    data.write_text("\n".join([header, *rows[100:]]), encoding="utf-8")
    result = invoke("evaluate", tmp_path / "run", data, "--json")
    assert json.loads(result.stdout)["rows"] == 50
    assert (
        f"{data}: changed since the run began; all of its rows are evaluated, including those that trained"
        in result.stderr
    )


@pytest.mark.parametrize("command", ["evaluate", "predict"])
@pytest.mark.parametrize(("encoding", "what"), [("shift_jis", "neither UTF-8 nor"), ("utf-16-le", "null bytes")])
def test_an_unknown_encoding_is_answered_with_what_the_command_can_read(
    invoke, refused, flowers, flowers_run, tmp_path, command, encoding, what
):
    data = tmp_path / "data.csv"
    text = f"{flowers.read_text(encoding='utf-8')}{'さくら' * 6}\n"
    data.write_text(text, encoding=encoding)
    said = refused(command, flowers_run, data)
    assert what in said
    assert "save it as UTF-8, or give `gpunet train` its encoding, such as --encoding" in said


def test_evaluate_matches_class_names_if_another_source_numbers_them_differently(invoke, digits_run, tmp_path):
    digits = gn.data.digits()
    chosen = np.flatnonzero(digits.y >= 5)
    np.savez(tmp_path / "upper.npz", X=digits.X[chosen], y=digits.y[chosen])  # its class 0 is "5"
    answer = json.loads(invoke("evaluate", digits_run[0], tmp_path / "upper.npz", "--json").stdout)
    assert answer["accuracy"] > 0.8


@pytest.fixture
def nameless(tmp_path):
    """A model without class names that predicts the index of the largest feature."""
    model = gn.MLP([3, 3])
    model[0].params["weight"] = np.eye(3)
    model.task = "classification"
    model.save(tmp_path / "nameless.safetensors")
    return tmp_path / "nameless.safetensors"


def test_evaluate_uses_labels_as_indices_if_the_model_has_no_class_names(invoke, nameless, tmp_path):
    y = np.array([1, 2, 2, 1])
    np.savez(tmp_path / "upper.npz", X=np.eye(3)[y], y=y)
    assert json.loads(invoke("evaluate", nameless, tmp_path / "upper.npz", "--json").stdout)["accuracy"] == 1


def test_evaluate_rejects_labels_out_of_range_without_class_names(refused, nameless, tmp_path):
    np.savez(tmp_path / "text.npz", X=np.eye(3), y=["a", "b", "c"])
    assert "'a'" in refused("evaluate", nameless, tmp_path / "text.npz")
    np.savez(tmp_path / "high.npz", X=np.eye(3), y=[1, 3, 3])
    assert "y is 3 at row 1" in refused("evaluate", nameless, tmp_path / "high.npz")


def test_evaluate_uses_the_test_part_of_a_source(invoke, digits_run, tmp_path):
    digits = gn.data.digits()
    np.savez(tmp_path / "split.npz", X=digits.X, y=digits.y, X_test=digits.X[:30], y_test=digits.y[:30])
    assert json.loads(invoke("evaluate", digits_run[0], tmp_path / "split.npz", "--json").stdout)["rows"] == 30


def test_evaluate_of_a_regression(invoke, line, tmp_path):
    invoke("train", line, "--epochs", 20, "--lr", 0.01, "--out", tmp_path)
    answer = json.loads(invoke("evaluate", tmp_path, line, "--json").stdout)
    assert answer["r2"] > 0.95


def test_evaluate_rejects_an_untrained_model(refused, tmp_path):
    gn.MLP([64, 10]).save(tmp_path / "new.safetensors")
    assert "never trained" in refused("evaluate", tmp_path / "new.safetensors", "digits")


def test_predict_finds_raw_columns_by_name_and_gives_class_names(invoke, flowers_run, flowers, tmp_path):
    model = gn.load(flowers_run / "model.safetensors")
    result = invoke("predict", flowers_run, shuffled_columns(flowers, tmp_path / "other.csv"))
    predictions = [row["prediction"] for row in table(result.stdout)]
    assert set(predictions) == {"rose", "lily"}
    assert predictions == model.predict(model.schema.read(flowers)).tolist()


def test_proba_adds_a_column_for_each_class(invoke, flowers_run, flowers):
    rows = table(invoke("predict", flowers_run, flowers, "--proba").stdout)
    assert list(rows[0]) == ["prediction", "lily", "rose"]
    for row in rows:
        lily, rose = float(row["lily"]), float(row["rose"])
        assert lily + rose == pytest.approx(1)
        assert row["prediction"] == ("lily" if lily > rose else "rose")


def test_out_writes_the_printed_text_to_a_file(invoke, flowers_run, flowers, tmp_path):
    printed = invoke("predict", flowers_run, flowers).stdout
    result = invoke("predict", flowers_run, flowers, "--out", tmp_path / "answers.csv")
    assert result.stdout == ""
    assert (tmp_path / "answers.csv").read_bytes().decode() == printed


def test_a_model_without_column_names_uses_one_column_for_each_feature(invoke, digits_run, digits_csv):
    rows = table(invoke("predict", digits_run[0], digits_csv).stdout)
    expected = gn.load(digits_run[0] / "model.safetensors").predict(gn.data.digits().X[:10])
    assert [row["prediction"] for row in rows] == expected.tolist()


def test_several_targets_give_one_column_each(invoke, tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    np.savez(tmp_path / "two.npz", X=X, y=np.column_stack([X[:, 0] + 100, X[:, 1] - 100]))
    invoke("train", tmp_path / "two.npz", "--epochs", 1, "--out", tmp_path / "run")
    (tmp_path / "in.csv").write_text("a,b\n0,0\n")
    (row,) = table(invoke("predict", tmp_path / "run", tmp_path / "in.csv").stdout)
    assert [float(row["prediction_0"]), float(row["prediction_1"])] == pytest.approx([100, -100], abs=5)


def test_a_table_without_a_header_keeps_its_first_row(invoke, digits_run, tmp_path):
    np.savetxt(tmp_path / "bare.csv", gn.data.digits().X[:3], delimiter=",")
    assert len(table(invoke("predict", digits_run[0], tmp_path / "bare.csv").stdout)) == 3


def test_invalid_tables_are_rejected_with_the_place(refused, flowers_run, digits_run, digits_csv, tmp_path):
    assert "'length'" in refused("predict", flowers_run, digits_csv)
    (tmp_path / "narrow.csv").write_text("a,b\n1,2\n")
    assert "64 features" in refused("predict", digits_run[0], tmp_path / "narrow.csv")
    (tmp_path / "odd.csv").write_text("length,colour,width\n1,green,wide\n")
    assert "column 'width' holds a number, not 'wide' (line 2)" in refused("predict", flowers_run, tmp_path / "odd.csv")
    (tmp_path / "empty.csv").write_text("")
    assert "no data" in refused("predict", digits_run[0], tmp_path / "empty.csv")
    (tmp_path / "other.csv").write_bytes(b"PK\x03\x04\0\0")
    assert "not text" in refused("predict", digits_run[0], tmp_path / "other.csv")
    assert "nowhere.csv" in refused("predict", flowers_run, "nowhere.csv")
    assert "nowhere.csv" in refused("predict", digits_run[0], "nowhere.csv")


def test_proba_of_a_regression_is_rejected(refused, invoke, line, tmp_path):
    invoke("train", line, "--epochs", 1, "--out", tmp_path / "run")
    (tmp_path / "in.csv").write_text("a,b,c\n1,2,3\n")
    assert "classifier" in refused("predict", tmp_path / "run", tmp_path / "in.csv", "--proba")


def test_missing_and_invalid_models_are_rejected_in_one_line(refused, flowers, tmp_path):
    assert "nothing" in refused("predict", tmp_path / "nothing", flowers)
    (tmp_path / "model.safetensors").write_bytes(b"\x80\x04 a pickle")
    assert "model.safetensors" in refused("predict", tmp_path, flowers)
    assert "model.safetensors" in refused("evaluate", tmp_path, flowers)


def test_a_column_that_is_kept_is_read_as_without_keeping_it(invoke, tmp_path):
    rows = "".join(f"{i};{'heavy' if i > 4 else 'light'}\n" for i in range(10)) * 5
    (tmp_path / "t.csv").write_text(f"kg;y\n{rows}")
    invoke("train", tmp_path / "t.csv", "--epochs", 20, "--out", tmp_path / "run")
    (tmp_path / "new.csv").write_text("kg;note\n1,525;a\n2,250;b\n")
    plain = invoke("predict", tmp_path / "run", tmp_path / "new.csv").stdout.splitlines()
    kept = invoke("predict", tmp_path / "run", tmp_path / "new.csv", "--keep", "kg").stdout.splitlines()
    assert kept == ["kg,prediction", f'"1,525",{plain[1]}', f'"2,250",{plain[2]}']


FILES = ("model.safetensors", "checkpoint.safetensors", "config.json", "metrics.jsonl", "results.json")


@pytest.mark.parametrize(
    ("command", "name"),
    [("predict", "input.csv"), *((command, name) for command in ("predict", "export", "plot") for name in FILES)],
)
def test_no_command_overwrites_its_input_or_a_file_of_the_run(refused, flowers_run, flowers, tmp_path, command, name):
    folder = shutil.copytree(flowers_run, tmp_path / "run")
    table = shutil.copy(flowers, folder / "input.csv")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    given = {"predict": [folder, table, "--out"], "export": [folder], "plot": [folder, "--out"]}[command]
    out = tmp_path / f"link{'.onnx' if command == 'export' else '.png'}"
    out.symlink_to(folder / name)
    assert f"{out}: would overwrite {folder / name}" in refused(command, *given, out)
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_predictions_of_a_runs_model_file_do_not_overwrite_the_run(refused, flowers_run, flowers):
    checkpoint = flowers_run / "checkpoint.safetensors"
    before = checkpoint.read_bytes()
    said = refused("predict", flowers_run / "model.safetensors", flowers, "--out", checkpoint)
    assert f"would overwrite {checkpoint}" in said
    assert checkpoint.read_bytes() == before


def test_predictions_can_be_written_again_into_the_folder_of_the_run(invoke, flowers_run, flowers, tmp_path):
    folder = shutil.copytree(flowers_run, tmp_path / "run")
    for _ in range(2):
        assert invoke("predict", folder, flowers, "--out", folder / "answers.csv").exit_code == 0

"""Tables on the command line, from a raw file to predictions."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pandas
import pytest
from click.testing import CliRunner

import gpunet as gn
from gpunet.cli import main, recipe, run
from gpunet.cli.parts import SPLIT_SEED, load_parts


def passengers(n: int, seed: int = 0) -> list[dict[str, object]]:
    """Return rows like those of the Titanic: identifiers, missing values, categories, and a target."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(1, n + 1):
        female, first = rng.random() < 0.4, rng.random() < 0.3
        survived = rng.random() < (0.9 if female else 0.1)
        rows.append(
            {
                "PassengerId": number,
                "Survived": int(survived),
                "Name": f'Doe, {"Mrs" if female else "Mr"}. "N{number}"',
                "Sex": "female" if female else "male",
                "Age": "" if rng.random() < 0.2 else round(rng.uniform(1, 70), 1),
                "Ticket": f"PC {number}" if rng.random() < 0.25 else 10000 + 13 * number,
                "Fare": f"${rng.uniform(50, 90) if first else rng.uniform(5, 20):.2f}",
                "Cabin": f"{'ABCDE'[rng.integers(5)]}{rng.integers(5)}" if first else "",
                "Boarded": f"1912-04-{rng.integers(10, 13)}",
                "Embarked": "" if rng.random() < 0.02 else "SCQ"[rng.integers(3)],
            }
        )
    return rows


def write(path: Path, rows: list[dict[str, object]], leave_out: str = "") -> Path:
    names = [name for name in rows[0] if name != leave_out]
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def titanic(tmp_path_factory) -> Path:
    return write(tmp_path_factory.mktemp("data") / "titanic.csv", passengers(400))


@pytest.fixture(scope="module")
def asked(tmp_path_factory) -> Path:
    """New rows without the target, with values that training has not seen."""
    rows = passengers(30, seed=1)
    rows[0] |= {"Embarked": "X", "Cabin": "Z99", "Fare": ""}
    return write(tmp_path_factory.mktemp("data") / "asked.csv", rows, leave_out="Survived")


@pytest.fixture(scope="module")
def titanic_run(invoke, titanic, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "titanic"
    result = invoke("train", titanic, "--target", "Survived", "--epochs", 5, "--out", folder)
    assert result.exit_code == 0, result.stderr
    return folder


def test_from_a_raw_table_to_predictions(invoke, titanic, titanic_run, asked):
    answer = json.loads(invoke("evaluate", titanic_run, titanic, "--json").stdout)
    assert answer["rows"] == 80
    assert answer["accuracy"] > 0.75
    result = invoke("predict", titanic_run, asked, "--proba")
    rows = list(csv.DictReader(result.stdout.splitlines()))
    assert len(rows) == 30
    assert {row["prediction"] for row in rows} == {"0", "1"}


def test_the_four_commands_of_the_readme_make_an_onnx_file_from_a_raw_table(
    invoke, titanic, asked, tmp_path, monkeypatch
):
    readme = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```sh\n(gpunet train passengers\.csv.*?)```", readme, re.DOTALL)
    commands = [shlex.split(line, comments=True)[1:] for line in block.splitlines()]
    assert [command[0] for command in commands] == ["train", "evaluate", "predict", "export"]
    monkeypatch.chdir(tmp_path)
    shutil.copy(titanic, "passengers.csv")
    shutil.copy(asked, "new.csv")
    for command in commands:
        result = invoke(*command)
        assert result.exit_code == 0, result.stderr
    with open("answers.csv", encoding="utf-8", newline="") as file:
        answers = list(csv.DictReader(file))
    schema = gn.load("runs/passengers/model.safetensors").schema
    session = onnxruntime.InferenceSession("passengers.onnx")
    labels, probabilities = session.run(None, {"X": schema.read("new.csv")})
    assert [row["prediction"] for row in answers] == labels.tolist()
    np.testing.assert_allclose([float(row["1"]) for row in answers], probabilities[:, 1], atol=1e-6)


def test_the_schema_is_shown_before_training_with_a_warning_about_ignored_columns(invoke, titanic, tmp_path):
    result = invoke("train", titanic, "--target", "Survived", "--epochs", 1, "--out", tmp_path / "run")
    assert "read    separator ',', decimal point, utf-8, header" in result.stdout
    lines = {line.split()[0]: line for line in result.stdout.splitlines() if line}
    roles = {name: lines[name].split()[1] for name in passengers(1)[0]}
    assert roles == {
        "PassengerId": "ignored", "Survived": "target", "Name": "ignored", "Sex": "category", "Age": "number",
        "Ticket": "ignored", "Fare": "number", "Cabin": "category", "Boarded": "date", "Embarked": "category",
    }  # fmt: skip
    assert "Warning: " in result.stderr
    assert "'PassengerId' (consecutive numbers)" in result.stderr


def test_medians_and_categories_are_those_of_the_training_rows(titanic, titanic_run):
    settings = run.Settings.read(titanic_run)
    schema = gn.load(titanic_run / "model.safetensors").schema
    frame = pandas.read_csv(titanic)
    rows = gn.data.split_indices(frame["Survived"], (0.64, 0.16, 0.2), seed=SPLIT_SEED)[0]
    (age,) = (column for column in schema.columns if column.name == "Age")
    assert age.fill == frame["Age"].iloc[rows].median() != frame["Age"].median()
    with pytest.warns(gn.errors.GpunetWarning, match="ignored columns"):
        assert load_parts(settings)["train"].schema == schema


def test_categories_are_embedded_and_not_standardised(titanic_run):
    model = gn.load(titanic_run / "model.safetensors")
    assert isinstance(model[0], gn.EntityEmbedding)
    assert model[0].categories == model.schema.category_sizes
    assert model.input_scaler.leaves_alone(1)


def test_an_exported_model_predicts_raw_tables_by_its_schema(invoke, titanic_run, asked, tmp_path):

    assert invoke("export", titanic_run, tmp_path / "model.onnx").exit_code == 0
    metadata = {entry.key: entry.value for entry in onnx.load(tmp_path / "model.onnx").metadata_props}
    X = gn.data.TableSchema.from_json(json.loads(metadata["schema"])).read(asked)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    labels, probabilities = session.run(None, {"X": X})
    model = gn.load(titanic_run / "model.safetensors")
    assert labels.tolist() == model.predict(X).tolist()
    assert np.abs(probabilities - model.predict_proba(X)).max() <= 1e-5


@pytest.mark.parametrize("kind", ["tsv", "csv.gz", "parquet", "semicolons"])
def test_a_model_predicts_files_of_other_kinds_than_it_was_trained_on(invoke, titanic_run, asked, tmp_path, kind):
    expected = invoke("predict", titanic_run, asked).stdout
    frame = pandas.read_csv(asked, dtype=str, keep_default_na=False)
    path = tmp_path / f"asked.{'csv' if kind == 'semicolons' else kind}"
    if kind == "parquet":
        frame["Age"] = pandas.to_numeric(frame["Age"])
        frame["Boarded"] = pandas.to_datetime(frame["Boarded"])
        frame.to_parquet(path)
    elif kind == "csv.gz":
        path.write_bytes(gzip.compress(asked.read_bytes()))
    elif kind == "semicolons":
        frame["Age"] = frame["Age"].str.replace(".", ",")
        frame.to_csv(path, sep=";", encoding="latin-1", index=False)
    else:
        frame.to_csv(path, sep="\t", index=False)
    result = invoke("predict", titanic_run, path)
    assert result.exit_code == 0, result.stderr
    assert result.stdout == expected


def test_standard_input_is_read_as_a_table(titanic_run, asked):

    def given(*arguments: object, data: bytes) -> str:
        result = CliRunner(env={"GPUNET_DEVICE": "cpu"}).invoke(main, [*map(str, arguments)], input=data)
        assert result.exit_code == 0, result.stderr
        return result.stdout

    expected = given("predict", titanic_run, asked, data=b"")
    assert given("predict", titanic_run, "-", data=asked.read_bytes()) == expected
    assert given("predict", titanic_run, "-", data=gzip.compress(asked.read_bytes())) == expected


def test_a_run_on_standard_input_resumes_with_the_same_input(titanic, tmp_path):

    def train(*arguments: object, data: bytes):
        command = ["train", *map(str, arguments), "--json"]
        return CliRunner(env={"GPUNET_DEVICE": "cpu"}).invoke(main, command, input=data)

    data = titanic.read_bytes()
    options = ("--target", "Survived", "--schedule", "constant", "--epochs", 1, "--out", tmp_path / "run")
    assert train("-", *options, data=data).exit_code == 0
    result = train("--resume", tmp_path / "run", "--epochs", 2, data=data)
    assert json.loads(result.stdout)["epochs"] == 2
    held_out = CliRunner(env={"GPUNET_DEVICE": "cpu"}).invoke(
        main, ["evaluate", str(tmp_path / "run"), "-"], input=data
    )
    assert "held-out rows" in held_out.stdout
    other = train("--resume", tmp_path / "run", "--epochs", 3, data=data.replace(b"male", b"man"))
    assert "changed since the run began" in other.stderr


def test_table_options_apply_to_evaluate_predict_and_resume(invoke, tmp_path):
    rng = np.random.default_rng(0)
    lines = [
        f"{a:.3f}|{int(a > 0)}|{rng.integers(100, 103)}|{i}".replace(".", ",")
        for i, a in enumerate(rng.normal(size=60))
    ]
    data = tmp_path / "data.csv"
    data.write_text("\n".join(lines), encoding="utf-16-le")
    options = ("--sep", "|", "--decimal", ",", "--encoding", "utf-16-le", "--no-header", "--target", "column 2")
    options += ("--as", "column 3=category", "--drop", "column 4", "--missing", "mean", "--schedule", "constant")
    result = invoke("train", data, *options, "--epochs", 2, "--out", tmp_path / "run", "--json")
    assert result.exit_code == 0, result.stderr
    schema = gn.load(tmp_path / "run" / "model.safetensors").schema
    assert schema.feature_names == ["column 1", "column 3=100", "column 3=101", "column 3=102"]
    assert schema.missing == "mean"
    assert json.loads(invoke("evaluate", tmp_path / "run", data, "--json").stdout)["rows"] == 12
    assert len(invoke("predict", tmp_path / "run", data).stdout.splitlines()) == 61
    resumed = invoke("train", "--resume", tmp_path / "run", "--epochs", 3, "--json")
    assert json.loads(resumed.stdout)["epochs"] == 3


def test_columns_selects_the_features(invoke, titanic, tmp_path):
    options = ("--target", "Survived", "--columns", "Sex, Age", "--epochs", 1, "--out", tmp_path / "run", "--json")
    result = invoke("train", titanic, *options)
    assert result.stderr == ""
    names = gn.load(tmp_path / "run" / "model.safetensors").schema.feature_names
    assert names == ["Sex=female", "Sex=male", "Age", "Age missing"]


def test_training_reads_parquet_and_compressed_files(invoke, titanic, tmp_path):
    pandas.read_csv(titanic).to_parquet(tmp_path / "titanic.parquet")
    (tmp_path / "titanic.csv.gz").write_bytes(gzip.compress(titanic.read_bytes()))
    answers = [
        json.loads(
            invoke("train", path, "--target", "Survived", "--epochs", 1, "--out", tmp_path / name, "--json").stdout
        )
        for name, path in (("a", tmp_path / "titanic.parquet"), ("b", tmp_path / "titanic.csv.gz"), ("c", titanic))
    ]
    assert answers[0]["test"] == answers[1]["test"] == answers[2]["test"]


def test_invalid_table_options_are_rejected(invoke, refused, titanic, tmp_path):
    out = ("--out", tmp_path / "run", "--json")
    survived = ("--target", "Survived")
    assert "no column 'age'" in refused("train", titanic, *survived, "--columns", "age", *out)
    assert "no column 'Agee'" in refused("train", titanic, *survived, "--as", "Agee=number", *out)
    assert "sep='ab'" in refused("train", titanic, "--sep", "ab", *out)
    assert "encoding='klingon'" in refused("train", titanic, "--encoding", "klingon", *out)
    assert "not a table" in refused("train", "digits", "--drop", "x", *out)
    assert "has no value in line" in refused(
        "train", titanic, *survived, "--columns", "Age", "--missing", "error", *out
    )
    result = invoke("train", titanic, "--as", "Age=text", *out)
    assert result.exit_code == 2
    assert "'Age=text'" in result.stderr
    assert not (tmp_path / "run").exists()


def test_without_pandas_tables_report_the_install_command_and_digits_train(
    invoke, refused, titanic, monkeypatch, tmp_path
):
    monkeypatch.setitem(sys.modules, "pandas", None)
    message = refused("train", titanic, "--out", tmp_path / "run", "--json")
    assert "pip install 'pandas>=2.2' 'pyarrow>=18'" in message
    assert invoke("train", "digits", "--epochs", 1, "--out", tmp_path / "run").exit_code == 0


def test_rows_without_a_number_are_dropped_from_all_parts_if_asked(invoke, titanic, tmp_path):
    options = ("--target", "Survived", "--missing", "drop", "--epochs", 1, "--out", tmp_path / "run")
    result = invoke("train", titanic, *options)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("ignored columns") == 1
    complete = pandas.read_csv(titanic)["Age"].notna().sum()
    left_out = f"left out {400 - complete} of 400 rows for lack of a number or a date"
    assert result.stderr.count(left_out) == 1
    result = invoke("evaluate", tmp_path / "run" / "model.safetensors", titanic, "--json")
    assert json.loads(result.stdout)["rows"] == complete
    assert left_out in result.stderr


def test_a_target_of_one_class_in_the_rows_that_are_left_is_refused(invoke, tmp_path):
    rows = [f"{row},{row % 9 if row % 2 else ''},{row % 2}" for row in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["id,x,kind", *rows]), encoding="utf-8")
    result = invoke("train", tmp_path / "t.csv", "--missing", "drop", "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert "the target 'kind' is '1' in all rows" in result.stderr


def test_out_of_fold_predictions_give_the_position_of_each_row_in_the_file(invoke, tmp_path):
    rows = [",," if row % 10 == 3 else f"{row % 7 if row % 4 else ''},{row % 3},{row * 2.5}" for row in range(80)]
    (tmp_path / "t.csv").write_text("\n".join(["a,b,y", *rows]), encoding="utf-8")
    given = ("--missing", "drop", "--folds", 2, "--epochs", 1, "--out", tmp_path / "run")
    assert invoke("train", tmp_path / "t.csv", *given).exit_code == 0
    answers = pandas.read_csv(tmp_path / "run" / "out-of-fold.csv")
    assert answers["row"].tolist() == [row for row in range(80) if row % 4 and row % 10 != 3]
    assert answers["target"].tolist() == [row * 2.5 for row in answers["row"]]


@pytest.mark.parametrize(("blanks", "said"), [(3, "3 rows without any value have"), (1, "1 row without any value has")])
def test_rows_without_any_value_have_no_prediction_and_are_counted(invoke, titanic_run, asked, tmp_path, blanks, said):
    header, first, *rows = asked.read_text(encoding="utf-8").splitlines()
    (tmp_path / "new.csv").write_text("\n".join([header, first, *[",,,,,,,,"] * blanks, *rows]), encoding="utf-8")
    result = invoke("predict", titanic_run, tmp_path / "new.csv")
    assert len(result.stdout.splitlines()) == 31
    assert f"{said} no prediction" in result.stderr
    assert "no prediction" not in invoke("predict", titanic_run, asked).stderr


def test_a_model_without_schema_uses_all_numeric_columns(invoke, digits_run, tmp_path):
    digits = gn.data.digits()  # some pixels are the same in all images
    header = ",".join([*(f"pixel{i}" for i in range(64)), "digit"])
    np.savetxt(tmp_path / "digits.csv", np.column_stack([digits.X, digits.y]), "%d", ",", header=header, comments="")
    answer = json.loads(invoke("evaluate", digits_run[0], tmp_path / "digits.csv", "--json").stdout)
    assert answer["rows"] == 1797
    assert answer["accuracy"] > 0.9


def test_kept_columns_are_copied_next_to_the_predictions(invoke, titanic_run, tmp_path):
    rows = passengers(5, seed=1)
    rows[0]["PassengerId"] = "007"
    with open(tmp_path / "new.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0]])
        writer.writeheader()
        writer.writerows(rows)
    result = invoke("predict", titanic_run, tmp_path / "new.csv", "--keep", "PassengerId,Name", "--proba")
    answers = list(csv.DictReader(result.stdout.splitlines()))
    assert list(answers[0]) == ["PassengerId", "Name", "prediction", "0", "1"]
    assert answers[0]["PassengerId"] == "007"
    assert [row["Name"] for row in answers] == [row["Name"] for row in rows]


def test_a_missing_column_to_keep_is_named(refused, titanic_run, titanic):
    assert "no column 'id'" in refused("predict", titanic_run, titanic, "--keep", "id")


@pytest.mark.parametrize(
    ("data", "options", "expected"),
    [
        ("table", [], recipe.TABLE_DEFAULTS),
        ("digits", ["--hidden", "128"], recipe.DEFAULTS),
        ("table", ["--schedule", "cosine"], recipe.TABLE_DEFAULTS | {"schedule": "cosine"}),
        ("digits", ["--no-early-stopping"], recipe.DEFAULTS | {"patience": None}),
    ],
)
def test_tables_have_their_own_defaults(invoke, titanic, tmp_path, data, options, expected):
    source = titanic if data == "table" else data
    target = ["--target", "Survived"] if data == "table" else []
    result = invoke("train", source, *target, *options, "--epochs", 1, "--out", tmp_path / "run", "--json")
    assert result.exit_code == 0
    settings = asdict(run.Settings.read(tmp_path / "run"))
    assert {name: settings[name] for name in expected} == json.loads(json.dumps(expected | {"epochs": 1}))


def test_spreadsheet_formulas_are_escaped_unless_requested(invoke, tmp_path):
    rows = [f"{row},{row % 7},{('=1+1', '-yes')[row % 2]}" for row in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["note,x,kind", *rows]), encoding="utf-8")
    invoke("train", tmp_path / "t.csv", "--epochs", 1, "--out", tmp_path / "run")
    (tmp_path / "new.csv").write_text("x,note\n1,=cmd\n2,-5\n3,+49 30\n", encoding="utf-8")
    for given, notes, sign in (((), ["'=cmd", "-5", "'+49 30"], "'"), (("--formulas",), ["=cmd", "-5", "+49 30"], "")):
        result = invoke("predict", tmp_path / "run", tmp_path / "new.csv", "--keep", "note", *given)
        answers = list(csv.DictReader(result.stdout.splitlines()))
        assert [row["note"] for row in answers] == notes
        assert {row["prediction"] for row in answers} <= {f"{sign}=1+1", f"{sign}-yes"}


def test_a_lone_sign_is_no_formula(invoke, tmp_path):
    rows = [f"{row % 7},{'+-'[row % 2]}" for row in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["x,kind", *rows]), encoding="utf-8")
    invoke("train", tmp_path / "t.csv", "--epochs", 1, "--out", tmp_path / "run")
    (tmp_path / "new.csv").write_text("x,sign\n1,=\n2,@\n3,+\n4,-\n", encoding="utf-8")
    result = invoke("predict", tmp_path / "run", tmp_path / "new.csv", "--keep", "sign", "--proba")
    answers = list(csv.DictReader(result.stdout.splitlines()))
    assert list(answers[0]) == ["sign", "prediction", "+", "-"]
    assert [row["sign"] for row in answers] == ["=", "@", "+", "-"]
    assert {row["prediction"] for row in answers} <= {"+", "-"}


def test_control_characters_from_a_file_do_not_reach_the_terminal(invoke, tmp_path):
    rows = [f"{row},{row % 5},{('a', chr(27) + '[31mred')[row % 2]}" for row in range(40)]
    (tmp_path / "t.csv").write_text("\n".join([f"id,{chr(27)}[2Jx,kind", *rows]), encoding="utf-8")
    shown = [invoke("train", tmp_path / "t.csv", "--epochs", 1, "--out", tmp_path / "run")]
    shown.append(invoke("evaluate", tmp_path / "run", tmp_path / "t.csv"))
    for result in shown:
        assert result.exit_code == 0
        assert "\x1b" not in result.stdout + result.stderr
    assert "\\x1b[31mred" in shown[1].stdout


def test_text_that_a_pipe_cannot_encode_is_escaped_and_predictions_are_utf_8(tmp_path):
    rows = [f"{row % 5},{'良' if row % 5 > 2 else '悪'}" for row in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["値,kind", *rows]), encoding="utf-8")

    def piped(*arguments):
        """Run a command whose output has the code page of Western Windows."""
        runner = CliRunner(env={"GPUNET_DEVICE": "cpu"}, charset="cp1252")
        result = runner.invoke(main, [*map(str, arguments)])
        assert result.exit_code == 0, result.output
        return result.stdout_bytes

    assert rb"\u5024" in piped("train", tmp_path / "t.csv", "--epochs", 3, "--out", tmp_path / "run")
    assert rb"\u826f" in piped("evaluate", tmp_path / "run", tmp_path / "t.csv")
    answers = piped("predict", tmp_path / "run", tmp_path / "t.csv", "--keep", "値,kind").decode()
    assert answers.splitlines()[0] == "値,kind,prediction"
    assert answers.splitlines()[4].startswith("3,良,")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pseudo-terminals")
def test_predictions_have_their_control_characters_in_a_file_but_not_on_a_terminal(invoke, tmp_path):
    rows = [f"{row % 5},{('a', chr(27) + '[31mred')[row % 5 > 2]}" for row in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["x,kind", *rows]), encoding="utf-8")
    invoke("train", tmp_path / "t.csv", "--epochs", 3, "--out", tmp_path / "run")
    arguments = ["predict", tmp_path / "run", tmp_path / "t.csv", "--keep", "kind"]
    assert "\x1b[31mred" in invoke(*arguments).stdout
    ours, theirs = os.openpty()
    with open(ours, "rb", buffering=0) as terminal:
        subprocess.run([sys.executable, "-m", "gpunet", *arguments], stdout=theirs, check=True)
        os.close(theirs)
        shown = terminal.read(4096)
    assert b"\x1b" not in shown
    assert shown.splitlines()[4].startswith(rb"\x1b[31mred,")


def test_column_options_can_be_repeated_but_not_contradict_each_other(invoke, titanic, titanic_run, asked, tmp_path):
    given = ("--target", "Survived", "--epochs", 1, "--drop", "Age", "--drop", "Cabin,Fare", "--as", "Sex=category")
    assert invoke("train", titanic, *given, "--as", "Sex=category", "--out", tmp_path / "run").exit_code == 0
    settings = run.Settings.read(tmp_path / "run")
    assert (settings.drop, settings.roles) == (["Age", "Cabin", "Fare"], {"Sex": "category"})
    answer = invoke("predict", titanic_run, asked, "--keep", "Name", "--keep", "Sex,Age").stdout
    assert answer.splitlines()[0] == "Name,Sex,Age,prediction"
    result = invoke("train", titanic, *given, "--as", "Sex=ignore")
    assert result.exit_code == 2
    assert "two roles for column 'Sex'" in result.stderr


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (("--as", "Survived=category"), "target 'Survived' has no role"),
        (("--columns", "Age,Sex", "--as", "Fare=number"), "column 'Fare' has a role, but is not among the columns"),
        (("--drop", "Fare", "--as", "Fare=number"), "column 'Fare' has a role, but is not among the columns"),
        (("--target", "Fare", "--label-smoothing", 0.05), "--label-smoothing: the target holds values"),
        (("--target", "Fare", "--class-weight", "balanced"), "--class-weight: the target holds values"),
        (("--loss", "huber"), "--loss huber: the target holds classes"),
    ],
)
def test_an_option_without_effect_is_rejected(invoke, titanic, tmp_path, given, said):
    result = invoke("train", titanic, "--target", "Survived", *given, "--out", tmp_path / "run", "--json")
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize("given", [("--patience", 3, "--no-early-stopping"), ("--folds", 2, "--tensorboard")])
def test_contradictory_options_are_rejected(invoke, titanic, tmp_path, given):
    result = invoke("train", titanic, "--target", "Survived", *given, "--out", tmp_path / "run")
    assert result.exit_code == 2
    assert given[-1] in result.stderr


def test_a_target_that_looks_like_an_identifier_gives_a_warning(invoke, titanic, tmp_path):
    result = invoke("train", titanic, "--target", "PassengerId", "--epochs", 1, "--out", tmp_path / "run")
    assert "the target 'PassengerId' looks like an identifier (consecutive numbers)" in result.stderr


def test_folds_print_the_file_format_and_the_schema(invoke, titanic, tmp_path):
    shown = invoke(
        "train", titanic, "--target", "Survived", "--folds", 2, "--epochs", 1, "--out", tmp_path / "run"
    ).stdout
    assert shown.startswith("device  cpu")
    assert "read    separator ','" in shown
    assert shown.count("Survived") == 1  # the schema once
    assert "fold 2 of 2" in shown


@pytest.mark.parametrize("given", [(), ("--class-weight", "balanced")])
def test_class_weights_are_suggested_only_if_none_are_given(invoke, tmp_path, given):
    rows = [f"{row % 7},{'rare' if row % 40 == 0 else 'common'}" for row in range(400)]
    (tmp_path / "t.csv").write_text("\n".join(["x,kind", *rows]), encoding="utf-8")
    shown = invoke("train", tmp_path / "t.csv", *given, "--epochs", 1, "--out", tmp_path / "run").stderr
    assert "Rare classes: 'rare'" in shown
    assert ("--class-weight balanced" in shown) == (not given)


@pytest.fixture
def houses(tmp_path):
    """Sizes and prices, and a run that learned one from the other."""
    rows = [(f"{i / 7:.3f}", f"{i / 3:.3f}") for i in range(60)]

    def write(name: str, row: int = 3, **changed: str) -> Path:
        size, price = rows[row]
        changed_rows = [*rows[:row], (changed.get("size", size), changed.get("price", price)), *rows[row + 1 :]]
        text = "".join(f"{size};{price}\n" for size, price in changed_rows)
        (tmp_path / name).write_text(f"# from the survey\n\nsize;price\n{text}")
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("command", "column"), [("predict", "size"), ("evaluate", "size"), ("evaluate", "price"), ("train", "price")]
)
def test_a_number_that_overflows_in_the_model_is_named_by_line_and_column(
    invoke, refused, houses, tmp_path, command, column
):
    good, bad = houses("good.csv"), houses("bad.csv", **{column: "1e60"})
    assert invoke("train", good, "--epochs", 1, "--out", tmp_path / "run").exit_code == 0
    said = f"{bad}, line 7, column '{column}': 1e+60 is too large for the model, which computes in float32"
    if command == "train":
        result = invoke("train", good, "--test", bad, "--epochs", 1, "--out", tmp_path / "other")
        assert result.exit_code == 2
        assert said in result.stderr
        assert not (tmp_path / "other" / "config.json").exists()
    else:
        assert said in refused(command, tmp_path / "run", bad)


def test_a_held_out_row_that_overflows_is_named_by_line_and_column(invoke, houses, tmp_path):
    share = "--validation=0.9"
    good = houses("good.csv")
    invoke("train", good, share, "--test=0", "--epochs", 1, "--out", tmp_path / "run")
    held_out = load_parts(run.Settings.read(tmp_path / "run"))["validation"].rows
    row = int(held_out.frame.index[0])
    bad = houses("bad.csv", row=row, size="1e60")
    result = invoke("train", bad, share, "--test=0", "--epochs", 1, "--out", tmp_path / "other")
    assert f"{bad}, line {row + 4}, column 'size': 1e+60 is too large" in result.stderr


def test_without_a_schema_a_wrong_class_is_named_by_its_line(invoke, refused, tmp_path):
    X = np.linspace(-1, 1, 60).reshape(-1, 1)
    np.savez(tmp_path / "t.npz", X=X, y=np.where(X[:, 0] > 0, "up", "down"))
    invoke("train", tmp_path / "t.npz", "--epochs", 1, "--out", tmp_path / "run")
    (tmp_path / "new.csv").write_text("x,y\n" + "1,up\n-1,down\n" * 5 + "1,left\n")
    assert "column 'y': 'left' (line 12) is not among the classes" in refused(
        "evaluate", tmp_path / "run", tmp_path / "new.csv"
    )


def test_a_column_name_with_a_comma_is_quoted_as_in_csv(invoke, refused, tmp_path):
    rows = "".join(f"{i}.5,{i * i},{i % 3}.5,{'pq'[i % 2]}\n" for i in range(20))
    (tmp_path / "t.csv").write_text(f'"a, b",c,"say ""hi""",y\n{rows}')
    train = "train", tmp_path / "t.csv", "--epochs", 1

    def features(name: str, *given: str) -> list[str]:
        assert invoke(*train, *given, "--out", tmp_path / name).exit_code == 0
        return gn.load(tmp_path / name / "model.safetensors").schema.feature_names

    assert features("drop", "--drop", '"a, b",c') == ['say "hi"']
    assert features("again", "--drop", '"a, b"', "--drop", "c") == ['say "hi"']
    assert features("columns", "--columns", '"a, b", "say ""hi"""') == ["a, b", 'say "hi"']
    kept = invoke("predict", tmp_path / "drop", tmp_path / "t.csv", "--keep", '"a, b"').stdout.splitlines()
    assert kept[0] == '"a, b",prediction'
    assert "quote a whole name that contains a comma" in invoke(*train, "--drop", '"a, b').stderr


def test_very_small_and_large_results_keep_their_digits(invoke, tmp_path):
    for unit in ("e-9", "e9"):
        rows = "".join(f"{i}.5,{3 * i + i % 2}.5{unit}\n" for i in range(60))
        (tmp_path / f"{unit}.csv").write_text(f"x,y\n{rows}")
        trained = invoke("train", tmp_path / f"{unit}.csv", "--epochs", 2, "--out", tmp_path / unit).stdout
        evaluated = invoke("evaluate", tmp_path / unit, tmp_path / f"{unit}.csv").stdout
        answer = json.loads(invoke("evaluate", tmp_path / unit, tmp_path / f"{unit}.csv", "--json").stdout)
        names, numbers = (line.split() for line in evaluated.splitlines())
        assert float(numbers[names.index("mae") - len(names)]) / answer["mae"] == pytest.approx(1, abs=1e-4)
        assert f"{answer['mae']:.5g}" in trained
        assert f"{answer['mae']:.5g}" in invoke("compare", tmp_path / unit).stdout


def test_a_table_in_the_place_of_the_model_is_answered_with_the_order(refused, titanic, titanic_run):
    for command in ("predict", "evaluate"):
        said = refused(command, titanic, titanic_run)
        assert f"{titanic}: a table; give the run's folder or model file first, then the table" in said


def test_a_file_in_the_place_of_the_output_folder_is_refused(refused, titanic):
    before = titanic.read_bytes()
    assert f"--out {titanic}: a file; give a folder" in refused("train", titanic, "--out", titanic)
    assert titanic.read_bytes() == before


def test_more_classes_than_can_be_divided_are_counted(invoke, tmp_path):
    rows = "".join(f"{i}.5,{i}.5\n" for i in range(60))
    (tmp_path / "t.csv").write_text(f"x,y\n{rows}")
    result = invoke("train", tmp_path / "t.csv", "--task", "classification", "--out", tmp_path / "run")
    assert "60 samples of 60 classes would be divided into parts of 60, 0, 0" in result.stderr

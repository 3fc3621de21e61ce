from __future__ import annotations

import csv

import numpy as np
import onnx
import onnxruntime
import pytest

import gpunet as gn


def answers(path, X):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": X})


def test_export_of_a_run_predicts_raw_data_like_the_run(invoke, flowers_run, flowers, tmp_path):
    invoke("export", flowers_run, tmp_path / "flowers.onnx")
    model = gn.load(flowers_run / "model.safetensors")
    X = model.schema.read(flowers)
    labels, probabilities = answers(tmp_path / "flowers.onnx", X)
    printed = csv.DictReader(invoke("predict", flowers_run, flowers).stdout.splitlines())
    assert labels.tolist() == [row["prediction"] for row in printed]
    assert np.abs(probabilities - model.predict_proba(X)).max() <= 1e-5
    assert "colour=red" in onnx.load(tmp_path / "flowers.onnx").metadata_props[0].value


@pytest.mark.parametrize("form", ["days", "milliseconds"])
def test_export_keeps_the_digits_of_timestamps(invoke, tmp_path, form):
    """One row per second: float32 cannot distinguish them as days or milliseconds since 1970."""
    start = 1_714_557_600
    shown = {"days": lambda t: np.datetime64(t, "s"), "milliseconds": lambda t: 1000 * t}[form]
    rows = [f"{shown(start + t)},{np.sin(t / 20):.4f}" for t in range(300)]
    (tmp_path / "t.csv").write_text("\n".join(["time,y", *rows]), encoding="utf-8")
    given = ("--as", "time=date" if form == "days" else "time=number", "--epochs", 20)
    assert invoke("train", tmp_path / "t.csv", *given, "--out", tmp_path / "run").exit_code == 0
    assert invoke("export", tmp_path / "run", tmp_path / "t.onnx").exit_code == 0
    model = gn.load(tmp_path / "run" / "model.safetensors")
    X = model.schema.read(tmp_path / "t.csv")
    (values,) = answers(tmp_path / "t.onnx", X)
    expected = model.predict(X)
    assert np.unique(expected).size > 250
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)


def test_export_of_a_regression_predicts_in_the_targets_units(invoke, line, tmp_path):
    invoke("train", line, "--epochs", 2, "--out", tmp_path)
    invoke("export", tmp_path / "model.safetensors", tmp_path / "line.onnx")
    X = np.load(line)["X"]
    (values,) = answers(tmp_path / "line.onnx", X.astype(np.float32))
    np.testing.assert_allclose(values, gn.load(tmp_path / "model.safetensors").predict(X), rtol=1e-5)


def test_export_rejects_a_file_name_without_onnx_suffix(refused, digits_run):
    folder, _ = digits_run
    before = (folder / "model.safetensors").read_bytes()
    assert ".onnx" in refused("export", folder, folder / "model.safetensors")
    assert (folder / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize("source", ["nothing", "model.onnx"])
def test_export_rejects_anything_but_a_model_in_one_line(refused, tmp_path, source):
    (tmp_path / "model.onnx").write_bytes(b"no model")
    assert source in refused("export", tmp_path / source, tmp_path / "out.onnx")
    assert not (tmp_path / "out.onnx").exists()

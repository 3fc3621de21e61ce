from __future__ import annotations

import csv

import numpy as np
import onnx
import onnxruntime
import pytest

import gpunet as gn


def answers(path, X):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"X": X.astype(np.float32)})


def test_export_of_a_run_predicts_raw_data_like_the_run(invoke, flowers_run, flowers, tmp_path):
    invoke("export", flowers_run, tmp_path / "flowers.onnx")
    model = gn.load(flowers_run / "model.safetensors")
    X = model.schema.read(flowers)
    labels, probabilities = answers(tmp_path / "flowers.onnx", X)
    printed = csv.DictReader(invoke("predict", flowers_run, flowers).stdout.splitlines())
    assert labels.tolist() == [row["prediction"] for row in printed]
    assert np.abs(probabilities - model.predict_proba(X)).max() <= 1e-5
    assert "colour=red" in onnx.load(tmp_path / "flowers.onnx").metadata_props[0].value


def test_export_of_a_regression_predicts_in_the_targets_units(invoke, line, tmp_path):
    invoke("train", line, "--epochs", 2, "--out", tmp_path)
    invoke("export", tmp_path / "model.safetensors", tmp_path / "line.onnx")
    X = np.load(line)["X"]
    (values,) = answers(tmp_path / "line.onnx", X)
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

"""The docstrings of the public names: each class and each function has an example, and the examples run."""

import doctest
import inspect

import numpy as np
import pytest

import gpunet as gn
import gpunet.bench
import gpunet.interop
import gpunet.simulator
import gpunet.sklearn
from gpunet import registry
from gpunet.errors import DeviceError
from gpunet.simulator.compiler import find_compiler

PACKAGES = [gn, gn.ops, gn.data, gn.metrics, gn.interop, gpunet.sklearn, gpunet.bench, gpunet.simulator]

MISSING: set[str] = {
    "gpunet.Activation",
    "gpunet.Adam",
    "gpunet.AdamW",
    "gpunet.AvgPool2d",
    "gpunet.BCEWithLogitsLoss",
    "gpunet.BatchNorm1d",
    "gpunet.BatchNorm2d",
    "gpunet.Callback",
    "gpunet.Checkpoint",
    "gpunet.Conv1d",
    "gpunet.Conv2d",
    "gpunet.CosineEmbeddingLoss",
    "gpunet.CrossEntropyLoss",
    "gpunet.Dropout",
    "gpunet.EarlyStopping",
    "gpunet.Embedding",
    "gpunet.EntityEmbedding",
    "gpunet.Flatten",
    "gpunet.GEGLU",
    "gpunet.GLU",
    "gpunet.GlobalAvgPool2d",
    "gpunet.History",
    "gpunet.HuberLoss",
    "gpunet.L1Loss",
    "gpunet.LSTM",
    "gpunet.Layer",
    "gpunet.LayerNorm",
    "gpunet.Linear",
    "gpunet.Log",
    "gpunet.MLP",
    "gpunet.MSELoss",
    "gpunet.MaxPool2d",
    "gpunet.Model",
    "gpunet.MultiHeadAttention",
    "gpunet.PoissonNLLLoss",
    "gpunet.ProgressBar",
    "gpunet.QuantileLoss",
    "gpunet.RMSNorm",
    "gpunet.RMSprop",
    "gpunet.RNN",
    "gpunet.Residual",
    "gpunet.SGD",
    "gpunet.Sequential",
    "gpunet.SinusoidalPositions",
    "gpunet.SwiGLU",
    "gpunet.TensorBoard",
    "gpunet.TerminateOnNaN",
    "gpunet.Trainer",
    "gpunet.TransformerEncoderLayer",
    "gpunet.from_dlpack",
    "gpunet.interop.from_dlpack",
    "gpunet.interop.load_torch",
    "gpunet.interop.to_dlpack",
    "gpunet.interop.to_onnx",
    "gpunet.interop.to_torch",
    "gpunet.load",
    "gpunet.sklearn.MLPClassifier",
    "gpunet.sklearn.MLPRegressor",
    "gpunet.tabular_mlp",
    "gpunet.training.metrics.accuracy",
    "gpunet.training.metrics.average_precision",
    "gpunet.training.metrics.confusion_matrix",
    "gpunet.training.metrics.direction",
    "gpunet.training.metrics.f1",
    "gpunet.training.metrics.is_greater_better",
    "gpunet.training.metrics.log_loss",
    "gpunet.training.metrics.macro_f1",
    "gpunet.training.metrics.mean_absolute_error",
    "gpunet.training.metrics.precision",
    "gpunet.training.metrics.r2_score",
    "gpunet.training.metrics.recall",
    "gpunet.training.metrics.roc_auc",
    "gpunet.training.metrics.root_mean_squared_error",
    "gpunet.training.metrics.top_k_accuracy",
    "gpunet.training.metrics.what_it_takes",
}
"""Names without an example so far."""

COMPILED = {"RawKernel", "RawModule", "check_mode", "counting"}
"""Names of the simulator whose examples need a C++ compiler."""


def public_names():
    """Return the classes and functions by name, without the simulator's counterparts of NumPy's."""
    return {
        f"{package.__name__}.{name}": member
        for package in PACKAGES
        for name in getattr(package, "__all__", ())
        if inspect.isclass(member := getattr(package, name)) or inspect.isfunction(member)
        if package is not gpunet.simulator or not hasattr(np, name)
    }


NAMES = public_names()


@pytest.fixture(autouse=True)
def _apart(monkeypatch, tmp_path):
    """Keep the files and the registered classes of an example to itself."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registry, "_classes", dict(registry._classes))


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_has_an_example_that_runs(name):
    if name.removeprefix("gpunet.simulator.") in COMPILED:
        try:
            find_compiler()
        except DeviceError as error:
            pytest.skip(str(error))
    example = doctest.DocTestParser().get_doctest(
        inspect.getdoc(NAMES[name]), {"gn": gn, "np": np, "__name__": name}, name, None, None
    )
    assert bool(example.examples) == (name not in MISSING)
    report = []
    doctest.DocTestRunner(verbose=False, optionflags=doctest.NORMALIZE_WHITESPACE).run(example, out=report.append)
    assert "".join(report) == ""


def test_the_list_of_missing_examples_holds_public_names():
    assert set(NAMES) >= MISSING

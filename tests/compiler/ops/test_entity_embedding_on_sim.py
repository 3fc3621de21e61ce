"""Entity embedding with the CUDA and C++ kernels, compared with NumPy."""

import numpy as np
import pytest
from compiler.ops.simulated import DTYPES, assert_as_on_the_cpu

import gpunet as gn

KNOWN = 4, 40
RNG = np.random.default_rng(0)
X = np.column_stack([RNG.standard_normal((48, 3)), RNG.integers(-1, 6, 48), RNG.integers(0, 41, 48)])
X[::7, 3] += 0.5
Y = (X[:, 3] + X[:, 4]).astype(int) % 3


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("widths", [(1, 3), (33, 129)], ids=str)
@pytest.mark.parametrize(("count", "numbers"), [(0, 2), (1, 0), (31, 1), (300, 3)])
def test_features_and_gradients_match_the_cpu(count, numbers, widths, dtype):
    rng = np.random.default_rng(0)
    categories = [rng.integers(-2, known + 2, count) for known in KNOWN]
    x = np.column_stack([rng.standard_normal((count, numbers)), *categories]).astype(dtype)
    x[:1, numbers] = np.nan
    x[1::3, numbers] += 0.5
    tables = [rng.standard_normal((1 + n, width)).astype(dtype) for n, width in zip(KNOWN, widths, strict=True)]
    dy = rng.standard_normal((count, numbers + sum(widths))).astype(dtype)
    dtables = [np.full_like(table, np.nan) for table in tables]

    def forward(x, *tables, tape):
        return [gn.ops.entity_embedding(x, tables, tape=tape)]

    def backward(dy, x, *dtables, tape):
        return [gn.ops.entity_embedding_backward(dy, x, dtables, tape=tape), *dtables]

    assert_as_on_the_cpu(forward, x, *tables)
    assert_as_on_the_cpu(backward, dy, x, *dtables)


def trainer(device="cpu", executor="auto", dtype="float32"):
    layers = gn.EntityEmbedding(3, KNOWN, [4, 6], rng=0), gn.Linear(13, 8, activation="relu", rng=1)
    model = gn.Sequential(*layers, gn.Linear(8, 3, rng=2)).to(device, dtype=dtype)
    model.input_scaler = gn.data.Standardizer.fit(X, category_columns=2)
    return gn.Trainer(model, optimizer=gn.SGD(0.1, momentum=0.5), executor=executor)


def trained(*args):
    one = trainer(*args)
    one.fit(X, Y, epochs=3, batch_size=20)
    return one


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_trains_on_sim_as_on_the_cpu(dtype, tmp_path):
    with gn.ops.use_kernel("tiled"):
        recorded, written = trained("sim", "graph", dtype), trained("sim", "eager", dtype)
        followed = gn.to_host(recorded.model.store.params)
        np.testing.assert_array_equal(followed, gn.to_host(written.model.store.params))
    reference = trained("cpu", "numpy", dtype).model.store.params
    np.testing.assert_allclose(followed, reference, atol=1e-5 if dtype == "float32" else 1e-12)
    recorded.model.save(tmp_path / "model")
    np.testing.assert_allclose(gn.load(tmp_path / "model").outputs(X), recorded.model.outputs(X), atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_native_step_matches_numpy_without_a_numpy_call(dtype):
    native, numpy = trained("cpu", "native", dtype), trained("cpu", "numpy", dtype)
    atol = 1e-6 if dtype == "float32" else 1e-13
    np.testing.assert_allclose(native.model.store.params, numpy.model.store.params, atol=atol)
    assert "native: " in native.explain().executor
    assert "NumPy" not in native.explain().executor


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_predictions_run_as_a_native_program(dtype):
    model = trained("cpu", "native", dtype).model
    x = np.tile(X, (9, 1))
    np.testing.assert_allclose(model.outputs(x), model(model.prepare(x)), rtol=1e-5, atol=1e-6)
    (inference,) = model._inference.values()
    assert inference._program is not None

"""Embedding with the kernels, compared with the CPU."""

import numpy as np
import pytest
from compiler.ops.simulated import DTYPES, SIM, assert_as_on_the_cpu, to_sim

import gpunet as gn
from gpunet import simulator


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("rows", "width"), [(1, 1), (5, 3), (9, 64), (3, 129), (40, 32)])
@pytest.mark.parametrize("shape", [(0,), (1,), (31, 3), (300,), (2, 0)], ids=str)
def test_look_up_and_gradient_match_the_cpu(shape, rows, width, dtype):
    rng = np.random.default_rng(0)
    indices, table = rng.integers(0, rows, shape), rng.standard_normal((rows, width)).astype(dtype)
    dy = rng.standard_normal((*shape, width)).astype(dtype)
    assert_as_on_the_cpu(lambda k, w, tape: [gn.ops.embedding(k, w, tape=tape)], indices, table)
    for padding in (None, rows - 1, -1):
        dweight = np.full_like(table, np.nan)
        assert_as_on_the_cpu(
            lambda g, k, out, tape, padding=padding: [
                gn.ops.embedding_backward(g, k, rows, padding, dweight=out, tape=tape)
            ],
            dy, indices, dweight,
        )  # fmt: skip


def test_indices_out_of_range_are_clamped():
    indices, table = to_sim(np.array([-5, 2, 99])), to_sim(np.arange(8.0).reshape(4, 2))
    with simulator.check_mode():
        y = gn.ops.embedding(indices, table)
        dweight = gn.ops.embedding_backward(to_sim(np.ones((3, 2))), indices, 4)
    np.testing.assert_array_equal(SIM.to_host(y)[:, 0], [0, 4, 6])
    np.testing.assert_array_equal(SIM.to_host(dweight)[:, 0], [1, 0, 1, 1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_model_of_indices_trains_on_sim_as_on_the_cpu(dtype, tmp_path):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, (48, 4))
    y = x.sum(axis=1) % 3

    def run(device, executor):
        model = gn.Sequential(gn.Embedding(9, 6, 0, rng=0), gn.Flatten(), gn.Linear(24, 3, rng=1))
        trainer = gn.Trainer(model.to(device, dtype=dtype), optimizer=gn.SGD(0.1), executor=executor)
        trainer.fit(x, y, epochs=3, batch_size=20)
        return trainer

    with gn.ops.use_kernel("tiled"):
        recorded, written = run("sim", "graph"), run("sim", "eager")
        followed = gn.to_host(recorded.model.store.params)
        np.testing.assert_array_equal(followed, gn.to_host(written.model.store.params))
    np.testing.assert_allclose(followed, run("cpu", "auto").model.store.params, atol=1e-5)
    recorded.model.save(tmp_path / "model")
    loaded = gn.load(tmp_path / "model")
    np.testing.assert_allclose(loaded.outputs(x), recorded.model.outputs(x), atol=1e-5)

"""Cosine similarity and its loss with the kernels, compared with the CPU."""

import numpy as np
import pytest
from compiler.ops.simulated import DTYPES, SIM, assert_as_on_the_cpu

import gpunet as gn
from gpunet.ops import cosine_embedding

SHAPES = [(1, 1), (3, 31), (9, 32), (7, 65), (3, 0)]


def arrays(dtype, *shapes):
    rng = np.random.default_rng(0)
    given = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
    for a in given:
        if len(a):
            a[-1] = 0
            a[0] *= 0.01  # shorter than eps
    return given


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values_and_gradients_match_the_cpu(shape, dtype):
    a, b, dy = arrays(dtype, shape, shape, shape[:1])
    assert_as_on_the_cpu(lambda a, b, tape: [gn.ops.cosine_similarity(a, b, eps=0.1, tape=tape)], a, b)
    assert_as_on_the_cpu(
        lambda dy, a, b, tape: gn.ops.cosine_similarity_backward(dy, a, b, eps=0.1, tape=tape), dy, a, b
    )


def test_other_axes_and_broadcast_shapes_match_the_cpu():
    a, b, dy = arrays(DTYPES[0], (4, 1, 3), (5, 3), (4, 5))
    there = [SIM.asarray(x) for x in (dy, a, b)]
    np.testing.assert_allclose(
        gn.to_host(gn.ops.cosine_similarity(*there[1:])), gn.ops.cosine_similarity(a, b), rtol=1e-5
    )
    for axis, given in ((-1, (dy, a, b)), (0, (b[0], b, b))):
        there = gn.ops.cosine_similarity_backward(*map(SIM.asarray, given), axis)
        for mine, theirs in zip(gn.ops.cosine_similarity_backward(*given, axis), there, strict=True):
            np.testing.assert_allclose(gn.to_host(theirs), mine, rtol=1e-4, atol=1e-6)


def test_no_rows_give_an_empty_result():
    none = SIM.asarray(np.empty((0, 3)))
    assert gn.ops.cosine_similarity(none, none).shape == (0,)
    assert [g.shape for g in gn.ops.cosine_similarity_backward(none[:, 0], none, none)] == [(0, 3), (0, 3)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("rows", [0, 1, 8, 70])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loss_matches_the_cpu(rows, weighted, dtype):
    rng = np.random.default_rng(0)
    pairs, target = rng.standard_normal((rows, 2, 5)).astype(dtype), np.sign(rng.standard_normal(rows)).astype(dtype)
    weights = {"weight": rng.random(rows).astype(dtype)} if weighted else {}
    assert_as_on_the_cpu(lambda p, t, **more: cosine_embedding(p, t, 0.1, **more), pairs, target, **weights)


def test_training_on_pairs_is_recorded_on_sim_and_matches_the_cpu():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 10, (60, 2))
    y = np.where(x[:, 0] % 2 == x[:, 1] % 2, 1, -1)

    def run(device, executor):
        model = gn.Sequential(gn.Embedding(10, 6, rng=0)).to(device)
        trainer = gn.Trainer(model, loss=gn.CosineEmbeddingLoss(0.2), optimizer=gn.SGD(0.1), executor=executor)
        trainer.fit(x, y, epochs=3, batch_size=20, sample_weight=np.linspace(1, 2, 60))
        return gn.to_host(model.store.params)

    recorded = run("sim", "graph")
    np.testing.assert_array_equal(recorded, run("sim", "eager"))
    np.testing.assert_allclose(recorded, run("cpu", "auto"), atol=1e-5)

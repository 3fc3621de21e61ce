"""Attention with the kernels, compared with the CPU."""

from functools import partial

import numpy as np
import pytest
from compiler.ops.simulated import CPU, DTYPES, SIM, assert_as_on_the_cpu, to_sim

import gpunet as gn
from gpunet import simulator
from gpunet.ops import scaled_dot_product_attention, scaled_dot_product_attention_backward

SHAPES = [(2, 3, 5, 7, 3, 5), (1, 2, 16, 65, 8, 8), (2, 1, 5, 3, 5, 3)]
"""Rows, heads, queries, keys, features, features of a value."""

SMALLEST = [(1, 1, 1, 1, 1, 1), (2, 2, 0, 3, 5, 3), (2, 2, 3, 0, 5, 3)]
MASKS = {
    "none": lambda rng, r, h, n, m: None,
    "boolean": lambda rng, r, h, n, m: rng.random((n, m)) < 0.5,
    "keys": lambda rng, r, h, n, m: rng.random((r, 1, 1, m)) < 0.3,
    "added": lambda rng, r, h, n, m: rng.standard_normal((r, h, n, m)),
    "ruling out": lambda rng, r, h, n, m: np.where(rng.random((h, n, 1)) < 0.5, -np.inf, 0.0),
    "lowering": lambda rng, r, h, n, m: np.where(rng.random((h, n, 1)) < 0.5, np.finfo(np.float32).min, 0.0),
}


@pytest.fixture(autouse=True)
def _by_the_kernels():
    with gn.ops.use_kernel("tiled"):  # float64 too, which the library would serve
        yield


def forward_and_backward(q, k, v, dy, mask=None, causal=False, tape=None):
    """Return the output, the weights and the gradients."""
    xp = gn.array_module(q)
    weights = gn.tape.empty(tape, (*q.shape[:-1], k.shape[-2]), q.dtype, xp)
    y = scaled_dot_product_attention(q, k, v, mask, causal, weights=weights, tape=tape)
    return y, weights, *scaled_dot_product_attention_backward(dy, q, k, v, weights, tape=tape)


def problem(shape, dtype):
    rows, heads, queries, keys, n, m = shape
    rng = np.random.default_rng(queries)
    sizes = (queries, n), (keys, n), (keys, m), (queries, m)
    return [rng.standard_normal((rows, heads, *size)).astype(dtype) for size in sizes]


@pytest.mark.parametrize(("kind", "dtype"), [*((kind, DTYPES[0]) for kind in MASKS), ("added", DTYPES[1])], ids=str)
@pytest.mark.parametrize("causal", [False, True])
def test_every_mask_matches_the_cpu(kind, dtype, causal):
    for shape in SHAPES + SMALLEST * (kind in ("none", "keys")):
        mask = MASKS[kind](np.random.default_rng(1), *shape[:4])
        if mask is not None and mask.dtype != bool:
            mask = mask.astype(dtype)
        op = partial(forward_and_backward, causal=causal)
        assert_as_on_the_cpu(op, *problem(shape, dtype), **({} if mask is None else {"mask": mask}))


def test_no_rows_give_an_empty_result():
    arrays = map(to_sim, problem((0, 2, 3, 3, 5, 3), DTYPES[0]))
    assert [a.shape for a in forward_and_backward(*arrays)] == [(0, 2, 3, n) for n in (3, 3, 5, 5, 3)]


@pytest.mark.parametrize("axes", [2, 3])
def test_axes_of_rows_and_heads_are_optional(axes):
    arrays = [a[(0,) * (4 - axes)] for a in problem(SHAPES[0], DTYPES[0])]
    mask = np.random.default_rng(0).random((3, 5, 7)[3 - axes :]) < 0.5
    assert_as_on_the_cpu(forward_and_backward, *arrays, mask=mask)


def test_overflowing_and_nan_scores_match_the_cpu():
    q, k, v, dy = problem((1, 1, 3, 4, 3, 3), DTYPES[0])
    assert_as_on_the_cpu(forward_and_backward, 1e10 * q, 1e10 * k, v, dy)
    q[0, 0, 1, 0] = np.nan
    assert_as_on_the_cpu(forward_and_backward, q, k, v, dy)


def test_any_memory_layout_gives_the_same():
    arrays = problem(SHAPES[0], DTYPES[0])
    expected = forward_and_backward(*arrays)
    with simulator.check_mode():
        there = [to_sim(a.swapaxes(1, 2).copy()).swapaxes(1, 2) for a in arrays]
        q, k, v, dy = there
        outs = [SIM.xp.empty_like(a, order="C").swapaxes(1, 2).copy().swapaxes(1, 2) for a in (dy, q, k, v)]
        weights = SIM.xp.empty(expected[1].shape, np.float32)
        y = scaled_dot_product_attention(q, k, v, out=outs[0], weights=weights)
        dq, dk, dv = outs[1:]
        scaled_dot_product_attention_backward(dy, q, k, v, weights, dq=dq, dk=dk, dv=dv)
    assert y is outs[0]
    for a, b in zip(expected, (y, weights, dq, dk, dv), strict=True):
        np.testing.assert_allclose(SIM.to_host(b), a, rtol=1e-4, atol=1e-5)


def test_cross_attention_and_its_gradients_match_the_cpu():
    rng = np.random.default_rng(0)
    x, context = (rng.standard_normal((2, n, 6)).astype(np.float32) for n in (5, 4))
    mask = rng.random((2, 1, 1, 4)) < 0.5
    results = []
    for device in (CPU, SIM):
        layer, tape = gn.MultiHeadAttention(6, 2, rng=1).to(device), gn.Tape()
        with simulator.check_mode():
            for _ in range(2):
                tape.reset()
                y = layer.forward(device.asarray(x), tape, device.asarray(context), device.asarray(mask))
                dx, dcontext = layer.backward(y, tape)
        results.append([device.to_host(a) for a in (y, dx, dcontext, layer.store.grads)])
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-5)


def test_a_transformer_trains_on_sim_as_on_the_cpu():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 9, (48, 5))
    y = np.sort(x, axis=1)

    def run(device, executor):
        model = gn.Sequential(
            gn.Embedding(9, 6, rng=0),
            gn.SinusoidalPositions(),
            gn.TransformerEncoderLayer(6, 2, 10, 0.1, causal=True, rng=1),
            gn.Linear(6, 9, rng=2),
        )
        trainer = gn.Trainer(model.to(device), optimizer=gn.SGD(0.1), executor=executor)
        trainer.fit(x, y, epochs=3, batch_size=20, sample_weight=np.linspace(0, 2, 48))
        return trainer

    recorded, written, host = run("sim", "graph"), run("sim", "eager"), run("cpu", "auto")
    followed = gn.to_host(recorded.model.store.params)
    np.testing.assert_array_equal(followed, gn.to_host(written.model.store.params))
    np.testing.assert_allclose(followed, host.model.store.params, atol=1e-5)
    np.testing.assert_allclose(recorded.history["accuracy"], host.history["accuracy"], atol=1e-2)
    assert "attention_softmax_backward" in {node.kernel for node in recorded.explain().nodes}
    np.testing.assert_allclose(recorded.model.outputs(x), host.model.outputs(x), atol=1e-4)

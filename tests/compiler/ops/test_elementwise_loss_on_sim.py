"""The elementwise losses with the kernels, compared with the CPU."""

import numpy as np
import pytest
from compiler.ops.simulated import DTYPES, SIM, assert_as_on_the_cpu, to_sim

from gpunet import simulator
from gpunet.ops import absolute_error, binary_cross_entropy, huber, mean_squared_error, poisson_nll

LOSSES = {
    "mean_squared_error": mean_squared_error,
    "huber": lambda p, t, **options: huber(p, t, 0.5, **options),
    "absolute_error": absolute_error,
    "quantile": lambda p, t, **options: absolute_error(p, t, above=0.2, below=0.8, **options),
    "poisson_nll": poisson_nll,
    "poisson_nll of rates": lambda p, t, **options: poisson_nll(p, t, log_input=False, eps=9.0, **options),
    "binary_cross_entropy": binary_cross_entropy,
}
SHAPES = [(0, 3), (4, 0), (1,), (1, 1), (7, 3), (33, 2, 5), (300, 8)]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_matches_the_cpu(loss, weighted, dtype):
    for shape in SHAPES:
        rng = np.random.default_rng(0)
        p, t = rng.standard_normal(shape).astype(dtype), rng.random(shape).astype(dtype)
        weight = rng.random(shape[0]).astype(dtype) if weighted else None
        assert_as_on_the_cpu(LOSSES[loss], p, t, weight=weight)


@pytest.mark.parametrize("loss", LOSSES)
def test_all_zero_weights_give_zero_loss_and_gradient(loss):
    ones = np.ones((5, 3), np.float32)
    assert_as_on_the_cpu(LOSSES[loss], 2 * ones, ones, weight=np.zeros(5, np.float32))


def test_any_memory_layout_gives_the_same():
    p, t = np.random.default_rng(0).standard_normal((2, 6, 4)).astype(np.float32)
    expected = mean_squared_error(p, t)
    with simulator.check_mode():
        results = mean_squared_error(to_sim(p.T.copy()).T, to_sim(t))
    for a, b in zip(expected, results, strict=True):
        np.testing.assert_allclose(SIM.to_host(b), a, rtol=1e-6)


def test_a_large_batch_is_summed_by_one_kernel_in_a_fixed_order():
    p, t = np.random.default_rng(0).standard_normal((2, 3000, 5)).astype(np.float32)
    assert_as_on_the_cpu(mean_squared_error, p, t)
    simulator.counters.reset()
    there = to_sim(p), to_sim(t)
    losses = {float(mean_squared_error(*there)[0]) for _ in range(3)}
    assert simulator.counters.launches == 3 * 2  # the kernel, and the zero that its blocks count from
    assert len(losses) == 1

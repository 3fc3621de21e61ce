import numpy as np
import pytest
from compiler.kernels.checked import DTYPES, run, uninitialized

from gpunet.cuda import Kernel

ADD = Kernel("gradient_sum.cu", "add_gradient")


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [1, 3, 4, 5, 4099])
def test_the_weighted_sum_over_the_parts_is_written_to_the_gradient(size, dtype):
    rng = np.random.default_rng(size)
    weights = np.array([0.5, 0.3, 0.2], dtype)
    parts, values = rng.standard_normal((3, size)).astype(dtype), rng.standard_normal(3).astype(dtype)
    total, losses = uninitialized(size, dtype), uninitialized(2, dtype)
    for part in range(3):
        g = parts[part].copy()
        run(ADD, (2,), (256,), g, total, values[part : part + 1], losses, weights, size, part, 3, 4.0)
        np.testing.assert_allclose(losses[1], 4 * weights[part] * values[part], rtol=1e-6)
    np.testing.assert_allclose(g, weights @ parts, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(losses[0], weights @ values, rtol=1e-5)


def test_a_part_before_the_last_does_not_change_the_gradient():
    g, total, losses = np.ones(7, np.float32), uninitialized(7, np.dtype(np.float32)), np.zeros(2, np.float32)
    run(ADD, (1,), (256,), g, total, np.ones(1, np.float32), losses, np.full(2, 0.5, np.float32), 7, 0, 2, 2.0)
    assert (g == 1).all()
    assert (total == 0.5).all()

"""`gpunet tune` on a real GPU: every candidate is right, and what wins is used."""

import numpy as np
import pytest
from tensor_cores import require_tensor_cores
from tuned_table import table

import gpunet as gn
from gpunet.bench.measure import clock_of
from gpunet.bench.tune import tune
from gpunet.ops import tuned
from gpunet.ops._matmul_plan import PRECISIONS
from gpunet.ops.tiles import CANDIDATES, FLOAT32, FLOAT64
from gpunet.ops.tuned import Product

__all__ = ["table"]

pytestmark = pytest.mark.cuda


TUNED = [
    (p, dtype) for p, kernel in PRECISIONS.items() for dtype in (FLOAT32, FLOAT64) if (kernel, dtype) in CANDIDATES
]


@pytest.mark.parametrize("layout", ["NN", "NT", "TN"])
@pytest.mark.parametrize(("precision", "dtype"), TUNED, ids=str)
def test_every_candidate_is_right_and_the_fastest_is_used(cuda, table, dtype, precision, layout):
    kernel = PRECISIONS[precision]
    require_tensor_cores(cuda, kernel)
    m, n, k = 516, 260, 132
    product = Product.of(m, n, k, layout, dtype)
    (result,) = tune([product], cuda, clock_of(cuda), seconds=0.01, precision=precision)
    assert result.faults == {}
    assert {choice.tile for choice in result.choices.values()} == set(CANDIDATES[kernel, dtype])
    tuned.keep(cuda, {(kernel, product): result.winner})
    assert gn.ops.matmul_plan(m, n, k, layout=layout, dtype=dtype, kernel=kernel, device=cuda).why.startswith("tuned")
    rng = np.random.default_rng(0)
    a = rng.standard_normal((k, m) if layout[0] == "T" else (m, k), dtype.type)
    b = rng.standard_normal((n, k) if layout[1] == "T" else (k, n), dtype.type)
    options = {"transpose_a": layout[0] == "T", "transpose_b": layout[1] == "T"}
    c = gn.ops.matmul(cuda.asarray(a), cuda.asarray(b), kernel=kernel, **options)
    np.testing.assert_allclose(
        cuda.to_host(c), gn.ops.matmul(a, b, **options), rtol=1e-3, atol=0.1 if kernel == "mma" else 1e-3
    )

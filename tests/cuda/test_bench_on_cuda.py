"""The benchmark on a real GPU: every kernel passes the gate, and its times make sense."""

import pytest
from quick_bench import quick

from gpunet.bench.cases import OPS
from gpunet.bench.measure import Request, run

__all__ = ["quick"]

pytestmark = pytest.mark.cuda


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", OPS)
def test_every_kernel_passes_the_gate_and_is_timed(cuda, quick, op, dtype):
    size = "64-32-10/16" if op == "step" else "96"
    report = run(Request(op, (size,), dtype, device=cuda.name, seconds=0.01), lambda rows: None)
    assert [row.fault for row in report.rows] == [""] * len(report.rows)
    assert all(0 < row.seconds.low <= row.seconds.high < 1 for row in report.rows)


def test_a_large_product_is_below_the_ceiling_and_the_environment_is_known(cuda):
    report = run(Request("matmul", ("2048",), device=cuda.name, kernels=("blas",), seconds=0.1), lambda rows: None)
    assert all(0.05 < row.of_ceiling < 1.2 for row in report.rows)
    assert report.environment["gpu"]
    assert report.environment["driver"]

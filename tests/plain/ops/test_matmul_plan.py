"""The choice of the kernel of a matrix product."""

import pytest

import gpunet as gn
from gpunet.cuda import MAX_ELEMENTS
from gpunet.errors import ShapeError
from gpunet.ops import matmul_plan

SIM = gn.get_device("sim")  # plans need no compiler


def test_a_matrix_too_large_for_a_kernel_is_left_to_the_library():
    plan = matmul_plan(2**40, 2**40, 2**40, device=SIM)
    assert plan.kernel == "blas"
    assert f"{MAX_ELEMENTS:,} elements" in plan.why


def test_a_matrix_too_large_for_a_requested_kernel_raises_with_the_limit():
    with pytest.raises(ShapeError, match=f"kernel 'tiled': a matrix of .* has over {MAX_ELEMENTS:,} elements"):
        matmul_plan(2**20, 2**20, 2**20, kernel="tiled", device=SIM)

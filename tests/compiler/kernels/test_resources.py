import pytest
from compiler.kernels.resources import measure

from gpunet.bench.nvrtc import is_available

pytestmark = pytest.mark.skipif(not is_available(), reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")

MOST_REGISTERS = {"matmul_tiled": 208, "matmul_register": 128, "matmul_mma": 120}
BOTH_AHEAD = 255  # of matmul_tiled where both operands lie along k: of 128 threads two blocks on a multiprocessor
MOST_REGISTERS |= dict.fromkeys(("batch_norm_sums", "glu_backward"), 128)  # in double
MOST_REGISTERS_ELSEWHERE = 80  # of 256 threads each: three blocks on a multiprocessor


@pytest.mark.parametrize("arch", ["sm_75", "sm_90"])
def test_every_kernel_builds_without_spills_or_local_arrays(arch):
    for name, _, options, r in measure(arch):
        assert r.stack == 0, (name, options, r)
        assert r.spilled == 0, (name, options, r)
        assert r.shared <= 48 * 1024, (name, options, r)
        most = MOST_REGISTERS.get(name, MOST_REGISTERS_ELSEWHERE)
        if name == "matmul_tiled" and "-DTRANSPOSE_B=1" in options:
            most = BOTH_AHEAD
        assert r.registers <= most, (name, options, r)

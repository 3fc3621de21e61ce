"""A kernel that faults on a real GPU is named at the next synchronization.

A fault makes CUDA unusable in its process, so the test starts another one.
"""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.cuda

FAULTY = """
import sys, warnings
import numpy as np
with warnings.catch_warnings(action="default"):
    import gpunet as gn
    from gpunet.cuda import Kernel
    cuda = gn.get_device("cuda")
stray, fine = Kernel(sys.argv[1], "stray"), Kernel(sys.argv[1], "fine")
y = cuda.asarray(np.zeros(4, np.float32))
fine((1,), (32,), y, 4)
print(cuda.to_host(y).tolist())
stray((1,), (32,), y, 4)
for wait in (cuda.synchronize, lambda: cuda.to_host(y), lambda: cuda.asarray([1.0])):
    try:
        wait()
    except gn.errors.KernelError as error:
        print(error)
"""
KERNELS = """
extern "C" __global__ void fine(
    float* y,  // [n]
    int n) {
    if (threadIdx.x < n) y[threadIdx.x] = 1;
}
extern "C" __global__ void stray(
    float* y,  // [n]
    int n) {
    reinterpret_cast<float*>(size_t(64))[threadIdx.x] = n;
}
"""


def test_a_stray_write_is_raised_at_each_wait_with_the_kernels_name(tmp_path):
    (tmp_path / "faulty.cu").write_text(KERNELS, encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-c", FAULTY, str(tmp_path / "faulty.cu")], capture_output=True, text=True, timeout=120
    )
    fine, *reported = run.stdout.splitlines()
    assert fine == "[1.0, 1.0, 1.0, 1.0]", run.stderr
    assert len(reported) == 3, run.stderr
    for message in reported:
        assert "a fault in the kernel stray (faulty.cu) (cudaErrorIllegalAddress" in message
        assert "restart the process" in message

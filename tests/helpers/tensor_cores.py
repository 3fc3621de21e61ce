"""Skip tests that a GPU is too old for."""

from __future__ import annotations

import pytest

from gpunet.device import Device
from gpunet.errors import DeviceError
from gpunet.ops._matmul_plan import TENSOR_CORE_KERNELS
from gpunet.ops.matmul_launch import check_tensor_cores


def require_tensor_cores(device: Device, kernel: str | None) -> None:
    """Skip the test, with gpunet's reason, if `kernel` needs tensor cores that the device does not have."""
    if kernel in TENSOR_CORE_KERNELS:
        try:
            check_tensor_cores(device, kernel)
        except DeviceError as error:
            pytest.skip(str(error))

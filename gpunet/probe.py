"""Import CuPy, and check that a trivial kernel compiles and runs on a GPU."""

from __future__ import annotations

from types import ModuleType

import numpy as np

from gpunet.errors import DeviceError

CUPY_PACKAGES = "'cupy-cuda12x[ctk]>=14.2' for a CUDA 12 driver, 'cupy-cuda13x[ctk]>=14.2' for CUDA 13"


def usable_cupy(index: int, source: str) -> ModuleType:
    """Return CuPy after a trivial kernel ran on the `index`-th GPU.

    Args:
        source: CUDA source of the kernel `probe`, which numbers the elements of an int32 array.

    Raises:
        DeviceError: CuPy, the driver, the GPU or NVRTC is missing, or the kernel's result is wrong.
    """
    try:
        import cupy
    except Exception as error:  # not only ImportError: an unwritable HOME raises OSError, for CuPy's cache folder
        if isinstance(error, ModuleNotFoundError) and error.name == "cupy":
            raise DeviceError(f"cuda: CuPy is not installed. To use the GPU: pip install {CUPY_PACKAGES}.") from None
        raise DeviceError(f"cuda: CuPy is installed but cannot be imported: {error}") from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(
            f"cuda: no usable NVIDIA driver or GPU ({error}). Check `nvidia-smi`; pip cannot install the driver."
        ) from error
    if index >= count:
        raise DeviceError(f"cuda:{index}: this machine has {count} GPU(s), numbered from 0.")
    try:
        with cupy.cuda.Device(index):
            probe = cupy.RawKernel(source, "probe")
            out = cupy.zeros(32, np.int32)
            probe((1,), (32,), (out, np.int32(out.size)))
            ran = np.array_equal(cupy.asnumpy(out), np.arange(32))
    except Exception as error:
        raise DeviceError(
            f"cuda:{index}: a trivial kernel could not be compiled and run ({error}). NVRTC or the CUDA headers may be "
            f"missing: pip install {CUPY_PACKAGES}."
        ) from error
    if not ran:
        raise DeviceError(
            f"cuda:{index}: a trivial kernel returned wrong values. The driver may be incompatible with the installed "
            f"CuPy: pip install {CUPY_PACKAGES}."
        )
    module: ModuleType = cupy
    return module

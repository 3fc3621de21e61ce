"""Share arrays with other libraries without a copy, by the DLPack protocol."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.device import Array, array_module, get_device
from gpunet.errors import DeviceError, DTypeError

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
"""Device types of the protocol (DLDeviceType in dlpack.h)."""


def from_dlpack(x: Any) -> Array:
    """Return an array that shares the memory of another library's array, on the same device.

    Args:
        x: a tensor of PyTorch, or an array of any library with DLPack, such as JAX or CuPy.

    Returns:
        A NumPy array, or a CuPy array on the same GPU; read-only for a JAX array on the CPU.

    Raises:
        DeviceError: `x` is neither on the CPU nor on a usable CUDA GPU.
        DTypeError: the library does not export `x`: bfloat16, or a tensor that requires gradients.

    Example:
        >>> a = np.zeros(3)
        >>> b = gn.from_dlpack(a)
        >>> b[0] = 1
        >>> a
        array([1., 0., 0.])
    """
    if not hasattr(x, "__dlpack__"):
        raise DTypeError(f"from_dlpack needs an array with a __dlpack__ method, got {type(x).__name__}.")
    kind, index = map(int, x.__dlpack_device__())
    if kind not in (CPU, CUDA, CUDA_HOST, CUDA_MANAGED):
        raise DeviceError(
            f"from_dlpack: the {type(x).__name__} is on a device of DLPack type {kind}; move it to the CPU."
        )
    device = get_device(f"cuda:{index}" if kind in (CUDA, CUDA_MANAGED) else "cpu")
    try:
        with device.activate():
            return device.xp.from_dlpack(x)
    except (BufferError, RuntimeError) as error:
        raise DTypeError(f"from_dlpack: this {type(x).__name__} cannot be exported: {error}") from error


def to_dlpack(a: Array) -> Array:
    """Return `a` itself if other libraries can safely share its memory, else a copy.

    `torch.from_dlpack(gn.interop.to_dlpack(a))` is safe for every array. Without it, PyTorch aborts the process on a
    negative stride and makes read-only memory writable; JAX refuses both.

    Example:
        >>> a = np.arange(3.0)
        >>> gn.interop.to_dlpack(a) is a, np.shares_memory(gn.interop.to_dlpack(a[::-1]), a)
        (True, False)
    """
    xp = array_module(a)
    negative = any(stride < 0 for stride in a.strides)
    frozen = xp is np and not a.flags.writeable
    return a.copy() if negative or frozen else a

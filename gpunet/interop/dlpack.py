"""Arrays that change hands without a copy, by the DLPack protocol."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.device import Array, array_module, get_device
from gpunet.errors import DeviceError, DTypeError

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
"""The protocol's numbers of the kinds of memory (DLDeviceType in dlpack.h)."""


def from_dlpack(x: Any) -> Array:
    """Return an array over the memory of another library's, on the device where it lives.

    Args:
        x: a tensor of PyTorch, an array of JAX, CuPy, NumPy or whatever else speaks DLPack, on the CPU or a GPU.

    Returns:
        A NumPy array, or a CuPy array on the same GPU, of the same shape, strides and dtype. No copy is made: what is
        written to one is seen in the other. A JAX array on the CPU gives an array that refuses to be written to.

    Raises:
        DeviceError: `x` lives neither on the CPU nor on a CUDA GPU that can be used here.
        DTypeError: `x` does not speak DLPack, or its library will not hand it over: bfloat16, a tensor that requires
            gradients.
    """
    if not hasattr(x, "__dlpack__"):
        raise DTypeError(f"from_dlpack takes an array that has __dlpack__, got {type(x).__name__}.")
    kind, index = map(int, x.__dlpack_device__())
    if kind not in (CPU, CUDA, CUDA_HOST, CUDA_MANAGED):
        raise DeviceError(f"from_dlpack: the {type(x).__name__} lives on a device of kind {kind}; move it to the CPU.")
    device = get_device(f"cuda:{index}" if kind in (CUDA, CUDA_MANAGED) else "cpu")
    try:
        with device.activate():
            return device.xp.from_dlpack(x)
    except (BufferError, RuntimeError) as error:
        raise DTypeError(f"from_dlpack: this {type(x).__name__} is not handed over: {error}") from error


def to_dlpack(a: Array) -> Array:
    """Return `a` itself where another library can take over its memory, else a copy.

    `torch.from_dlpack(gn.interop.to_dlpack(a))` is safe for every array. PyTorch ends the process at a negative stride,
    and makes read-only memory writable; JAX refuses both. Parameters and what gpunet returns can be handed over as they
    are, without a copy.

    Raises:
        DTypeError: `a` is no array.
    """
    xp = array_module(a)
    negative = any(stride < 0 for stride in a.strides)
    frozen = xp is np and not a.flags.writeable
    return a.copy() if negative or frozen else a

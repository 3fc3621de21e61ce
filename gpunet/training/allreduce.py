"""All-reduce a flat gradient over ranks: by MPI, or on GPUs by NCCL (not run on two GPUs yet)."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from gpunet.device import Array, Device, device_of
from gpunet.errors import MissingPackageError
from gpunet.recording import Call


def mpi_reducer(comm: Any, gradient: Array) -> Call:
    """Return a function that sums a gradient in place over the ranks by MPI, through host memory."""
    from mpi4py.MPI import IN_PLACE

    device = device_of(gradient)
    if device.xp is np:
        return partial(comm.Allreduce, IN_PLACE, gradient)

    def staged() -> None:
        host = device.to_host(gradient)
        comm.Allreduce(IN_PLACE, host)
        device.assign(gradient, host)

    return staged


def nccl_communicator(device: Device, size: int, rank: int) -> Any:
    """Return the NCCL communicator of this rank's GPU; raise `MissingPackageError` without NCCL."""
    from cupy.cuda import nccl

    if not nccl.available:
        raise MissingPackageError("distributed: CuPy cannot find NCCL: pip install nvidia-nccl-cu12 (or -cu13).")
    from cupyx.distributed import NCCLBackend

    with device.activate():
        return NCCLBackend(size, rank, use_mpi=True)

"""Start MPI where `mpiexec -n` started this process as one of several ranks."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any, Literal

from gpunet.errors import ArgumentError, MissingPackageError, RankError
from gpunet.training.watch import time_limit

START_SECONDS = 30
"""The time limit for the start of MPI, which waits until all ranks start it."""

NOT_STARTED = (
    f"gpunet: the ranks of mpiexec did not all start within {START_SECONDS} s; each of them must run the same training."
)

SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
"""Environment variables with the number of ranks: of MPICH's mpiexec and similar ones, and of Open MPI's."""


def launched() -> Literal["mpi"] | None:
    """Return "mpi" if mpiexec started this process as one of several ranks, else None; imports nothing.

    Raises:
        ArgumentError: the environment does not have a number of ranks.
    """
    return "mpi" if _launched_size() > 1 else None


def _launched_size() -> int:
    given = {name: os.environ.get(name) or "1" for name in SIZES}
    for name, size in given.items():
        if not size.isdecimal():
            raise ArgumentError(
                f"the environment variable {name} must be the number of ranks that mpiexec started, got {size!r}; "
                "unset it to train in one process."
            )
    return max(map(int, given.values()))


def start_mpi() -> Any:
    """Return mpi4py's communicator of all ranks.

    Raises:
        MissingPackageError: no mpi4py, or no MPI library.
        ArgumentError: as for `launched`.
        RankError: mpiexec belongs to another MPI library.
    """
    try:
        with time_limit(START_SECONDS, NOT_STARTED) if launched() else nullcontext():
            from mpi4py import MPI
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py cannot find an MPI library
        raise MissingPackageError(
            f"distributed='mpi' needs mpi4py and an MPI library ({error}): pip install 'gpunet[mpi]'"
        ) from None
    started, size = _launched_size(), MPI.COMM_WORLD.size
    if started not in (1, size):
        raise RankError(
            f"mpiexec started {started} ranks, but mpi4py sees {size}: they use two different MPI libraries. "
            "Use the mpiexec of the library that mpi4py uses; 'gpunet[mpi]' installs MPICH's."
        )
    return MPI.COMM_WORLD

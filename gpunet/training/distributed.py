"""Data-parallel training over MPI: n ranks, the processes that `mpiexec -n` starts, train one model together.

Every rank has the whole model and all data. Of each batch, which is the global one, it takes its contiguous rows, and
before the update the flat gradient buffer is summed over the ranks: on the CPU and the simulated GPU by MPI, on GPUs by
NCCL, which is **not yet run on two GPUs**. A rank's loss and gradient count as much as its rows add to the mean over
the whole batch, and dropout masks go by a row's number in it. So n ranks give the numbers of one process, up to the
rounding of sums that are taken in another order.

Rank 0 alone validates, logs and writes files.
"""

from __future__ import annotations

import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, NoReturn, TypeVar

import numpy as np

from gpunet.device import Array, device_of, get_device, to_host
from gpunet.errors import ArgumentError, MissingPackageError, RankError
from gpunet.layers.batch_norm import BatchNorm
from gpunet.recording import Call
from gpunet.training.allreduce import mpi_reducer, nccl_communicator
from gpunet.training.protocol import Training
from gpunet.training.rank_checks import described
from gpunet.versions import parts

T = TypeVar("T")

SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE")
"""Where MPICH's mpiexec and its kin, and Open MPI's, say how many ranks they started."""


def launched() -> Literal["mpi"] | None:
    """Return "mpi" where an mpiexec started this process as one of several, else None; nothing is imported."""
    return "mpi" if _launched_size() > 1 else None


def _launched_size() -> int:
    return max(int(os.environ.get(name) or 1) for name in SIZES)


class Ranks:
    """The processes that train together, of which this is one; without a communicator it is alone.

    Args:
        comm: mpi4py's communicator.

    Attributes:
        rank: the number of this one, from 0 on.
        size: how many there are.
        main: whether this is rank 0, which validates, logs and writes.
    """

    def __init__(self, comm: Any = None):
        self.comm = comm
        self.rank: int = 0 if comm is None else comm.rank
        self.size: int = 1 if comm is None else comm.size
        self.main = self.rank == 0
        self._nccl: Any = None

    @classmethod
    def join(cls, distributed: Literal["mpi"] | None) -> Ranks:
        """Return the ranks of a training; the documentation is at `Trainer`."""
        if distributed is None:
            return cls()
        if distributed != "mpi":
            raise ArgumentError(f"Trainer: distributed must be None or 'mpi', got {distributed!r}.")
        try:
            from mpi4py import MPI
        except (ImportError, RuntimeError) as error:  # the second where mpi4py finds no MPI library
            raise MissingPackageError(
                f"distributed='mpi' needs mpi4py and an MPI library ({error}): pip install 'gpunet[mpi]'"
            ) from None
        ranks = cls(MPI.COMM_WORLD)
        started = _launched_size()
        if started not in (1, ranks.size):
            raise RankError(
                f"mpiexec started {started} ranks, but mpi4py sees {ranks.size}: they are of two MPI libraries. Start "
                "them with the mpiexec of the library that mpi4py uses; 'gpunet[mpi]' brings MPICH's."
            )
        if ranks.size > 1:
            sys.excepthook = lambda kind, error, trace: ranks.end(error)
        return ranks

    def end(self, error: BaseException) -> NoReturn:
        """End all ranks, as this one cannot go on and the others would wait for it for ever."""
        assert sys.__stderr__ is not None
        told = "".join(traceback.format_exception(error))
        print(f"{told}gpunet: rank {self.rank} of {self.size} failed, see above; all are ended.", file=sys.__stderr__)
        sys.__stderr__.flush()
        time.sleep(0.2)  # an mpiexec that ends the ranks at once loses what it has not read yet
        self.comm.Abort(1)
        os._exit(1)  # the abort comes back, and takes effect in a while

    @contextmanager
    def guard(self) -> Iterator[None]:
        """End all ranks where this one fails."""
        try:
            yield
        except BaseException as error:
            if self.size > 1:
                self.end(error)
            raise

    @contextmanager
    def together(self) -> Iterator[None]:
        """Raise on every rank where one raises in the block; for what comes before a training."""
        failed = None
        try:
            yield
        except Exception as error:
            failed = error
        told = self._gather(None if failed is None else f"{type(failed).__name__}: {failed}")
        if failed is not None:
            raise failed
        for rank, why in enumerate(told):
            if why is not None:
                raise RankError(f"rank {rank} of {self.size} cannot go on: {why}")

    def on_main(self, work: Callable[[], T]) -> T:
        """Let rank 0 do `work`, and return on every rank what it gave."""
        result: Any = None
        with self.together():
            if self.main:
                result = work()
        return result if self.size == 1 else self.comm.bcast(result)  # type: ignore[no-any-return]

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Return the numbers, each summed over the ranks."""
        return [sum(of_ranks) for of_ranks in zip(*self._gather(numbers), strict=True)]

    def first(self, word: str | None) -> str | None:
        """Return the word of the first rank that has one."""
        return next(filter(None, self._gather(word)), None)

    def all_true(self, value: bool) -> bool:
        """Return whether the value is true on every rank."""
        return all(self._gather(value))

    def _gather(self, thing: T) -> list[T]:
        return [thing] if self.size == 1 else self.comm.allgather(thing)

    def begin(self, trainer: Training, arrays: Sequence[np.ndarray] = (), **asked: Any) -> None:
        """Give all ranks the weights and the state of rank 0, after looking whether they are alike.

        Args:
            trainer: what they train, attached.
            arrays: the data.
            **asked: what `fit` was asked for.

        Raises:
            RankError: a rank differs from rank 0 in something that must be the same.
            ArgumentError: a layer takes statistics over rows; the trainer sums the gradients of several batches.
        """
        if self.size == 1:
            return
        self.refuse_differences(described(trainer, arrays, asked))
        if trainer.accumulate > 1:
            raise ArgumentError(
                f"Trainer: accumulate={trainer.accumulate} is for one process, and {self.size} ranks share each batch; "
                "give a larger batch_size, or train with more ranks."
            )
        for part in parts(trainer.model):
            if isinstance(part, BatchNorm) and part.uses_batch:
                raise ArgumentError(f"{part!r} would normalise over a rank's rows alone; use LayerNorm or one process.")
        store = trainer.model.store
        for a in store.state:
            store.device.assign(a, self.comm.bcast(to_host(a)))

    def refuse_differences(self, described: Mapping[str, Any]) -> None:
        """Raise a `RankError` on every rank where one has other values than rank 0, with their names."""
        told = self._gather(described)
        absent = [rank for rank, of_rank in enumerate(told) if of_rank is None]
        if absent:
            raise RankError(f"rank {absent[0]} did not come to the training; it says why.")
        first, *others = told
        for rank, other in enumerate(others, 1):
            differing = [f"{name} is {other.get(name)}, not {a}" for name, a in first.items() if other.get(name) != a]
            if differing:
                raise RankError(f"rank {rank} differs from rank 0: {'; '.join(differing)}.")

    def stay_away(self) -> None:
        """Let the others, which wait in `refuse_differences`, know that this rank has failed before it came there."""
        self._gather(None)

    def rows(self, count: int) -> slice:
        """Return which rows of a batch of `count` are this rank's.

        Raises:
            ArgumentError: there are more ranks than rows.
        """
        if count < 1:
            raise ArgumentError("a batch without rows; give at least one.")
        if count < self.size:
            raise ArgumentError(
                f"a batch of {count} for {self.size} ranks, of which each takes a row at least. Choose fewer ranks, or "
                "a batch_size that leaves enough rows for the last batch of an epoch."
            )
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def order(self, order: np.ndarray, position: int, end: int, batch_size: int) -> tuple[np.ndarray, int]:
        """Return this rank's own order of an epoch and where in it the rank begins.

        Args:
            order: (rows,), that of all ranks together.
            position: where they begin.
            end: where they end.
            batch_size: rows of a batch of all ranks together.

        Returns:
            (rows,): first its rows batch by batch, then what is not its own; and 0.
        """
        if self.size == 1:
            return order, position
        batches = [order[start : start + batch_size] for start in range(position, end, batch_size)]
        own = np.concatenate([order[:0], *(batch[self.rows(len(batch))] for batch in batches)])
        return np.concatenate([own, np.setdiff1d(order, own)]), 0

    def reducer(self, gradient: Array) -> Call:
        """Return what sums a flat gradient, the same array at every call, over the ranks in place.

        Raises:
            MissingPackageError: the gradient lies on a GPU, and CuPy has no NCCL.
        """
        device = device_of(gradient)
        if not device.name.startswith("cuda"):
            return mpi_reducer(self.comm, gradient)
        if self._nccl is None:
            self._nccl = nccl_communicator(device, self.size, self.rank)
        return partial(self._nccl.all_reduce, gradient, gradient)

    def local_device(self, spec: str) -> str:
        """Return this rank's device where all were told the same: "auto" and "cuda" are a GPU for each on a machine."""
        machines = self._gather(platform.node())
        if self.size == 1 or spec not in ("auto", "cuda") or not get_device(spec).name.startswith("cuda"):
            return spec
        return f"cuda:{machines[: self.rank].count(machines[self.rank])}"

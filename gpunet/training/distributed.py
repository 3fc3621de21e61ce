"""Data-parallel training over MPI: the ranks, processes that `mpiexec -n` starts, train one model together.

Every rank has the whole model and all data, and trains on a contiguous part of the rows of each (global) batch. Before
the update the flat gradient is summed over the ranks: by MPI on the CPU and the simulated GPU, by NCCL on GPUs, which
has **not run on two GPUs yet**. A rank's loss and gradient are weighted by its share of the batch's mean, and dropout
masks depend on a row's index in the global batch. So n ranks give the results of one process, up to the rounding of
sums in another order.

Only rank 0 validates, logs and writes files.
"""

from __future__ import annotations

import atexit
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import Enum
from functools import cache, partial
from typing import Any, Literal, NoReturn, TypeVar

import numpy as np

from gpunet.device import Array, device_of, get_device, to_host
from gpunet.errors import ArgumentError, RankError
from gpunet.layers.batch_norm import BatchNorm
from gpunet.recording import Call
from gpunet.training.allreduce import mpi_reducer, nccl_communicator
from gpunet.training.launch import start_mpi
from gpunet.training.protocol import Training
from gpunet.training.rank_checks import rank_description
from gpunet.training.watch import abort_job_on_death
from gpunet.versions import parts

T = TypeVar("T")


class Message(Enum):
    """What ranks exchange in place of a value."""

    ENDED = "its program has ended"


class Ranks:
    """The processes that train together; without an mpi4py communicator, this process only.

    Attributes:
        rank: the number of this process, from 0 to size - 1.
    """

    def __init__(self, comm: Any = None):
        self.comm = comm
        self.rank: int = 0 if comm is None else comm.rank
        self.size: int = 1 if comm is None else comm.size
        self.main = self.rank == 0
        self._nccl: Any = None
        self._ended: int | None = None

    @classmethod
    def join(cls, distributed: Literal["mpi"] | None) -> Ranks:
        """Return the ranks of a training; see the argument `distributed` of `Trainer`."""
        if distributed is None:
            return cls()
        if distributed != "mpi":
            raise ArgumentError(f"Trainer: distributed must be None or 'mpi', got {distributed!r}.")
        return cls._of_job()

    @classmethod
    @cache
    def _of_job(cls) -> Ranks:
        """Start MPI, and return the ranks that mpiexec started."""
        ranks = cls(start_mpi())
        if ranks.size > 1:
            sys.excepthook = lambda kind, error, trace: ranks.end(error)
            abort_job_on_death(
                f"gpunet: rank {ranks.rank} of {ranks.size} ended before the training did; all ranks are terminated."
            )
            atexit.register(ranks._leave)
        return ranks

    def _leave(self) -> None:
        """Tell the other ranks that this one exits; wait until they exchange a value or exit, too."""
        if self._ended is None:
            self.comm.allgather(Message.ENDED)

    def end(self, error: BaseException) -> NoReturn:
        """Terminate all ranks after an error of this one, because the others would wait for it forever."""
        assert sys.__stderr__ is not None
        text = "".join(traceback.format_exception(error))
        print(
            f"{text}gpunet: rank {self.rank} of {self.size} failed, see above; all ranks are terminated.",
            file=sys.__stderr__,
        )
        sys.__stderr__.flush()
        time.sleep(0.2)  # mpiexec may drop output that it has not read when it terminates the ranks
        self.comm.Abort(1)
        os._exit(1)  # Abort may return before it takes effect

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Terminate all ranks if this one raises in the block."""
        try:
            yield
        except BaseException as error:
            if self.size > 1:
                self.end(error)
            raise

    @contextmanager
    def together(self) -> Iterator[None]:
        """Raise on all ranks if one raises in the block; used before the first step."""
        failed = None
        try:
            yield
        except Exception as error:
            failed = error
        messages = self._gather(None if failed is None else f"{type(failed).__name__}: {failed}")
        if failed is not None:
            raise failed
        for rank, message in enumerate(messages):
            if message is not None:
                raise RankError(f"rank {rank} of {self.size} failed: {message}")

    def on_main(self, work: Callable[[], T]) -> T:
        """Call `work` on rank 0, and return its result on all ranks."""
        result: Any = None
        with self.together():
            if self.main:
                result = work()
        return result if self.size == 1 else self.comm.bcast(result)

    def total(self, numbers: Sequence[float]) -> list[float]:
        """Sum each number over the ranks."""
        return [sum(of_ranks) for of_ranks in zip(*self._gather(numbers), strict=True)]

    def first(self, word: str | None) -> str | None:
        """Return the first word of the ranks, in their order, that is neither None nor empty; None if there is none."""
        return next(filter(None, self._gather(word)), None)

    def all_true(self, value: bool) -> bool:
        """Return whether the value is true on all ranks."""
        return all(self._gather(value))

    def _gather(self, value: T) -> list[T]:
        """Return the values of all ranks; raise `RankError` if a rank has ended."""
        if self.size == 1:
            return [value]
        if self._ended is None:
            of_ranks = self.comm.allgather(value)
            if Message.ENDED not in of_ranks:
                return of_ranks
            self._ended = of_ranks.index(Message.ENDED)
        raise RankError(f"rank {self._ended} ended before the training of the others; see its output.")

    def begin(self, trainer: Training, arrays: Sequence[np.ndarray] = (), **options: Any) -> None:
        """Check that all ranks agree, and copy the weights and the state of rank 0 to them.

        `options` are the arguments of `fit`.

        Raises:
            RankError: a rank differs from rank 0.
            ArgumentError: a layer normalises over rows, or `accumulate` is above 1.
        """
        if self.size == 1:
            return
        self.refuse_differences(rank_description(trainer, arrays, options))
        if trainer.accumulate > 1:
            raise ArgumentError(
                f"Trainer: accumulate={trainer.accumulate} works in one process only, but {self.size} ranks share each "
                "batch; use a larger batch_size, or more ranks."
            )
        for part in parts(trainer.model):
            if isinstance(part, BatchNorm) and part.uses_batch:
                raise ArgumentError(f"{part!r} would normalise over a rank's rows only; use LayerNorm or one process.")
        store = trainer.model.store
        for a in store.state:
            store.device.assign(a, self.comm.bcast(to_host(a)))

    def refuse_differences(self, described: Mapping[str, Any]) -> None:
        """Raise `RankError` on all ranks if a rank's values differ from those of rank 0; the message names them."""
        first, *others = self._gather(described)
        for rank, other in enumerate(others, 1):
            differing = [f"{name} is {other.get(name)}, not {a}" for name, a in first.items() if other.get(name) != a]
            if differing:
                raise RankError(f"rank {rank} differs from rank 0: {'; '.join(differing)}.")

    def rows(self, count: int) -> slice:
        """Return this rank's rows of a batch; raise `ArgumentError` if there are more ranks than rows."""
        if count < 1:
            raise ArgumentError("the batch has no rows; give at least one.")
        if count < self.size:
            raise ArgumentError(
                f"a batch of {count} for {self.size} ranks, but each rank needs at least one row. Use fewer ranks, or "
                "a batch_size that leaves enough rows for the last batch of an epoch."
            )
        return slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def order(self, order: np.ndarray, position: int, end: int, batch_size: int) -> tuple[np.ndarray, int]:
        """Return this rank's order (rows,) of an epoch, and its start position in it, 0 with several ranks.

        The order has this rank's rows batch by batch, then all other rows.

        Args:
            order: the order of all ranks together, (rows,), used from `position` to `end`.
            batch_size: rows per global batch.
        """
        if self.size == 1:
            return order, position
        batches = [order[start : start + batch_size] for start in range(position, end, batch_size)]
        own = np.concatenate([order[:0], *(batch[self.rows(len(batch))] for batch in batches)])
        return np.concatenate([own, np.setdiff1d(order, own)]), 0

    def reducer(self, gradient: Array) -> Call:
        """Return a function that sums this flat gradient in place over the ranks."""
        device = device_of(gradient)
        if not device.name.startswith("cuda"):
            return mpi_reducer(self.comm, gradient)
        if self._nccl is None:
            self._nccl = nccl_communicator(device, self.size, self.rank)
        return partial(self._nccl.all_reduce, gradient, gradient)

    def local_device(self, spec: str) -> str:
        """Return this rank's device: "auto" and "cuda" select a different GPU for each rank on a machine."""
        machines = self._gather(platform.node())
        if self.size == 1 or spec not in ("auto", "cuda") or not get_device(spec).name.startswith("cuda"):
            return spec
        return f"cuda:{machines[: self.rank].count(machines[self.rank])}"

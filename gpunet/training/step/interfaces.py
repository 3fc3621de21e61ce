"""What a step is made of: the source of its batches, and the executor that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

from gpunet.device import Array
from gpunet.tape import Tape
from gpunet.training.explain import Explanation

ExecutorName = Literal["auto", "eager", "numpy", "native", "graph"]

EXECUTORS: tuple[ExecutorName, ...] = ("auto", "eager", "numpy", "native", "graph")


class Source(Protocol):
    """Where the batches of a step come from, and where its metrics go.

    Attributes:
        advances: arrays that a step changes and that are not the model's, such as the place in the epoch.
        recordable: whether a step that loads from here can be recorded.
    """

    advances: Sequence[Array]
    recordable: bool

    def load(self, tape: Tape) -> Sequence[Array]:
        """Return the batch: features, targets and, if there are any, row weights."""

    def add(self, value: Array, prediction: Array, target: Array, tape: Tape) -> None:
        """Add a step's loss, outputs and targets to the sums of the metrics, on the device."""


class Executor(Protocol):
    """Runs a step. Within one executor the same steps give the same bits, whatever their number in a call."""

    name: str

    def record(self) -> None:
        """Prepare the step; called once, before its first run, and without an effect on the training."""

    def run(self, steps: int) -> None:
        """Run the step `steps` times, on consecutive batches."""

    def describe(self) -> Explanation | None:
        """Return what the recorded step consists of."""

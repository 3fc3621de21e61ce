"""What a step is made of: the source of its batches, and the executor that runs it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, Protocol

import numpy as np

from gpunet.device import Array
from gpunet.tape import Tape
from gpunet.training.batches import Rows
from gpunet.training.explain import Explanation

ExecutorName = Literal["auto", "eager", "numpy", "native", "graph", "persistent"]

EXECUTORS: tuple[ExecutorName, ...] = ("auto", "eager", "numpy", "native", "graph", "persistent")


class Source(Protocol):
    """Where the batches of a step come from, and where its metrics go.

    Attributes:
        parts: the rows of the batch that go through the model at a time.
        kinds: shape of a row and dtype of the features, the targets and, if there are any, the row weights.
        advances: arrays that a step changes and that are not the model's, such as the place in the epoch.
        recordable: whether a step that loads from here can be recorded.
    """

    parts: Sequence[slice]
    kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]
    advances: Sequence[Array]
    recordable: bool

    def load(self, part: slice, tape: Tape) -> Sequence[Array]:
        """Return a part of the batch: features, targets and, if there are any, row weights.

        The parts of a batch are asked for in their order.
        """

    def rows(self) -> Rows:
        """Return where the rows of the batches are."""

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

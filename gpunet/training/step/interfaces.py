"""The interfaces of the parts of a step: the source of its batches, and its executor."""

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
    """The source of a step's batches, which also receives its metrics.

    Attributes:
        parts: the rows of each forward pass.
        kinds: shape of a row and dtype of the features, the targets and, if there are any, the row weights.
        advances: arrays outside the model that a step changes, such as the position in the epoch.
        recordable: whether a step with this source can be recorded.
    """

    parts: Sequence[slice]
    kinds: Sequence[tuple[tuple[int, ...], np.dtype[Any]]]
    advances: Sequence[Array]
    recordable: bool

    def load(self, part: slice, tape: Tape) -> Sequence[Array]:
        """Return a part of the batch: features, targets and, if there are any, row weights.

        The parts of a batch are requested in order.
        """

    def rows(self) -> Rows:
        """Return the arrays for a kernel that gathers rows itself."""

    def add(self, value: Array, prediction: Array, target: Array, tape: Tape) -> None:
        """Add a step's loss, outputs and targets to the sums of the metrics, on the device."""


class Executor(Protocol):
    """Run a step. An executor gives the same bits however many steps run in a call."""

    name: str

    def record(self) -> None:
        """Prepare the step; called once before its first run, and does not change the training."""

    def run(self, steps: int) -> None:
        """Run the step `steps` times, on consecutive batches."""

    def describe(self) -> Explanation | None:
        """Return a description of the recorded step."""

"""A worker: one framework in a process of its own, which does a round whenever it is asked to."""

from __future__ import annotations

import importlib
import math
import multiprocessing
import os
import signal
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np

from benchmarks.frameworks.problem import BATCHES, LR, Problem
from benchmarks.frameworks.steps import Framework
from benchmarks.numpy_step import NumpyStep

CHECKED = 5  # steps that are compared with the reference
LOSS_TOLERANCE = 1e-4  # of each loss, relative
WEIGHT_TOLERANCE = 0.05  # of each array: its distance from the reference's, relative to the way that has gone; so much
# since a rounding error that flips a ReLU turns Adam's first steps of all weights whose gradient is near zero
GRACE_SECONDS = 5.0  # for a worker to end by itself


class Rounds(NamedTuple):
    """What a round is.

    Attributes:
        least: the seconds that it takes at least.
        warm_ups: rounds of the same length that come before the first.
    """

    least: float
    warm_ups: int


class Failed(Exception):
    """A worker gave no answer, or one that ends its row."""


class Worker:
    """The parent's end: the process, and what it answers within so many seconds of patience.

    The arguments between are those of `serve`.
    """

    def __init__(
        self,
        module: str,
        mode: str,
        problem: Problem,
        device: str,
        core: int | None,
        patience: float,
        rounds: Rounds,
    ):
        context = multiprocessing.get_context("spawn")
        self.patience = patience
        self.connection, theirs = context.Pipe()
        self.process = context.Process(
            target=serve, args=(theirs, module, mode, problem, device, core, rounds), daemon=True
        )
        self.process.start()
        theirs.close()  # so that the end of the process ends the connection

    def answer(self) -> dict[str, Any]:
        """Return what the worker says next.

        Raises:
            Failed: it says that it cannot, it died, or it said nothing for too long.
        """
        try:
            if not self.connection.poll(self.patience):
                self.process.kill()
                raise Failed(f"hangs: no answer for {self.patience:g} s")
            answer: dict[str, Any] = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            raise Failed(f"crashed: exit code {self.process.exitcode}") from None
        if "failed" in answer:
            raise Failed(f"failed: {answer['failed']}")
        return answer

    def round(self) -> tuple[float, float]:
        """Return the seconds a step of one more round, and how many cores it kept busy."""
        with suppress(OSError):  # it died since its last answer: so says the next one
            self.connection.send(True)
        answer = self.answer()
        return float(answer["seconds"]), float(answer["cores"])

    def stop(self) -> None:
        self.connection.close()  # a worker that waits for its next round ends by itself
        self.process.join(GRACE_SECONDS)
        self.process.kill()
        self.process.join()


def serve(
    connection: Connection, module: str, mode: str, problem: Problem, device: str, core: int | None, rounds: Rounds
) -> None:
    """Check the framework, settle on a round, and time one for every message; the answers are dictionaries.

    Args:
        connection: to the parent, which sends something for every round and closes it, or ends the process.
        module: where the framework's `Steps` are.
        mode: for `Steps`.
        problem: for `Steps`.
        device: for `Steps`.
        core: the CPU core to stay on, or None.
        rounds: what a round is.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's
    try:
        if core is not None and device == "cpu":
            os.sched_setaffinity(0, {core})  # before the framework comes in and counts the cores
        steps: Framework = importlib.import_module(module).Steps(problem, mode, device)
        errors = compare(steps, problem)
        if core is not None:
            os.sched_setaffinity(0, {core})  # on a GPU only now: compiling, which one core takes minutes for, is done
        connection.send(errors)
        if device == "sim" or not agrees(errors):
            return
        order = round_of(steps, rounds)
        connection.send({"steps_a_round": len(order)})
        while connection.recv():
            wall, cpu = time.perf_counter(), time.process_time()
            seconds = steps.seconds(order) / len(order)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            connection.send({"seconds": seconds, "cores": cpu / wall})
    except EOFError:
        pass  # the parent has closed the connection
    except Exception as error:
        connection.send({"failed": f"{type(error).__name__}: {error}".splitlines()[0]})


def compare(steps: Framework, problem: Problem) -> dict[str, float]:
    """Return the errors of the first steps against `NumpyStep`: the largest of a loss and of an array."""
    start = problem.parameters()
    reference = NumpyStep(start, problem.batch, LR)
    loss_errors = []
    for i, batch in enumerate(problem.batches()[:CHECKED]):
        expected = float(reference(*batch))
        loss_errors.append(abs(steps.read(steps.run([i])) - expected) / expected)
    steps.wait()
    weight_errors = [
        np.linalg.norm(own - right) / np.linalg.norm(right - before)
        for own, right, before in zip(steps.parameters(), reference.parameters, start, strict=True)
    ]
    return {"loss_error": float(np.max(loss_errors)), "weight_error": float(np.max(weight_errors))}


def agrees(errors: dict[str, float]) -> bool:
    """Say whether the errors that `compare` returned are within the tolerances; NaN is not."""
    return errors["loss_error"] <= LOSS_TOLERANCE and errors["weight_error"] <= WEIGHT_TOLERANCE


def round_of(steps: Framework, rounds: Rounds) -> list[int]:
    """Return the batches of a round that is long enough, after its warm-up."""
    count = steps.epoch
    while True:
        order = [i % BATCHES for i in range(count)]
        steps.seconds(order)  # warms up, also what is compiled for this many steps
        took = min(steps.seconds(order) for _ in range(rounds.warm_ups))
        if took >= rounds.least:
            return order
        more = min(1.5 * rounds.least / took, 10)
        count = steps.epoch * math.ceil(count / steps.epoch * more)

"""Run one framework in a separate process, which times a round on every request."""

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
LOSS_TOLERANCE = 3e-4  # relative error of each loss; 1.03e-4 for JAX with layers of 1024, on a CPU with AVX2
WEIGHT_TOLERANCE = 0.05  # of each array: distance from the reference, relative to the total update of the reference.
# This is large because a rounding error that flips one ReLU changes Adam's first updates wherever a gradient is near 0.
GRACE_SECONDS = 5.0  # for a worker to exit by itself


class Rounds(NamedTuple):
    """The rounds of a worker.

    Attributes:
        min_seconds: the minimum time of a round.
        warmups: the number of untimed rounds of the same length before the first.
    """

    min_seconds: float
    warmups: int


class Failed(Exception):
    """A worker did not answer, or reported an error."""


class Worker:
    """The parent's side of a worker: the process and its connection.

    `patience` is the time limit of an answer in seconds; the other arguments are those of `serve`.
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
        theirs.close()  # otherwise the connection would stay open after the process has ended

    def answer(self) -> dict[str, Any]:
        """Return the worker's next answer; raise `Failed` if it reports an error, has died, or does not answer."""
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
        """Run one more round; return its seconds per step, and the number of cores it kept busy."""
        with suppress(OSError):  # the worker has died; `answer` reports it
            self.connection.send(True)
        answer = self.answer()
        return float(answer["seconds"]), float(answer["cores"])

    def stop(self) -> None:
        self.connection.close()  # a worker that waits for a request then exits
        self.process.join(GRACE_SECONDS)
        self.process.kill()
        self.process.join()


def serve(
    connection: Connection, module: str, mode: str, problem: Problem, device: str, core: int | None, rounds: Rounds
) -> None:
    """Check the framework, choose the length of a round, and time a round for every message; answer with dictionaries.

    Args:
        connection: the connection to the parent, which sends one message per round and closes it at the end.
        module: the module with the framework's `Steps`.
        mode: argument of `Steps`.
        problem: argument of `Steps`.
        device: argument of `Steps`.
        core: the CPU core to pin the process to, or None.
        rounds: the length and warm-up of rounds.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the parent handles Ctrl-C
    try:
        if core is not None and device == "cpu":
            os.sched_setaffinity(0, {core})  # before the framework is imported and counts the cores
        steps: Framework = importlib.import_module(module).Steps(problem, mode, device)
        errors = compare(steps, problem)
        if core is not None:
            os.sched_setaffinity(0, {core})  # on a GPU after compiling, which takes minutes on one core
        connection.send(errors)
        if device == "sim" or not agrees(errors):
            return
        order = choose_round(steps, rounds)
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
    """Compare the first steps with `NumpyStep` in float64; return the largest error of a loss and of an array of
    weights.
    """
    start = problem.parameters()
    reference = NumpyStep(start, problem.batch, LR, np.float64)
    loss_errors = []
    for i, (X, y) in enumerate(problem.batches()[:CHECKED]):
        expected = float(reference(X.astype(np.float64), y))
        loss_errors.append(abs(steps.read(steps.run([i])) - expected) / expected)
    steps.wait()
    weight_errors = [
        np.linalg.norm(ours - theirs) / np.linalg.norm(theirs - before)
        for ours, theirs, before in zip(steps.parameters(), reference.parameters, start, strict=True)
    ]
    return {"loss_error": float(np.max(loss_errors)), "weight_error": float(np.max(weight_errors))}


def agrees(errors: dict[str, float]) -> bool:
    """Return whether the errors from `compare` are within the tolerances; NaN is not."""
    return errors["loss_error"] <= LOSS_TOLERANCE and errors["weight_error"] <= WEIGHT_TOLERANCE


def choose_round(steps: Framework, rounds: Rounds) -> list[int]:
    """Return the batches of a round that takes at least `rounds.min_seconds`, after warm-up."""
    count = steps.epoch
    while True:
        order = [i % BATCHES for i in range(count)]
        steps.seconds(order)  # a first warm-up, which also compiles code for this number of steps
        seconds = min(steps.seconds(order) for _ in range(rounds.warmups))
        if seconds >= rounds.min_seconds:
            return order
        factor = min(1.5 * rounds.min_seconds / seconds, 10)
        count = steps.epoch * math.ceil(count / steps.epoch * factor)

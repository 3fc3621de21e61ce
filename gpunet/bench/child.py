"""Run a function that may crash or hang in a child process with a time limit."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess, parent_process
from typing import Any, TypeVar

from gpunet.errors import GpunetError, KernelError

T = TypeVar("T")


class LimitError(KernelError):
    """A call in a child process exceeded its time limit."""


def call_with_limit(seconds: float, function: Callable[..., T], *args: Any) -> T:
    """Return `function(*args)`; arguments and errors as for `iterate_with_limit`."""
    answer: T
    (answer,) = iterate_with_limit(seconds, _once, function, *args)
    return answer


def iterate_with_limit(seconds: float, function: Callable[..., Iterable[T]], *args: Any) -> Iterator[T]:
    """Yield the items of `function(*args)`, run in a child process with a time limit, each as soon as it is available.

    The process is spawned: a script that calls this at its top level needs `if __name__ == "__main__":`, and function,
    arguments and results must be picklable. The child and its own children are killed when the iteration ends or
    raises, also after Ctrl-C.

    Args:
        seconds: time limit for all items; the start of the child and its imports do not count.

    Raises:
        GpunetError: raised by `function`, or the child did not start.
        LimitError: `function` exceeded the time limit.
        KernelError: the child crashed, for example with a segmentation fault.
        RuntimeError: `function` raised any other error; the message is the child's traceback.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_serve, args=(sender, function, args))  # not a daemon, which cannot have children
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(1)  # a child that runs a script's top level again; its parent raises the error
    try:
        with _without_interrupts():
            child.start()
        sender.close()  # only the child's copy is left, so reading ends when the child dies
        _await_start(receiver, child)
        end = time.monotonic() + seconds
        while True:
            if not receiver.poll(max(0.0, end - time.monotonic())):
                raise LimitError(
                    f"did not end within {seconds:g} s: an endless loop, or a barrier or wait that is never released; "
                    "if it is only slow, raise --limit or choose smaller sizes."
                )
            answer = receiver.recv()
            if answer is None:
                return
            value, error = answer
            if error is not None:
                raise error
            yield value
    except EOFError:
        child.join()
        raise KernelError(f"the child process ended with {_cause(child.exitcode)} before the call returned.") from None
    finally:
        _kill(child)
        receiver.close()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Block Ctrl-C in children that start in this block; only the parent handles it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # a child starts it otherwise, which unblocks the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _await_start(receiver: Connection, child: BaseProcess) -> None:
    try:
        receiver.recv()
    except EOFError:
        child.join()
        raise GpunetError(
            f"the child process ended with {_cause(child.exitcode)} before it called the function. check_kernel starts "
            'processes: call it from pytest, or under `if __name__ == "__main__":`.'
        ) from None


def _once(function: Callable[..., T], *args: Any) -> Iterator[T]:
    yield function(*args)


def _serve(sender: Connection, function: Callable[..., Iterable[Any]], args: tuple[Any, ...]) -> None:
    """Send what the function yields or raises; runs in the child."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # a process group for it and its children
    threading.Thread(target=_end_with_parent, daemon=True).start()
    sender.send(None)
    try:
        for value in function(*args):
            sender.send((value, None))
        sender.send(None)
    except GpunetError as error:
        sender.send((None, error))
    except BaseException:
        sender.send((None, RuntimeError(f"in the child process:\n{traceback.format_exc()}")))


def _end_with_parent() -> None:
    """Wait until the parent ends, then kill this process and its children: a parent that was killed cannot do it."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        _kill_group(os.getpid())


def _kill(child: BaseProcess) -> None:
    """Kill the child and all its children that still run."""
    if child.pid is None:  # it has not started
        return
    with suppress(OSError):  # it has ended, or has no group yet
        _kill_group(child.pid)
    child.kill()
    child.join()


def _kill_group(pid: int) -> None:
    if os.name == "nt":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(pid)], capture_output=True, check=False)
    else:
        os.killpg(pid, signal.SIGKILL)


def _cause(exitcode: int | None) -> str:
    if exitcode is not None and exitcode < 0:
        return signal.Signals(-exitcode).name
    return f"exit code {exitcode}"

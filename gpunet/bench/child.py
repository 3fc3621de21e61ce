"""Run a function in a child process with a time limit: a kernel may crash, or never end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess, parent_process
from typing import Any, TypeVar

from gpunet.errors import GpunetError, KernelError

T = TypeVar("T")


class LimitError(KernelError):
    """A call in a child process did not end in time."""


def call_with_limit(seconds: float, function: Callable[..., T], *args: Any) -> T:
    """Return `function(*args)`, called in a child process that has a time limit.

    Arguments and errors as for `iterate_with_limit`.
    """
    answer: T
    (answer,) = iterate_with_limit(seconds, _once, function, *args)
    return answer


def iterate_with_limit(seconds: float, function: Callable[..., Iterable[T]], *args: Any) -> Iterator[T]:
    """Yield what `function(*args)` yields, in a child process that has a time limit, each as soon as it is there.

    The process starts anew ("spawn"), so a program that calls this outside of a function needs the usual
    `if __name__ == "__main__":`. The child and what it started are gone when this ends or raises, by Ctrl-C too.

    Args:
        seconds: how long all of it may take; what the child needs to start and to import is not counted.
        function: of a module, so that it can be pickled, as its arguments and its results must be.
        *args: for `function`.

    Raises:
        GpunetError: what `function` raised.
        LimitError: it did not end in time.
        KernelError: the child died, such as by a segmentation fault.
        RuntimeError: `function` raised anything else; the message is the child's traceback.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_serve, args=(sender, function, args))  # no daemon, which may have no children
    child.start()
    sender.close()  # the child's copy is the only one left: when it dies, reading ends
    try:
        receiver.recv()  # the child has started
        end = time.monotonic() + seconds
        while True:
            if not receiver.poll(max(0.0, end - time.monotonic())):
                raise LimitError(
                    f"did not end within {seconds:g} s: a loop that never ends, or a barrier or a wait that nobody "
                    "releases; if it is only slow, raise --limit or choose smaller sizes."
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
        raise KernelError(f"its process died of {_cause(child.exitcode)} before the call ended.") from None
    finally:
        _kill(child)
        receiver.close()


def _once(function: Callable[..., T], *args: Any) -> Iterator[T]:
    yield function(*args)


def _serve(sender: Connection, function: Callable[..., Iterable[Any]], args: tuple[Any, ...]) -> None:
    """Send what the function yields, or the error that it raises; runs in the child."""
    if hasattr(os, "setpgid"):
        os.setpgid(0, 0)  # a group of its own, with what it will start; Ctrl-C is the parent's affair
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
    """Kill this process when its parent has been killed and cannot do it."""
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        _kill_group(os.getpid())


def _kill(child: BaseProcess) -> None:
    """End the child and all that it started, as far as they still run."""
    assert child.pid is not None
    with suppress(OSError):  # it is gone already, or has no group yet
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

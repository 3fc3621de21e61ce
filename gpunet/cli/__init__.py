"""The command line: each command of `gpunet` in a file of its own."""

from __future__ import annotations

import io
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import click

import gpunet
from gpunet.arguments import printable
from gpunet.errors import CompileError, GpunetError, GpunetWarning, KernelError
from gpunet.startup import INTERRUPTED, exit_now

MODULES = {
    "train": "train",
    "evaluate": "use",
    "predict": "use",
    "plot": "plot",
    "compare": "compare",
    "export": "export",
    "bench": "bench",
    "tune": "tune",
    "check": "check",
    "info": "info",
}
"""The module in `gpunet.cli` of each command, in the order of `gpunet --help`. Only the module of the command that runs
is imported."""


class _NotDone(click.ClickException):
    """A command that could not do its work."""

    exit_code = 2


class _Commands(click.Group):
    """A group whose commands report user errors in one line, with the exit codes of `main`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in MODULES:
            return None
        command: click.Command = getattr(import_module(f"gpunet.cli.{MODULES[cmd_name]}"), cmd_name)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        if isinstance(sys.stdout, io.TextIOWrapper):  # on Windows a pipe has a code page, which lacks most characters
            sys.stdout.reconfigure(errors="backslashreplace")
        try:
            with _interruptible(), warnings.catch_warnings():
                warnings.simplefilter("always", GpunetWarning)
                warnings.showwarning = _show
                return super().invoke(ctx)
        except BrokenPipeError:  # `gpunet predict ... | head`: click ends quietly
            raise
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            raise _NotDone(printable(f"{where}{error.strerror or error}")) from error
        except CompileError as error:  # the compiler's log has several lines
            raise _NotDone(str(error)) from error
        except GpunetError as error:
            kind = click.ClickException if isinstance(error, KernelError) else _NotDone
            raise kind(printable(" ".join(str(error).split()))) from error
        except MemoryError as error:
            raise _NotDone(f"out of memory; choose smaller sizes. {error}".strip()) from error
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            ctx.exit(INTERRUPTED)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt in the block; before and after it, it exits at once."""
    if signal.getsignal(signal.SIGINT) is not exit_now:
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, exit_now)


def _show(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"Warning: {printable(str(message))}", err=True)


NAMES = {name: click.Command(name) for name in MODULES}  # for click's "Did you mean"; `get_command` finds the commands


@click.group(cls=_Commands, commands=NAMES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(gpunet.__version__, prog_name="gpunet")
def main() -> None:
    """Train small neural networks on the CPU or an NVIDIA GPU, and use them.

    Exit codes: 0 done; 1 done, but a kernel is wrong or the training diverged; 2 not done: a wrong option, a file or a
    device that cannot be used, a source that does not compile; 130 interrupted by Ctrl-C.
    """

"""End the command line on Ctrl-C with exit code 130 and no traceback while it imports its modules.

The package imports this module first. It imports only what every interpreter has imported: `_signal` is the part of
`signal` that needs no other module.
"""

import _signal as signal  # type: ignore[import-not-found]
import os
import sys

INTERRUPTED = 130
"""The exit code of a command that Ctrl-C ended: 128 + SIGINT, as of a shell."""


def exit_now(*_: object) -> None:
    """Exit at once: a handler of SIGINT where nothing would catch a KeyboardInterrupt."""
    os.write(2, b"Interrupted.\n")
    os._exit(INTERRUPTED)


def _is_command() -> bool:
    """Return whether this process is `gpunet` or `python -m gpunet`."""
    program = sys.argv[0] if sys.argv else ""  # "-m" while Python imports the package whose __main__ it runs
    script = os.path.basename(program).removesuffix(".exe")
    return script == "gpunet" or (program == "-m" and "gpunet" in sys.orig_argv)


if _is_command() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else Ctrl-C is ignored
    signal.signal(signal.SIGINT, exit_now)

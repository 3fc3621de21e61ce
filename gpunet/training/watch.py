"""Start processes that watch this one: it may wait in C code forever, or die without a word to the other ranks."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

WATCH = """
import os, signal, sys, threading
process, seconds, message = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3]

def terminate():
    print(message, file=sys.stderr, flush=True)
    os.kill(process, signal.SIGTERM)

timer = threading.Timer(seconds, terminate)
timer.daemon = True
timer.start()
sys.stdin.read()  # standard input ends when the block, or the watched process, does
"""


@contextmanager
def time_limit(seconds: float, message: str) -> Iterator[None]:
    """Print a message and terminate this process if the block takes longer; another process watches it."""
    command = [sys.executable, "-S", "-c", WATCH, str(os.getpid()), str(seconds), message]
    with subprocess.Popen(command, stdin=subprocess.PIPE, process_group=0) as watch:  # Ctrl-C does not reach the group
        assert watch.stdin is not None
        try:
            yield
        finally:
            watch.stdin.close()


ABORT = """
import os, select, signal, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
process, connection, message = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
while os.getppid() == process:  # otherwise it died, and a process that it forked keeps standard input open
    if select.select([0], [], [], 1)[0]:
        if os.read(0, 1):
            sys.exit()
        break  # standard input ends without a word when the watched process dies
try:
    status = int(open(f"/proc/{process}/stat").read().split()[-1])
except OSError:  # not on Linux, or mpiexec has already read the status
    status = 0
if not os.WIFSIGNALED(status):  # mpiexec itself reports a signal
    print(message, file=sys.stderr, flush=True)
    time.sleep(0.2)  # mpiexec may drop output that it has not read when it terminates the ranks
    os.write(connection, b"cmd=abort exitcode=%d\\n" % (os.WEXITSTATUS(status) or 1))
"""


def abort_job_on_death(message: str) -> None:
    """Print a message and abort the MPI job if this process dies before its interpreter exits; a process watches it."""
    if "PMI_FD" not in os.environ:
        return
    # When a rank's connection to MPICH's mpiexec closes, mpiexec kills the other ranks and returns that rank's exit
    # code, which is 0 after `os._exit(0)`. The watching process keeps the connection open, and sends the command to
    # abort. Other launchers have no such connection; Open MPI's returns 1 for such a rank.
    connection = os.environ["PMI_FD"]
    command = [sys.executable, "-S", "-c", ABORT, str(os.getpid()), connection, message]
    watch = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[int(connection)])
    atexit.register(watch.communicate, b"exited")

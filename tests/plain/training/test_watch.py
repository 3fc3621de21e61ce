"""The processes that watch a rank, without MPI: a pipe stands for the connection to mpiexec."""

import os
import select
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals, os.fork")

WITH_A_WORKER = """
import os, sys
from gpunet.training.watch import abort_job_on_death
abort_job_on_death("planted")
if os.fork() == 0:  # the worker ends when the test closes standard input
    sys.stdin.read()
    os._exit(0)
"""

IN_THE_BLOCK = """
import time
from gpunet.training.watch import time_limit
with time_limit({limit}, "planted"):
    time.sleep(0.5)  # the watching process starts
    print("begun", flush=True)
    time.sleep({seconds})
"""


def begin(code, **options):
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, stderr=pipe, text=True, **options)


@pytest.fixture
def connection():
    """Return the ends of a pipe: the one that mpiexec reads, and the one that a rank writes."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def begin_rank(end, connection):
    return begin(WITH_A_WORKER + end, env=os.environ | {"PMI_FD": str(connection)}, pass_fds=[connection])


def test_a_rank_exits_while_a_process_that_it_forked_runs(connection):
    with begin_rank("sys.exit(0)", connection[1]) as rank:
        try:
            assert rank.wait(timeout=20) == 0
        finally:
            assert rank.communicate() == ("", "")
    assert not select.select([connection[0]], [], [], 0)[0]


def test_the_job_is_aborted_when_a_rank_dies_while_a_process_that_it_forked_runs(connection):
    with begin_rank("os._exit(3)", connection[1]) as rank:
        try:
            assert select.select([connection[0]], [], [], 20)[0]
        finally:
            assert rank.communicate() == ("", "planted\n")
    assert os.read(connection[0], 100) == b"cmd=abort exitcode=3\n"


def test_a_block_that_takes_too_long_is_terminated_with_the_message():
    with begin(IN_THE_BLOCK.format(limit=1, seconds=60)) as process:
        assert process.communicate(timeout=30)[1] == "planted\n"
    assert process.returncode == -signal.SIGTERM


def test_a_block_within_the_limit_leaves_no_word():
    with begin(IN_THE_BLOCK.format(limit=60, seconds=0)) as process:
        assert process.communicate(timeout=30) == ("begun\n", "")
    assert process.returncode == 0


def test_ctrl_c_does_not_reach_the_process_that_watches_a_block():
    with begin(IN_THE_BLOCK.format(limit=60, seconds=60), start_new_session=True) as process:
        assert process.stdout.readline() == "begun\n"
        os.killpg(process.pid, signal.SIGINT)
        assert process.communicate(timeout=30)[1].count("Traceback") == 1

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from gpunet.bench.child import call_with_limit
from gpunet.errors import KernelError, ShapeError

POSIX = pytest.mark.skipif(os.name == "nt", reason="signals")


def divide(a, b):
    return os.getpid(), a / b


def refuse():
    raise ShapeError("no such shape")


def hang(folder):
    """Start a process, write the pids of both, and never return."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    (folder / "new").write_text(f"{os.getpid()} {other.pid}")
    (folder / "new").replace(folder / "pids")
    while True:
        pass


def crash():
    os.kill(os.getpid(), signal.SIGSEGV)


def blocked():
    return signal.pthread_sigmask(signal.SIG_BLOCK, [])


def hang_in(folder):
    call_with_limit(60, hang, Path(folder))


def wait_until(happened):
    """Return whether a condition becomes true within 30 s."""
    return any(happened() or time.sleep(0.01) for _ in range(3000))


def pids(folder):
    assert wait_until((folder / "pids").exists)
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def gone(pid):
    """Return whether a process has ended; a zombie counts as ended."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def test_a_function_runs_in_another_process_and_returns_its_result():
    pid, quotient = call_with_limit(60, divide, 6, 4)
    assert quotient == 1.5
    assert pid != os.getpid()


def test_an_error_of_gpunet_is_raised_unchanged():
    with pytest.raises(ShapeError, match=r"^no such shape$"):
        call_with_limit(60, refuse)


def test_other_errors_include_the_childs_traceback():
    with pytest.raises(RuntimeError, match=r"(?s)in divide.*ZeroDivisionError"):
        call_with_limit(60, divide, 1, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
def test_an_endless_child_is_killed_with_its_descendants(tmp_path):
    with pytest.raises(KernelError, match=r"did not end within 0.5 s.*--limit"):
        call_with_limit(0.5, hang, tmp_path)
    assert all(wait_until(lambda pid=pid: gone(pid)) for pid in pids(tmp_path))


@POSIX
def test_a_child_that_dies_is_an_error_that_names_the_signal():
    with pytest.raises(KernelError, match="SIGSEGV"):
        call_with_limit(60, crash)


@POSIX
def test_only_the_parent_receives_ctrl_c():
    assert signal.SIGINT in call_with_limit(60, blocked)
    assert signal.SIGINT not in blocked()


@POSIX
def test_ctrl_c_while_the_child_starts_leaves_no_child(monkeypatch):
    start = BaseProcess.start

    def interrupted(process):
        start(process)
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(BaseProcess, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        call_with_limit(60, time.sleep, 60)
    assert multiprocessing.active_children() == []


@pytest.mark.skipif(sys.platform != "linux", reason="/proc")
@pytest.mark.parametrize("by", ["SIGINT", "SIGKILL"])
def test_no_child_outlives_an_interrupted_or_killed_parent(tmp_path, by):
    code = f"from bench_child import hang_in\nhang_in({str(tmp_path)!r})"
    (tmp_path / "bench_child.py").write_text(Path(__file__).read_text(encoding="utf-8"), encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.DEVNULL
    )
    children = pids(tmp_path)
    parent.send_signal(signal.Signals[by])
    parent.wait(timeout=30)
    assert all(wait_until(lambda pid=pid: gone(pid)) for pid in children)

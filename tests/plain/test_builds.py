"""A library is built once, is loaded only if it is complete, and is stored where no other user can write."""

import errno
import hashlib
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import pytest

from gpunet import builds
from gpunet.errors import CompileError, DeviceError, GpunetWarning

pytestmark = pytest.mark.skipif(os.name != "posix", reason="nothing is compiled on Windows")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of libraries in an empty cache, not made yet; `tmp_path / "tmp"` is the folder of temporary files."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(builds, "_private_folders", {})
    monkeypatch.setenv("GPUNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "builds"


class Build:
    """A build that writes other bytes each time, as compilers do, and counts."""

    def __init__(self):
        self.count = 0

    def __call__(self, target):
        self.count += 1
        target.with_name("kernels.o").write_text("an intermediate file")
        target.write_bytes(f"library {self.count}".encode() * 100)


@pytest.fixture
def build():
    return Build()


def get(build, parts=("source", "flags"), stem="adam"):
    return builds.cached(stem, parts, build)


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def elsewhere(folder, build):
    """Return the library that `build` makes without a usable cache; check its folder, its content and the warning."""
    with pytest.warns(GpunetWarning, match=r"every process compiles its own.*GPUNET_CACHE"):
        library = get(build)
    assert library.parent.parent == folder.parents[1] / "tmp"
    assert stat.S_IMODE(library.parent.stat().st_mode) == 0o700
    assert library.read_bytes().startswith(b"library 1")
    assert get(build) == library
    assert build.count == 1
    return library


def test_a_library_is_built_once_and_only_it_and_its_checksum_are_kept(folder, build):
    library = get(build)
    assert get(build) == library
    assert build.count == 1
    digest = hashlib.sha256(library.read_bytes()).hexdigest()
    assert listing(folder) == [library.name, f"{library.name}.{digest}"]
    assert not listing(folder.parents[1] / "tmp")


def test_a_change_of_any_part_triggers_a_new_build(folder, build):
    parts = [("source", "flags"), ("source", "flag", "s"), ("sourceflags",), ("flags", "source")]
    assert len({get(build, each) for each in parts}) == 4


def test_the_file_name_starts_with_a_sanitized_stem(folder, build):
    assert get(build, stem="my kernel/é").name.startswith("my-kernel---")
    assert get(build, stem="x" * 300).exists()


def test_a_part_may_contain_a_path_that_is_not_utf_8(folder, build):
    assert get(build, ["-I" + os.fsdecode(b"/caf\xe9")]) != get(build, ["-I/caf"])


def test_build_gets_the_final_file_name(folder):
    names = []

    def build(target):
        names.append(target.name)
        target.touch()

    assert [get(build).name] == names


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_folder_is_private_to_the_user(folder, build, umask):
    before = os.umask(umask)
    try:
        library = get(build)
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    assert library.parent == folder


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_can_write_to_is_refused(folder, build, mode):
    planted = get(build)
    folder.chmod(mode)
    build.count = 0
    assert elsewhere(folder, build) != planted
    assert len(listing(folder)) == 2


def test_a_folder_that_others_can_read_is_used(folder, build):
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    assert get(build).parent == folder


def test_a_folder_of_another_user_is_refused(folder, build, monkeypatch):
    get(build)
    build.count = 0
    other = os.getuid() + 1
    monkeypatch.setattr(os, "getuid", lambda: other)
    elsewhere(folder, build)


def test_without_a_cache_the_temporary_folder_is_used(folder, build):
    folder.parent.write_text("a file")
    elsewhere(folder, build)


@pytest.mark.parametrize(
    ("module", "name", "code"),
    [
        (tempfile, "mkstemp", errno.EROFS),
        (shutil, "copyfile", errno.ENOSPC),
        (Path, "touch", errno.ENOSPC),
        (os, "replace", errno.ENOSPC),
    ],
)
def test_with_a_full_or_read_only_cache_the_temporary_folder_is_used(folder, build, monkeypatch, module, name, code):
    real = getattr(module, name)

    def fail(*args, **kwargs):
        if str(folder) in " ".join(map(str, (*args, *kwargs.values()))):
            raise OSError(code, os.strerror(code))
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, fail)
    elsewhere(folder, build)
    assert not [left for left in listing(folder) if left.startswith(".") or left.endswith(".so")]


def test_a_read_only_cache_serves_what_it_holds(folder, build, monkeypatch):
    library = get(build)
    monkeypatch.setattr(tempfile, "mkstemp", None)
    monkeypatch.setattr(tempfile, "mkdtemp", None)
    assert get(build) == library


@pytest.mark.parametrize("what", ["truncated", "emptied", "altered", "without its checksum", "removed"])
def test_a_damaged_library_is_built_again(folder, build, what):
    library = get(build)
    data = library.read_bytes()
    (checksum,) = folder.glob("*.so.*")
    if what == "truncated":
        library.write_bytes(data[:-1])
    elif what == "emptied":
        library.write_bytes(b"")
    elif what == "altered":
        library.write_bytes(data.replace(b"library", b"malware", 1))
    elif what == "removed":
        library.unlink()
    else:
        checksum.unlink()
    assert get(build) == library
    assert build.count == 2
    assert library.read_bytes().startswith(b"library 2")
    assert get(build) == library
    assert build.count == 2


def test_a_library_in_the_temporary_folder_is_checked_too(folder, build):
    folder.parent.write_text("a file")
    elsewhere(folder, build).write_bytes(b"")
    with pytest.warns(GpunetWarning):
        assert get(build).read_bytes().startswith(b"library 2")


def test_a_failed_build_raises_its_error_and_leaves_nothing(folder):
    def fail(target):
        target.write_text("half a library")
        raise CompileError("adam.cpp:1: error")

    with pytest.raises(CompileError, match=r"adam.cpp:1"):
        get(fail)
    assert not list(folder.glob("*"))
    with pytest.raises(CompileError, match="wrote no library"):
        get(lambda target: None)
    assert not listing(folder.parents[1] / "tmp")


def test_without_disk_space_the_error_names_the_temporary_folder(folder, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(DeviceError, match=rf"{folder.parents[1] / 'tmp'} \(No space left .*TMPDIR"):
        get(full)
    monkeypatch.setattr(builds, "_private_folders", {})
    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(DeviceError, match="TMPDIR"):
        get(full)


def test_a_deleted_temporary_folder_is_created_again(folder, build):
    folder.parent.write_text("a file")
    shutil.rmtree(elsewhere(folder, build).parent)
    with pytest.warns(GpunetWarning):
        assert get(build).exists()


PROCESS = """
import os, sys, time
from gpunet import builds

def build(target):
    with open(target, "wb") as file:
        for _ in range(20):  # alternating with the other process
            file.write(f"{os.getpid()}\\n".encode() * 1000)
            file.flush()
            time.sleep(0.01)

"""


def start(folder, code):
    environment = {**os.environ, "TMPDIR": tempfile.gettempdir(), "GPUNET_CACHE": str(folder.parent)}
    code = PROCESS + textwrap.dedent(code)
    return subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)


def output(process):
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    return out.splitlines()


def test_two_processes_that_build_the_same_library_at_once_both_get_a_complete_one(folder, build):
    code = """
        print(library := builds.cached("adam", ["source", "flags"], build))
        lines = library.read_text().splitlines()
        print(len(lines), len(set(lines)))
    """
    outputs = [output(process) for process in [start(folder, code) for _ in range(2)]]
    library = get(build)
    assert outputs == [[str(library), "20000 1"]] * 2
    assert library.parent == folder
    assert build.count == 0


def test_leftovers_of_a_killed_build_are_never_used_and_removed_after_a_day(folder, build):
    process = start(
        folder,
        """
        def hang(target):
            target.write_bytes(b"half")
            print(target.parent, flush=True)
            time.sleep(60)
        builds.cached("adam", ["source", "flags"], hang)
    """,
    )
    left = Path(process.stdout.readline().strip())
    process.send_signal(signal.SIGKILL)
    process.communicate()
    unfinished = folder / ".building-adam"
    folder.mkdir(parents=True, exist_ok=True)
    unfinished.write_bytes(b"half")

    library = get(build)
    assert build.count == 1
    assert library.read_bytes().startswith(b"library 1")
    assert left.is_dir()  # its process might still live
    assert unfinished.exists()

    yesterday = time.time() - builds.DEAD - 1
    os.utime(left, (yesterday, yesterday))
    os.utime(unfinished, (yesterday, yesterday))
    get(build, ["another source"])
    assert not left.exists()
    assert not unfinished.exists()
    assert get(build) == library


def test_the_temporary_folder_is_removed_by_its_process_and_not_by_a_forked_child(folder):
    folder.parent.write_text("a file")
    lines = output(
        start(
            folder,
            """
        import warnings
        warnings.simplefilter("ignore")
        library = builds.cached("adam", ["source"], build)
        if os.fork() == 0:
            other = builds.cached("sgd", ["source"], build)
            print(other, other.parent != library.parent, flush=True)
            sys.exit()
        os.wait()
        print(library, library.exists())
    """,
        )
    )
    assert [line.split()[1] for line in lines] == ["True", "True"]
    assert not [line for line in lines if Path(line.split()[0]).parent.exists()]


CPU = """processor\t: 0
model name\t: A processor
cpu MHz\t\t: {mhz}
flags\t\t: {flags}

"""


def test_a_library_for_another_processor_is_not_used(folder, build, monkeypatch, tmp_path):
    monkeypatch.setattr(builds, "_machine", builds._machine.__wrapped__)
    monkeypatch.setattr(builds.sys, "platform", "linux")  # macOS has no /proc/cpuinfo
    monkeypatch.setattr(builds, "CPUINFO", tmp_path / "cpuinfo")

    def library(text):
        builds.CPUINFO.write_text(text)
        return get(build)

    first = library(CPU.format(mhz=2000, flags="sse avx2"))
    assert library(CPU.format(mhz=3000, flags="sse avx2") * 2) == first
    assert library(CPU.format(mhz=2000, flags="sse avx2 avx512f")) != first
    arm = library("CPU implementer\t: 0x41\nFeatures\t: fp asimd\nCPU part\t: 0xd0c\n")
    assert arm != library("CPU implementer\t: 0x41\nFeatures\t: fp asimd sve\nCPU part\t: 0xd0c\n")
    builds.CPUINFO.unlink()
    assert get(build) != first


def test_on_macos_the_processor_is_read_with_sysctl(folder, build, monkeypatch):
    monkeypatch.setattr(builds, "_machine", builds._machine.__wrapped__)
    monkeypatch.setattr(builds.sys, "platform", "darwin")
    answer = "machdep.cpu.brand_string: Apple M1\n"
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0, answer, ""))
    first = get(build)
    answer = "machdep.cpu.brand_string: Apple M4\n"
    assert get(build) != first


def test_libraries_are_built_together_in_the_order_of_their_tasks(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    both = threading.Barrier(2)

    def task(number):
        both.wait(timeout=10)
        return number

    assert builds.together([lambda: task(1), lambda: task(2)]) == [1, 2]


def test_the_first_error_of_libraries_built_together_is_raised():
    def fail():
        raise CompileError("adam.cpp:1: error")

    with pytest.raises(CompileError, match=r"adam.cpp:1"):
        builds.together([lambda: 1, fail, lambda: 2])


def test_a_compiler_gets_its_input_and_an_error_holds_its_log_in_english(monkeypatch):
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    assert builds.run_compiler(["sh", "-c", "cat; echo $LC_ALL"], "fails", "text ") == "text C\n"
    with pytest.raises(CompileError, match=r"^adam.cpp does not compile:\nadam.cpp:1: error$"):
        builds.run_compiler(["sh", "-c", "echo adam.cpp:1: error >&2; exit 1"], "adam.cpp does not compile")
    with pytest.raises(CompileError, match="sh ended with status 3 and no message"):
        builds.run_compiler(["sh", "-c", "exit 3"], "fails")
    with pytest.raises(CompileError, match="/nowhere/g\\+\\+: No such file or directory"):
        builds.run_compiler(["/nowhere/g++"], "fails")

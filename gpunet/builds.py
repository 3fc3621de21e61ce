"""The cache of compiled libraries, shared by the simulated GPU and the native kernels.

It is the folder `builds` of gpunet's cache. A file name contains a hash of the library's sources, flags and compiler.
Whoever can write a library can run code, so:

- Only this user may write to the folder. Otherwise, or if it is read-only, libraries go to a temporary folder of this
  process.
- A library is loaded only if an empty file next to it has the library's SHA-256 in its name. That file is written
  first, then the library is renamed to its final name, so concurrent processes need no lock.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from gpunet import files
from gpunet.errors import CompileError, DeviceError, GpunetWarning

CPUINFO = Path("/proc/cpuinfo")
DEAD = 24 * 3600
"""Seconds after which an unfinished file or a temporary folder is assumed to be left by a killed process."""

TEMPORARY = "gpunet-builds-"
"""Prefix of the names of temporary folders."""

_private_folders: dict[int, Path] = {}  # by process ID: a forked child must not remove its parent's folder
_T = TypeVar("_T")


def cached(stem: str, parts: Iterable[str], build: Callable[[Path], None]) -> Path:
    """Return the path of a library, from the cache or built with `build`.

    Args:
        stem: prefix of the file name.
        parts: the texts that the library depends on: source, headers, flags, the compiler's path and version; the
            processor's features are added.
        build: writes the library to the given path; the file name is final.

    Raises:
        CompileError: from `build`, or it wrote no library.
        DeviceError: there is no writable temporary folder.
    """
    name = f"{re.sub(r'[^A-Za-z0-9_-]', '-', stem)[:100]}-{_key([*_machine(), *parts])}.so"
    with suppress(OSError):
        if _is_whole(library := _shared_folder() / name):
            return library
    private = _private_folders.get(os.getpid())
    if private and _is_whole(library := private / name):
        return library
    _sweep()
    try:
        with tempfile.TemporaryDirectory(prefix=TEMPORARY, ignore_cleanup_errors=True) as folder:
            built = Path(folder) / name
            build(built)
            if not built.is_file():
                raise CompileError(f"{stem}: the compiler reported no error, but wrote no library.")
            return _keep(built)
    except OSError as error:
        raise DeviceError(
            f"cannot compile in the temporary folder {tempfile.gettempdir()} ({error.strerror or error}). Set the "
            "environment variable TMPDIR to a writable folder."
        ) from error


def together(tasks: Sequence[Callable[[], _T]]) -> list[_T]:
    """Call functions that wait for compilers, one thread per processor; return their results in order.

    An error cancels the calls that have not started.
    """
    processors = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    with ThreadPoolExecutor(processors) as pool:
        return list(pool.map(lambda task: task(), tasks))


ONCE = "#pragma once in main file"
"""A compiler warning to hide: headers are pasted into the source, so it does not apply."""


def run_compiler(command: Sequence[str], failure: str, stdin: str = "") -> str:
    """Run a compiler with the input text `stdin` and return its output.

    Raises:
        CompileError: it fails or cannot start; the message is `failure` and the compiler's log.
    """
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, input=stdin, capture_output=True, encoding="utf-8", errors="replace", env=environment
        )
    except OSError as error:
        raise CompileError(f"{failure}:\n{command[0]}: {error.strerror}") from error
    if done.returncode != 0:
        lines = (line for line in done.stderr.strip().splitlines() if ONCE not in line)
        log = "\n".join(lines) or f"{command[0]} ended with status {done.returncode} and no message"
        raise CompileError(f"{failure}:\n{log}")
    return done.stdout


def _keep(built: Path) -> Path:
    """Copy a library and its checksum to the cache, or else to the private folder; return its path there."""
    try:
        return _publish(built, _shared_folder())
    except OSError as error:
        warnings.warn(
            f"cannot store compiled kernels in {files.cache_folder() / 'builds'} ({error.strerror or error}): every "
            "process compiles its own. Set the environment variable GPUNET_CACHE to a folder that you own, on a disk "
            "with free space.",
            GpunetWarning,
            stacklevel=2,  # always the same line, so that Python shows the warning once
        )
        return _publish(built, _private_folder())


def _shared_folder() -> Path:
    """Return the folder of libraries in gpunet's cache; create it if it is missing.

    Raises:
        OSError: it cannot be created or read, or other users could write to it.
    """
    folder = files.cache_folder() / "builds"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid():
        raise PermissionError(0, "it belongs to another user")
    if status.st_mode & 0o022:
        raise PermissionError(0, "other users can write to it; remove it")
    return folder


def _private_folder() -> Path:
    """Return the temporary folder of this process, which is removed at exit."""
    process = os.getpid()
    folder = _private_folders.get(process)
    if folder is None or not folder.is_dir():
        folder = _private_folders[process] = Path(tempfile.mkdtemp(prefix=TEMPORARY))
        atexit.register(_remove, folder, process)
    return folder


def _remove(folder: Path, process: int) -> None:
    if os.getpid() == process:
        shutil.rmtree(folder, ignore_errors=True)


def _publish(built: Path, folder: Path) -> Path:
    """Write the checksum file, then copy a library into `folder` atomically; return its path there."""
    library = folder / built.name
    descriptor, unfinished = tempfile.mkstemp(prefix=".building-", dir=folder)
    os.close(descriptor)
    try:
        shutil.copyfile(built, unfinished)
        _checksum_file(library, built).touch(mode=0o600)
        os.replace(unfinished, library)
    except BaseException:
        with suppress(OSError):
            os.unlink(unfinished)
        raise
    return library


def _is_whole(library: Path) -> bool:
    """Return whether a library exists and matches its checksum file."""
    try:
        return _checksum_file(library, library).exists()
    except OSError:
        return False


def _checksum_file(library: Path, data: Path) -> Path:
    """Return the path of the empty file whose name contains the SHA-256 of `data`, next to `library`."""
    with open(data, "rb") as file:
        return library.with_name(f"{library.name}.{hashlib.file_digest(file, 'sha256').hexdigest()}")


def _sweep() -> None:
    """Remove unfinished copies and temporary folders that killed processes of this user left."""
    left = list(Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*"))
    with suppress(OSError):
        left += _shared_folder().glob(".building-*")
    for path in left:
        with suppress(OSError):
            status = path.lstat()
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > DEAD:
                shutil.rmtree(path) if path.is_dir() else path.unlink()


@functools.cache
def _machine() -> tuple[str, ...]:
    """Return the machine's part of the cache key: operating system, C library and processor."""
    c_library = ""
    with suppress(ValueError, OSError, AttributeError):
        c_library = os.confstr("CS_GNU_LIBC_VERSION") or ""
    return sys.platform, platform.machine(), c_library or platform.release(), _processor()


def _processor() -> str:
    """Return a description of the processor's features, which `-march=native` depends on."""
    if sys.platform == "darwin":
        names = ["machdep.cpu", "hw.optional"]
        return subprocess.run(["/usr/sbin/sysctl", *names], capture_output=True, text=True, check=False).stdout
    try:
        lines = CPUINFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor()
    # x86, then ARM, then others; a processor may have cores of several kinds
    fields = r"(vendor_id|cpu family|model|model name|stepping|flags|CPU \w+|Features|features|isa|uarch|cpu)\s*:"
    return "\n".join(sorted({line for line in lines if re.match(fields, line)}))


def _key(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        text = part.encode("utf-8", "surrogateescape")  # paths may contain bytes that are not UTF-8
        digest.update(len(text).to_bytes(8, "little") + text)
    return digest.hexdigest()[:20]

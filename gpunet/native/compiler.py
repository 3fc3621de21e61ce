"""Compile C++ for this processor with the machine's compiler, through the cache of `gpunet.builds`."""

from __future__ import annotations

import ctypes
import functools
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpunet import builds
from gpunet.cuda.source import read_source
from gpunet.device import kernels_path
from gpunet.errors import CompileError, DeviceError

FLAGS = (
    "-std=c++17",
    "-O3",
    "-mcpu=native" if platform.machine() in ("arm64", "aarch64") else "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
    "-fPIC",
    "-pthread",
    "-shared",
    *(("-Wl,-Bsymbolic",) if sys.platform == "linux" else ()),
)
HOW_TO_GET_ONE = (
    "Install g++ or clang++ (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++; macOS: xcode-select "
    '--install), or pip install "gpunet[native]", or name a compiler in the environment variable CXX.'
)
RUNTIME = "run.cpp"
"""The source that every native program needs; also used to test a compiler."""


@dataclass(frozen=True)
class Compiler:
    """A C++ compiler whose libraries load and run here."""

    command: tuple[str, ...]
    version: str


def find_compiler() -> Compiler:
    """Return the first of `$CXX`, g++, clang++ and the package ziglang that works.

    Raises:
        DeviceError: none works, or native kernels are disabled.
    """
    if os.environ.get("GPUNET_NATIVE") == "0":
        raise DeviceError("native: disabled by the environment variable GPUNET_NATIVE=0.")
    if sys.platform == "win32":
        raise DeviceError("native: kernels need Linux or macOS; on Windows, use WSL.")
    refused = []
    for command in _candidates():
        compiler = _tried(command)
        if isinstance(compiler, Compiler):
            return compiler
        refused.append(f"{' '.join(command)}: {compiler}")
    found = "; ".join(refused) or "g++, clang++ and the package ziglang are not installed"
    raise DeviceError(f"native: no working C++ compiler ({found}). {HOW_TO_GET_ONE}")


def why_unavailable() -> str | None:
    """Return why native kernels are unavailable and what to do, or None if they are available."""
    try:
        find_compiler()
    except DeviceError as error:
        return str(error).removeprefix("native: ")
    return None


def compile_library(source: str, name: str, options: Sequence[str] = ()) -> Path:
    """Return the shared library of the C++ text `source`, compiled for this processor unless it is cached.

    Args:
        source: C++17 with its headers inlined (`gpunet.cuda.read_source`), since the cache key is this text.
        name: the file name in error messages, such as "kernels/cpu/adam.cpp".
        options: more flags, such as `-DT=float`.

    Raises:
        CompileError: the source does not compile.
        DeviceError: no compiler, or no folder to compile in.
    """
    return _compile(find_compiler(), source, name, options)


def _compile(compiler: Compiler, source: str, name: str, options: Sequence[str] = ()) -> Path:
    def build(target: Path) -> None:
        text = target.with_name("kernels.cpp")
        text.write_text(f'#line 1 "{name}"\n{source}', encoding="utf-8")
        command = [*compiler.command, *FLAGS, *options, str(text), "-o", str(target)]
        builds.run_compiler(command, f"{name} does not compile with {' '.join(compiler.command)}")

    parts = [*compiler.command, compiler.version, *FLAGS, *options, name, source]
    return builds.cached(f"{Path(name).stem}-native", parts, build)


def _candidates() -> Iterator[tuple[str, ...]]:
    """Yield the commands of the installed compilers, the preferred one first."""
    given = os.environ.get("CXX", "").split()
    names = [given, *([name] for name in ("g++", "clang++") if _has_developer_tools())]
    for name, *options in filter(None, names):
        if path := shutil.which(name):
            yield (path, *options)
    if importlib.util.find_spec("ziglang"):
        yield (sys.executable, "-m", "ziglang", "c++")


def _has_developer_tools() -> bool:
    """Return whether g++ and clang++ may be called: on a Mac without the developer tools they open a dialog."""
    return sys.platform != "darwin" or subprocess.run(["xcode-select", "-p"], capture_output=True).returncode == 0


@functools.cache
def _tried(command: tuple[str, ...]) -> Compiler | str:
    """Return the compiler at `command` if a library that it builds loads and runs, else the reason."""
    try:
        compiler = Compiler(command, builds.run_compiler([*command, "--version"], "not a compiler").partition("\n")[0])
        source = read_source(kernels_path() / "cpu" / RUNTIME)
        library = ctypes.CDLL(str(_compile(compiler, source, f"kernels/cpu/{RUNTIME}")))
        root: int = library.gpunet_probe(1764)
    except CompileError as error:
        return _summary(error)
    except (OSError, AttributeError) as error:
        return f"its library does not load: {error}"
    return compiler if root == 42 else f"its library computes {root} instead of 42"


def _summary(error: CompileError) -> str:
    """Return the line of a compiler's log with the error."""
    lines = str(error).splitlines()
    return next((line for line in lines if "error:" in line), lines[-1]).strip().removesuffix(".")

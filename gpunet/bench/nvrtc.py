"""Compile kernels for any GPU on a machine without one, and read the resources that ptxas reports.

NVRTC, NVIDIA's compiler library, is called through ctypes: neither CuPy nor a driver is needed.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import importlib.util
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gpunet.errors import ArgumentError, CompileError, MissingPackageError
from gpunet.simulator.compiler import STANDARD

ARCHITECTURES = ("sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100", "sm_120")
"""From Turing to Blackwell: T4, A100, RTX 30 and 40, H100, B200, RTX 50."""


MISSING_HEADER = """
CUDA's headers come with pip install nvidia-cuda-runtime-cu12; kernels cannot include C or C++ library headers."""


STANDARD_HEADERS = (f"-I{STANDARD}", "--pre-include=constants.h")
"""What NVRTC needs for kernels that include the headers of C or use their constants."""


class MissingHeaderError(CompileError):
    """NVRTC does not find a header."""


class Resources(NamedTuple):
    """The resources of a kernel on an architecture.

    Attributes:
        registers: per thread.
        shared: bytes of static shared memory per block.
        stack: bytes of local memory per thread: arrays that do not fit into registers.
        spilled: bytes that a thread stores to and loads from local memory because of register spills.
    """

    registers: int
    shared: int
    stack: int
    spilled: int


def is_available() -> bool:
    """Return whether NVRTC is installed."""
    return _library() is not None


def architectures() -> list[str]:
    """Return those of `ARCHITECTURES` that the installed NVRTC supports; raise `MissingPackageError` without NVRTC."""
    known = _known()
    return [arch for arch in ARCHITECTURES if arch in known]


def compile_kernels(
    source: str, name: str, arch: str, options: Sequence[str] = (), expressions: Sequence[str] = ()
) -> dict[str, Resources]:
    """Return the resources of each kernel of `source`; arguments and errors as for `compile_cubin`."""
    return compile_cubin(source, name, arch, options, expressions)[1]


def compile_cubin(
    source: str, name: str, arch: str, options: Sequence[str] = (), expressions: Sequence[str] = ()
) -> tuple[bytes, dict[str, Resources]]:
    """Return the machine code of `source` and the resources of each of its kernels, by name and in order.

    Args:
        name: the file name in error messages.
        arch: such as "sm_90" or "sm_90a".
        options: `-DNAME=VALUE` and other NVRTC options.
        expressions: template instances to compile, such as "scale<float>".

    Raises:
        CompileError: the source does not compile; the message is NVRTC's log. `MissingHeaderError` is one of them.
        ArgumentError: an architecture that this NVRTC does not support.
        MissingPackageError: NVRTC is not installed.
    """
    nvrtc, known = _required(), _known()
    if arch.rstrip("af") not in known:
        raise ArgumentError(f"unknown architecture {arch!r}; this NVRTC supports {', '.join(known)}.")
    flags = [f"-arch={arch}", "-std=c++17", "--ptxas-options=-v", *_headers(nvrtc), *options]
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None)
    for expression in expressions:
        nvrtc.nvrtcAddNameExpression(program, expression.encode())
    failed = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*map(str.encode, flags)))

    def output(what: str) -> bytes:
        getattr(nvrtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size))
        buffer = ctypes.create_string_buffer(size.value)
        getattr(nvrtc, f"nvrtcGet{what}")(program, buffer)
        return buffer.raw

    log = output("ProgramLog").decode(errors="replace").rstrip("\0")
    cubin = b"" if failed else output("CUBIN")
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    if failed:
        message = f"{name} does not compile for {arch}:\n{log.strip()}"
        if "cannot open source file" in log:
            raise MissingHeaderError(message + MISSING_HEADER)
        raise CompileError(message)
    entries = (entry.split("'", 1) for entry in log.split("Compiling entry function '")[1:])
    return cubin, {_plain(entry): _resources(log) for entry, log in reversed(list(entries))}


def _plain(entry: str) -> str:
    """Demangle a kernel name such as "_Z5scalePfi"; return other names unchanged."""
    mangled = re.match(r"_ZN?", entry)
    if mangled is None:
        return entry
    names, rest = [], entry[mangled.end() :]
    while length := re.match(r"\d+", rest):
        end = length.end() + int(length[0])
        names.append(rest[length.end() : end])
        rest = rest[end:]
    return "::".join(names)


def _resources(log: str) -> Resources:
    def number(pattern: str) -> int:
        return sum(map(int, re.findall(pattern, log)))

    return Resources(
        number(r"Used (\d+) registers"),
        number(r"(\d+) bytes smem"),
        number(r"(\d+) bytes stack frame"),
        number(r"(\d+) bytes spill (?:stores|loads)"),
    )


@functools.cache
def _known() -> list[str]:
    """Return the architectures that the installed NVRTC supports."""
    nvrtc, count = _required(), ctypes.c_int()
    nvrtc.nvrtcGetNumSupportedArchs(ctypes.byref(count))
    numbers = (ctypes.c_int * count.value)()
    nvrtc.nvrtcGetSupportedArchs(numbers)
    return [f"sm_{number}" for number in numbers]


def _required() -> ctypes.CDLL:
    library = _library()
    if library is None:
        raise MissingPackageError(
            "NVRTC is not installed; it compiles for GPUs and reports registers and spills. Run pip install "
            "nvidia-cuda-nvrtc-cu12 (it needs no GPU), or set CUDA_PATH to a CUDA toolkit."
        )
    return library


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Return NVRTC from its Python package, else from a CUDA toolkit; None if none loads."""
    paths = [
        path
        for root in _roots()
        for pattern in ("lib/libnvrtc.so*", "lib64/libnvrtc.so*", "bin/nvrtc64_*.dll", "bin/x*/nvrtc64_*.dll")
        for path in sorted(root.glob(pattern))
        if "builtins" not in path.name and ".alt." not in path.name
    ]
    for path in (*map(str, paths), ctypes.util.find_library("nvrtc")):
        try:
            return ctypes.CDLL(path) if path else None
        except OSError:
            continue
    return None


def _headers(nvrtc: ctypes.CDLL) -> list[str]:
    """Return the include options for the headers of the toolkit that NVRTC is from; versions must not be mixed."""
    path = Path(nvrtc._name)
    if not path.is_absolute():  # found by the system, without a path
        return []
    root = path.parent.parent
    folders = (root / "include", root / "include" / "cccl", root.with_name("cuda_runtime") / "include")
    return [f"-I{folder}" for folder in folders if folder.is_dir()]


def _roots() -> Iterator[Path]:
    """Yield the folders that may contain NVRTC: of Python packages, then of toolkits."""
    for package in ("nvidia.cuda_nvrtc", "nvidia.cu13"):
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        yield from map(Path, spec.submodule_search_locations or () if spec else ())
    for place in (os.environ.get("CUDA_PATH"), os.environ.get("CUDA_HOME"), "/usr/local/cuda"):
        if place and Path(place).is_dir():
            yield Path(place)

"""Compile CUDA sources for the CPU with the machine's g++, and keep what was compiled.

A source is preprocessed, rewritten (`rewrite.py`) and compiled with `runtime/device.h` in front of it into a shared
library that links against the runtime of its mode. Both are kept in the cache of `gpunet.builds`.
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpunet import builds
from gpunet.errors import ArgumentError, CompileError, DeviceError
from gpunet.simulator.inline_ptx import HAS_PTX
from gpunet.simulator.rewrite import rewrite
from gpunet.simulator.unsupported import Refusal, line_of

RUNTIME = Path(__file__).parent / "runtime"
STANDARD = RUNTIME / "standard"
"""Stand-ins for the headers of C that kernels include, for g++ and for NVRTC."""
MISSING_HEADER = """
The simulated GPU has the headers of C's constants, integers, printf and assert, and of CUDA those for fp16, bf16, wmma,
cooperative groups, pipelines, barriers and atomics. Put host code behind #ifndef GPUNET_SIMULATOR."""
OLDEST_GCC = 12  # the first with std::source_location, -ftrivial-auto-var-init and complete C++20 lambdas

_COMMON = (
    "-std=c++20",
    "-fPIC",
    "-march=native",  # for hardware FMA, which kernels lean on
    "-fno-math-errno",
    "-fno-strict-aliasing",  # kernels read float arrays as float4
)
_KERNEL = (
    "-fvisibility=hidden",
    "-fno-gnu-unique",  # else the static variables of templates would be shared between libraries
    "-Werror=frame-larger-than=98304",  # a fiber's stack has 128 KiB, see fiber.cpp
    "-g1",  # lines, for findings
    "-fno-var-tracking",  # which takes a tenth of the compiler's time, for a debugger
    "-gdwarf-4",  # addr2line confuses the files of g++'s version 5 when a source comes from standard input
)


_RUNTIME = ("-O2", "-fno-semantic-interposition")  # else no function of another file is inlined


@dataclass(frozen=True)
class Mode:
    """How kernels and the runtime are compiled for a mode."""

    kernel_flags: tuple[str, ...]
    runtime_flags: tuple[str, ...]
    runtime_sources: tuple[str, ...]


_RUNTIME_SOURCES = (
    "fiber.cpp",
    "grid.cpp",
    "scheduler.cpp",
    "findings.cpp",
    "collectives.cpp",
    "async_copy.cpp",
    "shared_memory.cpp",
    "signals.cpp",
)
_CHECKER_SOURCES = ("checker.cpp", "regions.cpp", "carvings.cpp", "reports.cpp", "history.cpp", "sanitizer.cpp")
MODES = {
    "fast": Mode((*_KERNEL, "-O2"), _RUNTIME, (*_RUNTIME_SOURCES, "unchecked.cpp")),
    # The sanitizers' instrumentation, but with callbacks of our own (checker.cpp, sanitizer.cpp) in place of theirs.
    "check": Mode(
        (
            *_KERNEL,
            "-Og",  # as fast as -O1 in this mode, and compiled in four fifths of its time
            "-fsanitize=thread",
            "--param=tsan-instrument-func-entry-exit=0",
            "-fsanitize=bounds-strict,alignment,signed-integer-overflow,integer-divide-by-zero,shift",
            "-fno-sanitize-recover=all",
            "-fsanitize-recover=signed-integer-overflow,shift",
            "-ftrivial-auto-var-init=pattern",  # a forgotten initial value gives huge numbers, not lucky zeros
        ),
        (*_RUNTIME, "-DGPUNET_CHECKED"),
        (*_RUNTIME_SOURCES, *_CHECKER_SOURCES),
    ),
}


_BY_USE = {
    HAS_PTX: "inline_ptx.h",
    re.compile(r"\b__v[a-z]+[24]\s*\("): "simd.h",
    re.compile(r"\b__(?:f[a-z]+|\w+2float)_r[zdu]\s*\("): "directed_rounding.h",
}
"""Headers of the runtime that only those sources get which need them: all of them take time to compile."""


@dataclass(frozen=True)
class Compiler:
    """A usable g++."""

    path: str
    version: str


@functools.cache
def find_compiler() -> Compiler:
    """Return the machine's g++: `$CXX` where that is one, else the first of g++, g++-15, ... g++-12 on the PATH.

    Raises:
        DeviceError: not Linux on x86-64, or no g++ of version 12 or later; says what to do.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise DeviceError(
            f"sim: the simulated GPU runs on Linux x86-64, not on {sys.platform} {platform.machine()}. Use a Linux "
            'machine or container, or the device "cpu".'
        )
    found = []
    for name in (os.environ.get("CXX", ""), "g++", *(f"g++-{n}" for n in range(15, OLDEST_GCC - 1, -1))):
        path = shutil.which(name) if name else None
        version = _gcc_version(path) if path else None
        if path and version and int(version.split(".")[0]) >= OLDEST_GCC:
            return Compiler(path, version)
        if path:
            found.append(f"{path} ({version or 'not g++'})")
    raise DeviceError(
        f"sim: the simulated GPU compiles kernels with g++ {OLDEST_GCC} or later; found {', '.join(found) or 'none'}. "
        "Install it (Debian, Ubuntu: apt install g++; Fedora: dnf install gcc-c++) or name one in the environment "
        "variable CXX."
    )


def _gcc_version(path: str) -> str | None:
    """Return the version of the g++ at `path`, or None where it is another compiler."""
    macros = subprocess.run(
        [path, "-dM", "-E", "-x", "c++", os.devnull], capture_output=True, text=True, check=False
    ).stdout
    if "__clang__" in macros:
        return None
    numbers = [re.search(rf"#define {name} (\d+)", macros) for name in ("__GNUC__", "__GNUC_MINOR__")]
    return ".".join(n[1] for n in numbers if n) or None


def compile_kernels(
    source: str, name: str, options: Sequence[str] = (), mode: str = "fast", expressions: Sequence[str] = ()
) -> Path:
    """Return the shared library of the CUDA text `source`, compiled unless the cache has it.

    Args:
        source: CUDA C++.
        name: the file that errors and findings speak of, such as "kernels/matmul.cu".
        options: `-DNAME`, `-DNAME=VALUE`, `-UNAME` and `-IFOLDER`.
        mode: "fast" or "check".
        expressions: instances of template kernels that are wanted, such as "scale<float>".

    Raises:
        CompileError: the compiler refuses the source; the message is its log.
        DeviceError: no compiler, or no folder to compile in.
        ArgumentError: another option, or an unknown mode.
    """
    if mode not in MODES:
        raise ArgumentError(f"mode: expected one of {', '.join(MODES)}; got {mode!r}.")
    options = [o for o in options if not o.startswith("-std=")]  # sources are C++17 here, whatever NVRTC is told
    if bad := [o for o in options if not re.match(r"-[DUI].", o)]:
        raise ArgumentError(f"options of {name}: the simulator takes -D, -U and -I options only; got {' '.join(bad)}.")
    runtime = runtime_library(mode)
    folders = [Path(o[2:]) for o in options if o.startswith("-I")]
    parts = [source, name, *options, *expressions, runtime.name, *MODES[mode].kernel_flags, *_included(source, folders)]
    build = functools.partial(_compile, source, name, options, expressions, mode, runtime)
    return builds.cached(f"{Path(name).stem}-{mode}", parts, build)


def _compile(
    source: str, name: str, options: Sequence[str], expressions: Sequence[str], mode: str, runtime: Path, target: Path
) -> None:
    compiler = find_compiler().path
    # The source is preprocessed alone: its macros (-DT=float) must not meet the runtime's headers, nor the host's
    # headers, which are not made for kernels, the runtime.
    folders = [f"-I{RUNTIME / 'include'}", f"-I{STANDARD}", "-include", "constants.h"]
    given = ["-nostdinc", *folders, "-DGPUNET_SIMULATOR", "-D__CUDACC__", "-D__CUDA_ARCH__=900"]
    marked = f'# 1 "{name}"\n{source}\n'
    preprocessed = _run([compiler, "-E", *_COMMON, *given, *options, "-x", "c++", "-"], name, stdin=marked)
    wanted = dict.fromkeys(["device.h", *re.findall(r"#pragma gpunet include (\S+)", preprocessed)])
    wanted |= {header: None for use, header in _BY_USE.items() if use.search(preprocessed)}
    headers = [f"-I{RUNTIME}", *(part for header in wanted for part in ("-include", header))]
    text, compiled = target.with_name("kernels.cpp"), target.with_name("kernels.o")
    try:
        text.write_text(rewrite(preprocessed, expressions), encoding="utf-8")
    except Refusal as refusal:
        raise CompileError(f"{line_of(preprocessed, refusal.place)}: {refusal}.") from None
    _run([compiler, *_COMMON, *MODES[mode].kernel_flags, *headers, "-c", str(text), "-o", str(compiled)], name)
    # A step of its own, without the sanitizers' flags: those would link the sanitizers' libraries. To look through the
    # library of C++ takes longer than the rest of linking; the few that need it get it with the runtime.
    libraries = ["-Wl,--no-as-needed", str(runtime), "-lm", "-lgcc_s", "-lc"]
    link = ["-shared", "-nodefaultlibs", str(compiled), *libraries, "-Wl,-z,now,-z,defs"]
    _run([compiler, *link, "-o", str(target)], name)


@functools.cache
def runtime_library(mode: str) -> Path:
    """Return the runtime's shared library for `mode`, compiled unless the cache has it."""
    compiler = find_compiler()
    flags = [*_COMMON, "-DGPUNET_RUNTIME", *MODES[mode].runtime_flags]
    names = (
        "compiler.py",
        "rewrite.py",
        "kernel_declarations.py",
        "shared_declarations.py",
        "inline_ptx.py",
        "unsupported.py",
    )  # what becomes of a source
    recipe = [Path(__file__).with_name(name) for name in names]
    sources = [p.read_text(encoding="utf-8") for p in (*recipe, *sorted(RUNTIME.rglob("*"))) if p.is_file()]
    # findings leave out the runtime's own lines, which the debug information knows by where the runtime lies
    parts = [compiler.path, compiler.version, str(RUNTIME), *flags, *sources]

    def build(target: Path) -> None:
        # all in one text: apart, they spend as long again on the headers of C++ that they share
        text = "".join(f'#include "{RUNTIME / source}"\n' for source in MODES[mode].runtime_sources)
        output = ["-shared", f"-Wl,-soname,{target.name}", "-o", str(target)]
        _run([compiler.path, *flags, "-x", "c++", "-", *output], "the simulator's runtime", stdin=text)

    return builds.cached(f"libgpunet-{mode}", parts, build)


def _run(command: list[str], name: str, stdin: str = "") -> str:
    try:
        return builds.run_compiler(command, f"{name} does not compile for the simulator", stdin)
    except CompileError as error:
        hint = MISSING_HEADER if re.search("error: .*No such file or directory", str(error)) else ""
        raise CompileError(f"{error}{hint}") from None


def _included(source: str, folders: Iterable[Path]) -> list[str]:
    """Return the texts of the files that `source` includes from `folders`, and of those that they include."""
    folders = list(folders)
    texts: dict[str, str] = {}
    waiting = [source]
    while waiting:
        for name in re.findall(r'^\s*#\s*include\s*["<]([^">]+)[">]', waiting.pop(), re.MULTILINE):
            path = next((f / name for f in folders if (f / name).is_file()), None)
            if path is not None and name not in texts:
                texts[name] = path.read_text(encoding="utf-8")
                waiting.append(texts[name])
    return [part for item in sorted(texts.items()) for part in item]

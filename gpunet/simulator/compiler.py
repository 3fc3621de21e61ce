"""Compile CUDA sources for the CPU with g++, and cache the results.

A source is preprocessed, rewritten (`rewrite.py`) and compiled after `runtime/device.h` into a shared library, which
links to the runtime of its mode. `gpunet.builds` caches both.
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
NAMED = "/gpunet/simulator/runtime"
"""The name of `RUNTIME` in debug information, so that all installations of a version share libraries."""

STANDARD = RUNTIME / "standard"  # replacements of the C headers that kernels include, for g++ and for NVRTC
MISSING_HEADER = """
The simulator has the C headers for constants, integers, printf and assert, and the CUDA headers for fp16, bf16, wmma,
cooperative groups, pipelines, barriers and atomics. Put host code behind #ifndef GPUNET_SIMULATOR."""
OLDEST_GCC = 12  # the first with std::source_location, -ftrivial-auto-var-init and complete C++20 lambdas

_COMMON = (
    "-std=c++20",
    "-fPIC",
    "-march=native",  # for hardware FMA
    "-fno-math-errno",
    "-fno-strict-aliasing",  # kernels read float arrays as float4
)
_KERNEL = (
    "-fno-plt",  # calls of the checker and of __tls_get_addr take one jump less
    "-fvisibility=hidden",
    "-fno-gnu-unique",  # otherwise libraries would share the static variables of templates
    "-Werror=frame-larger-than=98304",  # a fiber's stack has 128 KiB, see fiber.cpp
    "-g1",  # source lines for findings
    "-fno-var-tracking",  # only a debugger needs it; saves a tenth of the compile time
    "-gdwarf-4",  # with g++'s DWARF 5, addr2line confuses files if the source comes from standard input
)
_RUNTIME = ("-O2", "-fno-semantic-interposition")  # otherwise functions with external linkage are not inlined


@dataclass(frozen=True)
class Mode:
    """The compiler flags and runtime sources of a mode."""

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
    "tensor_core.cpp",
    "shared_memory.cpp",
    "signals.cpp",
)
_CHECKER_SOURCES = ("checker.cpp", "regions.cpp", "shared_arrays.cpp", "reports.cpp", "history.cpp", "sanitizer.cpp")
MODES = {
    "fast": Mode((*_KERNEL, "-O2", "-fpeel-loops"), _RUNTIME, (*_RUNTIME_SOURCES, "unchecked.cpp")),
    # The sanitizers' instrumentation, with the runtime's own callbacks (checker.cpp, sanitizer.cpp).
    "check": Mode(
        (
            *_KERNEL,
            "-Og",  # as fast as -O1 in this mode; the compile time is a fifth shorter
            "-fsanitize=thread",
            "--param=tsan-instrument-func-entry-exit=0",
            "-fsanitize=bounds-strict,alignment,signed-integer-overflow,integer-divide-by-zero,shift",
            "-fno-sanitize-recover=all",
            "-fsanitize-recover=signed-integer-overflow,shift",
            "-ftrivial-auto-var-init=pattern",  # uninitialized variables hold huge numbers instead of zeros
        ),
        (*_RUNTIME, "-DGPUNET_CHECKED"),
        (*_RUNTIME_SOURCES, *_CHECKER_SOURCES),
    ),
}

_BY_USE = {
    HAS_PTX: "inline_ptx.h",
    re.compile(r"\b__v[a-z]+[24]\s*\("): "simd.h",
    re.compile(r"\b__(?:f[a-z]+|\w+2float)_r[zdu]\s*\("): "directed_rounding.h",
    re.compile(r"\bmem(?:cpy|move|set)\s*\("): "memory_functions.h",  # the last, because it defines macros
}
"""Headers of the runtime by the pattern of their uses. Only sources that match include them, to save compile time."""


@dataclass(frozen=True)
class Compiler:
    """A usable g++."""

    path: str
    version: str


@functools.cache
def find_compiler() -> Compiler:
    """Find g++: `$CXX` if it is a g++, else the first of g++, g++-16, ... g++-12 on the PATH.

    Raises:
        DeviceError: not Linux on x86-64, or no g++ of version 12 or later.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        raise DeviceError(
            f"sim: the simulated GPU runs on Linux x86-64, not on {sys.platform} {platform.machine()}. Use a Linux "
            'machine or container, or the device "cpu".'
        )
    found = []
    for name in (os.environ.get("CXX", ""), "g++", *(f"g++-{n}" for n in range(16, OLDEST_GCC - 1, -1))):
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
    """Return the version of the g++ at `path`, or None if it is another compiler."""
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
    """Compile a CUDA source, unless it is cached; return the path of the shared library.

    Args:
        name: the file name in errors and findings, such as "kernels/matmul.cu".
        options: `-DNAME`, `-DNAME=VALUE`, `-UNAME` and `-IFOLDER`.
        mode: "fast" or "check".
        expressions: instances of template kernels, such as "scale<float>".

    Raises:
        CompileError: the source does not compile; the message is the compiler's log.
        DeviceError: no compiler, or no folder to compile in.
        ArgumentError: an option that is not supported, or an unknown mode.
    """
    if mode not in MODES:
        raise ArgumentError(f"mode: expected one of {', '.join(MODES)}; got {mode!r}.")
    options = [o for o in options if not o.startswith("-std=")]  # the simulator always uses C++20
    if bad := [o for o in options if not re.match(r"-[DUI].", o)]:
        raise ArgumentError(f"options of {name}: the simulator supports only -D, -U and -I; got {' '.join(bad)}.")
    runtime = runtime_library(mode)
    folders = [Path(o[2:]) for o in options if o.startswith("-I")]
    parts = [source, name, *options, *expressions, runtime.name, *MODES[mode].kernel_flags, *_included(source, folders)]
    build = functools.partial(_compile, source, name, options, expressions, mode, runtime)
    return builds.cached(f"{Path(name).stem}-{mode}", parts, build)


def _compile(
    source: str, name: str, options: Sequence[str], expressions: Sequence[str], mode: str, runtime: Path, target: Path
) -> None:
    compiler = find_compiler().path
    # The source is preprocessed without the runtime's headers, so that its macros (-DT=float) do not change them, and
    # without the host's headers, which are not made for kernels.
    folders = [f"-I{RUNTIME / 'include'}", f"-I{STANDARD}", "-include", "constants.h"]
    given = ["-nostdinc", *folders, "-DGPUNET_SIMULATOR", "-D__CUDACC__", "-D__CUDA_ARCH__=900"]
    marked = f'# 1 "{name}"\n{source}\n'
    preprocessed = _run([compiler, "-E", *_COMMON, *given, *options, "-x", "c++", "-"], name, stdin=marked)
    wanted = dict.fromkeys(["device.h", *re.findall(r"#pragma gpunet include (\S+)", preprocessed)])
    wanted |= {header: None for use, header in _BY_USE.items() if use.search(preprocessed)}
    headers = [f"-I{RUNTIME}", f"-ffile-prefix-map={RUNTIME}={NAMED}"]
    headers += [part for header in wanted for part in ("-include", header)]
    text, compiled = target.with_name("kernels.cpp"), target.with_name("kernels.o")
    try:
        text.write_text(rewrite(preprocessed, expressions), encoding="utf-8")
    except Refusal as refusal:
        raise CompileError(f"{line_of(preprocessed, refusal.place)}: {refusal}.") from None
    _run([compiler, *_COMMON, *MODES[mode].kernel_flags, *headers, "-c", str(text), "-o", str(compiled)], name)
    # Link in a separate step without the sanitizers' flags, which would link the sanitizers' libraries. The C++ library
    # is left out, because it would double the link time; the runtime links to it.
    libraries = ["-Wl,--no-as-needed", str(runtime), "-lm", "-lgcc_s", "-lc"]
    link = ["-shared", "-nodefaultlibs", str(compiled), *libraries, "-Wl,-z,now,-z,defs"]
    _run([compiler, *link, "-o", str(target)], name)


@functools.cache
def runtime_library(mode: str) -> Path:
    """Compile the runtime of a mode, unless it is cached; return the path of the shared library."""
    compiler = find_compiler()
    flags = [*_COMMON, "-DGPUNET_RUNTIME", *MODES[mode].runtime_flags]
    names = (
        "compiler.py",
        "rewrite.py",
        "kernel_declarations.py",
        "shared_declarations.py",
        "inline_ptx.py",
        "unsupported.py",
    )  # the modules that rewrite sources
    recipe = [Path(__file__).with_name(name) for name in names]
    sources = [p.read_text(encoding="utf-8") for p in (*recipe, *sorted(RUNTIME.rglob("*"))) if p.is_file()]
    parts = [compiler.path, compiler.version, *flags, *sources]

    def build(target: Path) -> None:
        # One translation unit takes half the time, because the files share C++ headers.
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
    """Return the names and texts of the files that `source` includes from `folders`, directly and indirectly."""
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

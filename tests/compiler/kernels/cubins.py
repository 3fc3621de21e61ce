"""NVRTC's and nvdisasm's results in gpunet's cache of builds: they take minutes for all variants and architectures."""

import ctypes
import hashlib
import inspect
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.instruction_mix import disassemble as run_nvdisasm
from benchmarks.instruction_mix import nvdisasm
from gpunet import builds
from gpunet.bench import nvrtc
from gpunet.bench.nvrtc import Resources


def compile_cubin(source: str, name: str, arch: str, options: Sequence[str] = ()) -> tuple[bytes, dict[str, Resources]]:
    """Return the machine code and the resources as `nvrtc.compile_cubin` does.

    Args:
        source: a source with its headers inlined, since the cache key is this text.
    """

    def build(target: Path) -> None:
        cubin, kernels = nvrtc.compile_cubin(source, name, arch, options)
        target.write_bytes(json.dumps(kernels).encode() + b"\n" + cubin)

    path = builds.cached(f"{Path(name).stem}-{arch}", [*_version(), source, name, arch, *options], build)
    kernels, _, cubin = path.read_bytes().partition(b"\n")
    return cubin, {kernel: Resources(*numbers) for kernel, numbers in json.loads(kernels).items()}


def disassemble(cubin: bytes) -> str:
    """Return the assembly of a cubin as `benchmarks.instruction_mix.disassemble` does."""

    def build(target: Path) -> None:
        target.write_text(run_nvdisasm(cubin), encoding="utf-8")

    tool = nvdisasm()
    parts = [str(tool), str(tool.stat().st_size), inspect.getsource(run_nvdisasm), hashlib.sha256(cubin).hexdigest()]
    return builds.cached("assembly", parts, build).read_text(encoding="utf-8")


def _version() -> tuple[str, str, str]:
    """Return what tells NVRTC's versions apart, and the module that calls it."""
    library, major, minor = nvrtc._required(), ctypes.c_int(), ctypes.c_int()
    library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    path = Path(library._name)  # only a name if the system found it
    size = path.stat().st_size if path.is_file() else 0
    return f"{major.value}.{minor.value}", str(size), Path(nvrtc.__file__).read_text(encoding="utf-8")

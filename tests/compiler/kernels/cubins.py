"""NVRTC's results in gpunet's cache of builds, because it takes minutes for all variants on all architectures."""

import ctypes
import json
from collections.abc import Sequence
from pathlib import Path

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


def _version() -> tuple[str, str, str]:
    """Return what tells NVRTC's versions apart, and the module that calls it."""
    library, major, minor = nvrtc._required(), ctypes.c_int(), ctypes.c_int()
    library.nvrtcVersion(ctypes.byref(major), ctypes.byref(minor))
    path = Path(library._name)  # only a name if the system found it
    size = path.stat().st_size if path.is_file() else 0
    return f"{major.value}.{minor.value}", str(size), Path(nvrtc.__file__).read_text(encoding="utf-8")

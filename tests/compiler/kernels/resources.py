"""Compile the kernels to machine code with NVRTC, without a GPU, and read what ptxas says of them.

    python tests/compiler/kernels/resources.py sm_75 sm_80 sm_86 sm_89 sm_90 sm_100 sm_120

prints registers, shared memory, stack and spills of every kernel and variant as a table, and fails where one spills.
Needs the package nvidia-cuda-nvrtc-cu12 (or the CUDA 13 one) and nothing else: the kernels include no system header.
"""

import ctypes
import functools
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from gpunet.cuda import read_source
from gpunet.device import kernels_path
from gpunet.ops.activations import FUNCTIONS

TILES = ("BM", "BN", "BK", "WM", "WN", "TM", "TN")
CONFIGURATIONS = {
    "float": [
        (32, 32, 16, 32, 16, 4, 4),
        (32, 32, 32, 16, 16, 2, 4),
        (64, 64, 8, 32, 32, 8, 4),
        (128, 128, 8, 64, 32, 8, 8),
    ],
    "double": [(32, 32, 16, 32, 16, 4, 4), (64, 64, 8, 32, 32, 8, 4)],
}
LAYOUTS = [(0, 0), (0, 0), (0, 1), (1, 0)]
VECTORS = [1, 0, 1, 0]


class Resources(NamedTuple):
    registers: int
    shared: int
    stack: int
    spilled: int


class NVRTCError(Exception):
    """NVRTC refuses the source; the message is its log."""


def variants() -> Iterator[tuple[Path, tuple[str, ...]]]:
    """Return every source and the options under which it has to build."""
    for path in sorted(kernels_path().glob("*.cu")):
        for real in ("float", "double"):
            for options in _options(path.name, real):
                yield path, (f"-DREAL={real}", *(f"-D{key}={value}" for key, value in options.items()))


def _options(name: str, real: str) -> Iterator[dict[str, object]]:
    if name == "matmul_tiled.cu":
        for tiles in CONFIGURATIONS[real]:
            for (a, b), vectors in zip(LAYOUTS, VECTORS, strict=True):
                yield {
                    **dict(zip(TILES, tiles, strict=True)), "TRANSPOSE_A": a, "TRANSPOSE_B": b, "ACTIVATION": "relu",
                    "VECTOR_A": vectors, "VECTOR_B": vectors, "VECTOR_C": vectors,
                }  # fmt: skip
        yield {"VECTOR_A": 1, "VECTOR_B": 1, "ACTIVATION": "gelu"}
        yield {"VECTOR_A": 1, "VECTOR_B": 1, "ACTIVATION": "gelu", "GRADIENT": 1, "TRANSPOSE_B": 1}
    elif name == "matmul_mma.cu":
        if real == "float":
            yield from ({"VECTOR_A": v, "VECTOR_B": v, "TRANSPOSE_B": b} for v in (0, 1) for b in (0, 1))
    elif name.startswith("matmul_"):
        for a, b in LAYOUTS[1:]:
            yield {"TRANSPOSE_A": a, "TRANSPOSE_B": b, "ACTIVATION": "relu"}
    elif name == "bias_activation.cu":
        yield from ({"ACTIVATION": activation} for activation in (FUNCTIONS if real == "float" else ["gelu"]))
    else:
        yield {}


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return NVRTC, or None where its package is not installed."""
    for package in ("nvidia.cuda_nvrtc", "nvidia.cu13"):
        try:
            spec = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            continue
        for folder in spec.submodule_search_locations if spec else ():
            for path in sorted(Path(folder, "lib").glob("libnvrtc.so.*")):
                if "builtins" not in path.name and ".alt." not in path.name:
                    return ctypes.CDLL(str(path))
    return None


def compile_kernels(source: str, name: str, arch: str, options: tuple[str, ...] = ()) -> dict[str, Resources]:
    """Return the resources of each kernel of `source` for an architecture such as "sm_90"."""
    nvrtc = library()
    flags = [f"-arch={arch}", "-std=c++17", "--ptxas-options=-v", *options]
    program, size = ctypes.c_void_p(), ctypes.c_size_t()
    nvrtc.nvrtcCreateProgram(ctypes.byref(program), source.encode(), name.encode(), 0, None, None)
    failed = nvrtc.nvrtcCompileProgram(program, len(flags), (ctypes.c_char_p * len(flags))(*map(str.encode, flags)))
    nvrtc.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    buffer = ctypes.create_string_buffer(size.value)
    nvrtc.nvrtcGetProgramLog(program, buffer)
    nvrtc.nvrtcDestroyProgram(ctypes.byref(program))
    log = buffer.value.decode()
    if failed:
        raise NVRTCError(log)
    entries = log.split("Compiling entry function '")[1:]
    return {entry.split("'")[0]: _resources(entry) for entry in entries}


def _resources(entry: str) -> Resources:
    def number(pattern: str) -> int:
        return sum(map(int, re.findall(pattern, entry)))

    return Resources(
        number(r"Used (\d+) registers"),
        number(r"(\d+) bytes smem"),
        number(r"(\d+) bytes stack frame"),
        number(r"(\d+) bytes spill (?:stores|loads)"),
    )


def main(architectures: list[str]) -> bool:
    """Print the table; return whether a kernel spills or uses local memory."""
    print("| kernel | architecture | registers | shared | stack | spilled | options |\n|---|---|---|---|---|---|---|")
    spills = False
    for path, options in variants():
        for arch in architectures:
            for name, r in compile_kernels(read_source(path), path.name, arch, options).items():
                print(
                    f"| {name} | {arch} | {' | '.join(map(str, r))} | {' '.join(o[2:] for o in options)} |", flush=True
                )
                spills |= bool(r.stack or r.spilled)
    return spills


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

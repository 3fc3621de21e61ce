"""What gpunet's own kernels take of each GPU, in every variant under which they have to build.

    python tests/compiler/kernels/resources.py [sm_90 ...]

prints a table of registers and shared memory, each from the least that a variant takes to the most, and fails where one
spills or uses local memory; for sm_75 and sm_90 also where a tile does that only `gpunet tune` tries. Needs the package
nvidia-cuda-nvrtc-cu12 (or the CUDA 13 one) and no GPU.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from gpunet.bench.nvrtc import ARCHITECTURES, Resources, compile_kernels
from gpunet.cuda import CTYPES, read_source
from gpunet.device import kernels_path
from gpunet.ops.activations import FUNCTIONS
from gpunet.ops.tiles import CANDIDATES, TILES

TUNED_FOR = ("sm_75", "sm_90")

FORWARD = {"ACTIVATION": "relu"}
INPUT_GRADIENT = {"ACTIVATION": "gelu", "GRADIENT": 1, "TRANSPOSE_B": 1}  # of all, the largest epilogue
WEIGHT_GRADIENT = {"TRANSPOSE_A": 1, "COLUMN_SUMS": 1}
BY_VECTORS = {"VECTOR_A": 1, "VECTOR_B": 1, "VECTOR_C": 1}


def variants() -> Iterator[tuple[Path, str, tuple[str, ...]]]:
    """Yield every source, what T is there, and the options under which it has to build."""
    for path in sorted(kernels_path().glob("*.cu")):
        for real in ("float", "double"):
            for options in _options(path.stem, real):
                yield path, real, (f"-DREAL={real}", *(f"-D{key}={value}" for key, value in options.items()))


def _options(name: str, real: str) -> Iterator[dict[str, object]]:
    if name in ("matmul_tiled", "matmul_mma"):
        for (rung, dtype), tiles in TILES.items():
            for tile, _ in tiles if (f"matmul_{rung}", CTYPES[dtype]) == (name, real) else ():
                sizes = tile.options()
                yield from (sizes | FORWARD, sizes | FORWARD | BY_VECTORS)
                yield from (sizes | INPUT_GRADIENT | BY_VECTORS, sizes | WEIGHT_GRADIENT)
    elif name.startswith("matmul_"):
        yield from (FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT)
    elif name in ("softmax_cross_entropy", "metrics"):
        yield from ({"LANES": lanes} for lanes in (1, 4, 32))
    elif name == "layer_norm":
        yield from ({"RMS": rms} for rms in (0, 1))
    elif name == "glu":
        yield from ({}, {"ACTIVATION": "silu", "SAVES_OUTPUT": 0}, {"ACTIVATION": "gelu", "SAVES_OUTPUT": 0})
    elif name == "bias_activation":
        yield from ({"ACTIVATION": activation} for activation in (FUNCTIONS if real == "float" else ["gelu"]))
    elif name == "rnn":
        yield from ({"ACTIVATION": activation} for activation in ("tanh", "relu"))
    elif name == "convolution":
        yield from ({"ACTIVATION": activation} for activation in ("relu", "gelu"))
    else:
        yield {}


def candidates() -> Iterator[tuple[str, ...]]:
    """Yield the options of the tiles that `gpunet tune` tries, in the variant that takes the most registers of most."""
    for dtype, tiles in CANDIDATES.items():
        for tile in tiles:
            options = tile.options() | {"REAL": CTYPES[dtype], **INPUT_GRADIENT}
            yield tuple(f"-D{key}={value}" for key, value in options.items())


def measure(arch: str) -> Iterator[tuple[str, str, tuple[str, ...], Resources]]:
    """Yield each kernel, what T is there, its options and what it takes of an architecture."""
    for path, real, options in variants():
        for name, taken in compile_kernels(read_source(path), path.name, arch, options).items():
            yield name, real, options, taken


def main(architectures: list[str]) -> bool:
    """Print the table; return whether a kernel spills or uses local memory."""
    table: dict[str, dict[str, set[int]]] = {}
    spills = False
    for arch in architectures:
        for name, real, options, taken in measure(arch):
            row = table.setdefault(name, {})
            row.setdefault(f"{real} {arch}", set()).add(taken.registers)
            row.setdefault(f"shared bytes, {real}", set()).add(taken.shared)
            spills |= _tell(name, arch, options, taken)
        for options in candidates() if arch in TUNED_FOR else ():
            source = read_source(kernels_path() / "matmul_tiled.cu")
            for name, taken in compile_kernels(source, "matmul_tiled.cu", arch, options).items():
                spills |= _tell(name, arch, options, taken)
    reals = ("float", "double")
    columns = [f"{real} {arch}" for real in reals for arch in architectures] + [f"shared bytes, {r}" for r in reals]
    print(f"| kernel | {' | '.join(columns)} |\n{'|---' * (len(columns) + 1)}|")
    for name, row in table.items():
        print(f"| `{name}` | {' | '.join(_span(row.get(column, set())) for column in columns)} |")
    return spills


def _tell(name: str, arch: str, options: tuple[str, ...], taken: Resources) -> bool:
    """Say where a kernel spills or uses local memory; return whether it does."""
    if not (taken.stack or taken.spilled):
        return False
    print(f"{name} {arch} {' '.join(options)}: {taken}", file=sys.stderr)
    return True


def _span(numbers: set[int]) -> str:
    return " to ".join(f"{n:,}" for n in sorted({min(numbers), max(numbers)})) if numbers else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(ARCHITECTURES)))

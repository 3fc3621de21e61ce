"""What gpunet's own kernels take of each GPU, in every variant under which they have to build.

    python tests/compiler/kernels/resources.py [sm_90 ...]

prints registers, shared memory, stack and spills of every kernel and variant as a table, and fails where one spills.
Needs the package nvidia-cuda-nvrtc-cu12 (or the CUDA 13 one) and no GPU.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

from gpunet.bench.nvrtc import ARCHITECTURES, compile_kernels
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
    elif name == "convolution.cu":
        yield from ({"ACTIVATION": activation} for activation in ("relu", "gelu"))
    else:
        yield {}


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
    sys.exit(main(sys.argv[1:] or list(ARCHITECTURES)))

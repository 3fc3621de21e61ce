"""Registers and memory of gpunet's kernels on each GPU, in every variant that must build.

    python tests/compiler/kernels/resources.py [sm_90 ...]

prints a table of registers and shared memory, minimum to maximum over the variants. It fails if a kernel spills, uses
local memory or exceeds its register bound; the tiles that only `gpunet tune` tries are checked for spills on sm_75 and
sm_90. Needs the package nvidia-cuda-nvrtc-cu12 (or the CUDA 13 one) and no GPU. Results stay in gpunet's cache.
"""

import itertools
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parents[2]))

from compiler.kernels.cubins import compile_cubin

from gpunet.bench.nvrtc import ARCHITECTURES, Resources
from gpunet.cuda import CTYPES, DTYPES, read_source
from gpunet.device import kernels_path
from gpunet.layers import Dropout, Linear
from gpunet.models import MLP, Sequential
from gpunet.ops.activations import FUNCTIONS
from gpunet.ops.linear_gradients import LARGEST_SHARED
from gpunet.ops.tiles import CANDIDATES, TILES, Tile
from gpunet.training.step.mlp import Net

BOUNDED = ("sm_75", "sm_90")  # with register bounds, and with the tiles that only `gpunet tune` tries

FORWARD = {"ACTIVATION": "relu"}
DERIVATIVE = {"ACTIVATION": "gelu", "GRADIENT": 1}  # the largest epilogue
INPUT_GRADIENT = {**DERIVATIVE, "TRANSPOSE_B": 1}
WEIGHT_GRADIENT = {"TRANSPOSE_A": 1, "COLUMN_SUMS": 1}
RULES = [
    {"RULE": rule, "SLOTS": slots, "REGRESSION": regression}
    for rule, slots, regression in (("Adam", 2, 0), ("Sgd", 0, 0), ("Adam", 2, 0), ("Sgd", 1, 0), ("Adam", 2, 1))
]
"""Options of the optimizer in the nets of the persistent kernel."""
BY_VECTORS = {"VECTOR_A": 1, "VECTOR_B": 1, "VECTOR_C": 1}

STORED = ("double", "unsigned char", "float", "long long", "float")  # stored types of features

MOST_REGISTERS = {"matmul_tiled": 208, "matmul_split_k": 176}
MOST_REGISTERS |= {"matmul_mma": 128}  # two blocks of 256 threads per SM
MOST_REGISTERS |= {"matmul_mma3": 255}  # a block of 256 threads per SM
MOST_REGISTERS |= dict.fromkeys(("matmul_register", "matmul_vectorized"), 128)
MOST_REGISTERS |= dict.fromkeys(("matmul_double_buffered", "matmul_warp_tiled"), 112)
BOTH_ALONG_K = 255  # matmul_tiled with both operands contiguous along k: two blocks of 128 threads per SM
MOST_REGISTERS |= {"linear_backward": 128}  # four blocks of 128 threads per SM
MOST_REGISTERS |= dict.fromkeys(("batch_norm_sums", "glu_backward"), 128)  # in double
MOST_REGISTERS |= {"bias_activation_backward": 112}  # two blocks of 256 threads per SM; its grid has one
MOST_REGISTERS |= {"mlp_train": 255}  # a block of 256 threads per SM
MOST_REGISTERS_ELSEWHERE = 80  # three blocks of 256 threads per SM


class Variant(NamedTuple):
    """A source, the type T, and the compiler's options."""

    path: Path
    real: str
    options: tuple[str, ...]


def variants(one_of_each: bool = False) -> Iterator[Variant]:
    """Yield every variant that must build, or one of each group of similar ones."""
    for path in sorted(kernels_path().glob("*.cu")):
        for real in ("float", "double"):
            for alike in _options(path.stem, real):
                for options in alike[:1] if one_of_each else alike:
                    yield _variant(path.name, real, options)


def _options(name: str, real: str) -> Iterator[Sequence[Mapping[str, object]]]:
    """Yield the options of a source, in groups of similar ones; the first of a group uses the most resources."""
    if name in ("matmul_tiled", "matmul_mma", "matmul_mma3"):
        for (kernel, dtype), tiles in TILES.items():
            for tile, _ in tiles if (f"matmul_{kernel}", CTYPES[dtype]) == (name, real) else ():
                sizes = tile.options()
                yield sizes | INPUT_GRADIENT | BY_VECTORS, sizes | FORWARD, sizes | FORWARD | BY_VECTORS
                yield [sizes | WEIGHT_GRADIENT]
    elif name == "linear_backward":
        for tile in _shared(tile for tile, _ in TILES["tiled", DTYPES[real]]):
            sizes = tile.options() | {"COLUMN_SUMS": 1}
            vectors = {"VECTOR_INPUTS": 1, "VECTOR_OUTPUTS": 1}
            yield [sizes | derived | way for derived in (DERIVATIVE, {}) for way in (vectors, {})]
    elif name == "mlp_train":
        parts = zip(_nets(), RULES, STORED, strict=True)
        yield [net | rule | {"SOURCE": source} for net, rule, source in parts] if real == "float" else []
    elif name == "gather":
        yield [{"SOURCE": source} for source in STORED]
    elif name.startswith("matmul_"):
        yield WEIGHT_GRADIENT, INPUT_GRADIENT, FORWARD
    elif name in ("softmax_cross_entropy", "metrics"):
        yield [{"LANES": lanes} for lanes in (1, 4, 32)]
    elif name == "layer_norm":
        yield [{"RMS": rms} for rms in (0, 1)]
    elif name == "glu":
        yield {"ACTIVATION": "gelu", "SAVES_OUTPUT": 0}, {"ACTIVATION": "silu", "SAVES_OUTPUT": 0}, {}
    elif name == "bias_activation":
        others = FUNCTIONS.keys() - {"gelu"} if real == "float" else ()
        yield [{"ACTIVATION": activation} for activation in ("gelu", *sorted(others))]
    elif name == "rnn":
        yield [{"ACTIVATION": activation} for activation in ("tanh", "relu")]
    elif name == "convolution":
        yield [{"ACTIVATION": activation} for activation in ("gelu", "relu")]
    else:
        yield [{}]


def _nets() -> Iterator[Mapping[str, object]]:
    """Yield the options of nets in the persistent kernel: the sizes of the benchmarks, and one net with many
    features.
    """
    for widths in ([784, 128, 10], [64, 64, 10], [784, 512, 512, 10], [1024, 1024, 1024, 512, 256]):
        yield _net(MLP(widths, seed=0))
    activations = ("gelu", "silu", "gelu_tanh", "sigmoid", "softplus")
    pairs = itertools.pairwise((20, 33, 16, 40, 12, 7))
    hidden = [(Linear(*pair, activation=name), Dropout(0.5)) for pair, name in zip(pairs, activations, strict=True)]
    yield _net(Sequential(*itertools.chain(*hidden), Linear(7, 5)))


def _net(model: Sequential) -> Mapping[str, object]:
    net = Net.of(model)
    assert net is not None
    return net.options(model.store.segments, model.store.params.size)


def candidates() -> Iterator[Variant]:
    """Yield the tiles that `gpunet tune` tries, in the variants with the most registers."""
    for (kernel, dtype), tiles in CANDIDATES.items():
        for tile in tiles:
            for options in (INPUT_GRADIENT, WEIGHT_GRADIENT | BY_VECTORS):
                yield _variant(f"matmul_{kernel}.cu", CTYPES[dtype], tile.options() | options)
        for tile in _shared(tiles) if kernel == "tiled" else ():
            yield _variant("linear_backward.cu", CTYPES[dtype], tile.options() | DERIVATIVE | {"COLUMN_SUMS": 1})


def _shared(tiles: Iterable[Tile]) -> Iterator[Tile]:
    """Yield the tiles with which both gradients of a layer are one launch."""
    return (tile for tile in tiles if tile.bm * tile.bn <= LARGEST_SHARED)


def _variant(source: str, real: str, options: Mapping[str, object]) -> Variant:
    flags = (f"-D{key}={value}" for key, value in {"REAL": real, **options}.items())
    return Variant(kernels_path() / source, real, tuple(flags))


def complaints(arch: str, name: str, variant: Variant, taken: Resources, bounded: bool = True) -> list[str]:
    """Return which resources of a kernel exceed the limits on an architecture; registers only where they are
    bounded.
    """
    most = MOST_REGISTERS.get(name, MOST_REGISTERS_ELSEWHERE)
    if name == "matmul_tiled" and "-DTRANSPOSE_B=1" in variant.options:
        most = BOTH_ALONG_K
    held = {
        "local memory": not taken.stack,
        "spills": not taken.spilled,
        "shared memory over 48 KiB": taken.shared <= 48 * 1024,
        f"registers over {most}": taken.registers <= most or not bounded or arch not in BOUNDED,
    }
    return [complaint for complaint, holds in held.items() if not holds]


def measure(arch: str, wanted: Iterable[Variant], threads: int = 1) -> Iterator[tuple[str, Variant, Resources]]:
    """Yield each kernel of the variants with its resources on an architecture."""

    def build(variant: Variant) -> dict[str, Resources]:
        return compile_cubin(read_source(variant.path), variant.path.name, arch, variant.options)[1]

    wanted = list(wanted)
    with ThreadPoolExecutor(threads) as pool:
        for variant, kernels in zip(wanted, pool.map(build, wanted), strict=True):
            for name, taken in kernels.items():
                yield name, variant, taken


def main(architectures: list[str]) -> bool:
    """Print the table; return whether a kernel exceeds its limits."""
    table: dict[str, dict[str, set[int]]] = {}
    failed, threads = False, os.cpu_count() or 1
    for arch in architectures:
        for name, variant, taken in measure(arch, variants(), threads):
            row = table.setdefault(name, {})
            row.setdefault(f"{variant.real} {arch}", set()).add(taken.registers)
            row.setdefault(f"shared bytes, {variant.real}", set()).add(taken.shared)
            failed |= _tell(arch, name, variant, taken)
        for name, variant, taken in measure(arch, candidates(), threads) if arch in BOUNDED else ():
            failed |= _tell(arch, name, variant, taken, bounded=False)  # `gpunet tune` measures their speed
    reals = ("float", "double")
    columns = [f"{real} {arch}" for real in reals for arch in architectures] + [f"shared bytes, {r}" for r in reals]
    print(f"| kernel | {' | '.join(columns)} |\n{'|---' * (len(columns) + 1)}|")
    for name, row in table.items():
        print(f"| `{name}` | {' | '.join(_span(row.get(column, set())) for column in columns)} |")
    return failed


def _tell(arch: str, name: str, variant: Variant, taken: Resources, bounded: bool = True) -> bool:
    """Print which limits are exceeded; return whether there are any."""
    said = complaints(arch, name, variant, taken, bounded)
    if said:
        print(f"{name} {arch} {' '.join(variant.options)}: {', '.join(said)}; {taken}", file=sys.stderr)
    return bool(said)


def _span(numbers: set[int]) -> str:
    return " to ".join(f"{n:,}" for n in sorted({min(numbers), max(numbers)})) if numbers else "-"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(ARCHITECTURES)))

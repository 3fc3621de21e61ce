"""Print the instruction mix of the main loop of each kernel variant on a GPU architecture.

    python -m benchmarks.instruction_mix [KERNEL ...] [--arch sm_90] [--candidates]

NVRTC compiles the kernels and nvdisasm disassembles them; neither needs a GPU. The main loop is the loop with the most
multiply-adds, not counting those of inner loops. Every other instruction takes an issue slot from a multiply-add: a
loop with 80 % FFMA reaches at most 80 % of peak throughput.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.gpu_report.section import markdown_table
from gpunet.bench.nvrtc import Resources, compile_cubin
from gpunet.cuda import read_source
from gpunet.device import kernels_path
from gpunet.errors import GpunetError, MissingPackageError
from gpunet.ops.linear_gradients import LARGEST_SHARED
from gpunet.ops.tiles import CANDIDATES, FLOAT32, TILES

KERNELS = ("matmul_tiled", "linear_backward", "matmul_mma", "matmul_mma3", "bias_activation")

BY_VECTORS = {"VECTOR_A": 1, "VECTOR_B": 1, "VECTOR_C": 1}
LAYOUTS = {  # as launched by a layer: forward, input gradient, weight gradient
    "NN": {**BY_VECTORS, "ACTIVATION": "relu"},
    "NT": {**BY_VECTORS, "ACTIVATION": "relu", "GRADIENT": 1, "TRANSPOSE_B": 1},
    "TN": {**BY_VECTORS, "TRANSPOSE_A": 1, "COLUMN_SUMS": 1},
}

MULTIPLY_ADDS = ("FFMA", "HMMA", "DFMA")
INSTRUCTION = re.compile(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?\w+ )?([A-Z][A-Z0-9]*)(?:.*`\((\.L_\w+)\))?")


class Variant(NamedTuple):
    """A kernel variant: its name in the table, and its macros."""

    name: str
    options: Mapping[str, object]


class Instruction(NamedTuple):
    """An instruction: its opcode without modifiers, and the target label of a branch."""

    opcode: str
    target: str | None


class Mix(NamedTuple):
    """A compiled kernel: its resources, and the number of instructions of each opcode in the main loop."""

    kernel: str
    resources: Resources
    loop: Counter[str]

    def share(self, opcode: str) -> float:
        """Return the fraction of the main loop's instructions with this opcode."""
        return self.loop[opcode] / max(self.loop.total(), 1)


def variants(kernel: str, candidates: bool = False) -> Iterator[Variant]:
    """Yield the float32 variants of a source, with the default tiles or all that `gpunet tune` tries."""
    product = kernel.removeprefix("matmul_") if kernel in ("matmul_mma", "matmul_mma3") else "tiled"
    tiles = CANDIDATES[product, FLOAT32] if candidates else [tile for tile, _ in TILES[product, FLOAT32]]
    if kernel == f"matmul_{product}":
        for tile in tiles:
            for layout, options in LAYOUTS.items():
                yield Variant(f"{tile} {layout}", {**tile.options(), **options})
    elif kernel == "linear_backward":
        epilogue = {"VECTOR_INPUTS": 1, "VECTOR_OUTPUTS": 1, "COLUMN_SUMS": 1, "ACTIVATION": "relu", "GRADIENT": 1}
        for tile in tiles:
            if tile.bm * tile.bn <= LARGEST_SHARED:
                yield Variant(str(tile), {**tile.options(), **epilogue})
    else:
        yield Variant("", {})


def measure(kernel: str, variant: Variant, arch: str) -> list[Mix]:
    """Compile a variant of a source; return the mix of each of its kernels.

    Raises:
        CompileError: the source is missing or does not compile.
        MissingPackageError: NVRTC or nvdisasm is not installed.
    """
    path = kernels_path() / f"{kernel}.cu"
    flags = [f"-D{name}={value}" for name, value in variant.options.items()]
    cubin, kernels = compile_cubin(read_source(path), path.name, arch, flags)
    loops = {name: main_loop(lines) for name, lines in functions(disassemble(cubin))}
    return [Mix(name, resources, loops[name]) for name, resources in kernels.items()]


def disassemble(cubin: bytes) -> str:
    """Return the assembly of a cubin; raise `MissingPackageError` if nvdisasm is not installed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        command = [nvdisasm(), "--print-code", "--no-dataflow", path]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def nvdisasm() -> Path:
    """Return the path of nvdisasm, from its Python package or else from PATH."""
    try:
        spec = importlib.util.find_spec("nvidia.cu13")
    except ModuleNotFoundError:
        spec = None
    for root in spec.submodule_search_locations or () if spec else ():
        for path in Path(root, "bin").glob("nvdisasm*"):
            return path
    if found := shutil.which("nvdisasm"):
        return Path(found)
    raise MissingPackageError("nvdisasm is not installed: pip install nvidia-cuda-nvdisasm (5 MB; it needs no GPU).")


def functions(assembly: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the name and the lines of each function."""
    for part in assembly.split("\n.text.")[1:]:
        name, _, text = part.partition(":\n")
        yield name, text.splitlines()


def main_loop(lines: Iterable[str]) -> Counter[str]:
    """Count the opcodes in the main loop of a function; the count is empty without a loop."""
    code: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in lines:
        if found := INSTRUCTION.match(line):
            code.append(Instruction(found[1], found[2]))
        elif line.startswith(".L_"):
            labels[line.rstrip(":")] = len(code)
    loops = _loops(code, labels)
    bodies = (Counter(code[i].opcode for i in _body(loop, loops)) for loop in loops)
    return max(
        bodies, key=lambda body: (sum(body[opcode] for opcode in MULTIPLY_ADDS), body.total()), default=Counter()
    )


def _loops(code: Sequence[Instruction], labels: Mapping[str, int]) -> list[range]:
    """Return the loops, each from the target of a backward branch to the last branch to it."""
    ends = {}
    for i, instruction in enumerate(code):
        start = labels.get(instruction.target or "", len(code))
        if start < i:  # a branch to itself is only padding at the end of a function
            ends[start] = i + 1
    return [range(start, stop) for start, stop in ends.items()]


def _body(loop: range, loops: Iterable[range]) -> Iterator[int]:
    """Yield the indices of a loop's instructions, without those of inner loops."""
    inner = [other for other in loops if other != loop and other.start in loop and other.stop <= loop.stop]
    return (i for i in loop if not any(i in other for other in inner))


def row(variant: Variant, mix: Mix) -> Iterator[object]:
    """Yield the cells of a row of the table."""
    others = [f"{opcode} {count}" for opcode, count in mix.loop.most_common() if opcode not in MULTIPLY_ADDS]
    yield from (f"`{mix.kernel}`", variant.name, mix.resources.registers, mix.resources.spilled, mix.resources.shared)
    yield mix.loop.total()
    yield from (f"{100 * mix.share(opcode):.1f} %" for opcode in ("FFMA", "HMMA"))
    yield ", ".join(others[:6])


HEAD = ("kernel", "variant", "registers", "spilled bytes", "shared bytes", "loop", "FFMA", "HMMA", "other opcodes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 if something is missing or does not compile."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instruction_mix", description=__doc__.splitlines()[0])
    parser.add_argument("kernels", nargs="*", default=KERNELS, metavar="KERNEL", help="file in kernels/ without .cu")
    parser.add_argument("--arch", default="sm_90", help="default: %(default)s")
    parser.add_argument("--candidates", action="store_true", help="use all tiles that `gpunet tune` tries")
    options = parser.parse_args(arguments)
    try:
        rows = (
            list(row(variant, mix))
            for kernel in options.kernels
            for variant in variants(kernel, options.candidates)
            for mix in measure(kernel, variant, options.arch)
        )
        for line in markdown_table(HEAD, rows):
            print(line, flush=True)
    except GpunetError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

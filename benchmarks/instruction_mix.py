"""Print what the main loop of a kernel is made of, in each variant, on a GPU architecture.

    python -m benchmarks.instruction_mix [KERNEL ...] [--arch sm_90] [--candidates]

NVRTC compiles and nvdisasm disassembles: neither needs a GPU. The main loop is the one with the most multiply-adds of
its own; instructions of loops inside it are not counted. An instruction that is not a multiply-add takes an issue slot
from one: a loop with a share of 80 % FFMA reaches at most 80 % of the peak.
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
from gpunet.ops._linear import LARGEST_SHARED
from gpunet.ops.tiles import CANDIDATES, FLOAT32, TILES

KERNELS = ("matmul_tiled", "linear_backward", "matmul_mma", "bias_activation")

BY_VECTORS = {"VECTOR_A": 1, "VECTOR_B": 1, "VECTOR_C": 1}
LAYOUTS = {  # as a layer launches them: forward, the input gradient, the weight gradient
    "NN": {**BY_VECTORS, "ACTIVATION": "relu"},
    "NT": {**BY_VECTORS, "ACTIVATION": "relu", "GRADIENT": 1, "TRANSPOSE_B": 1},
    "TN": {**BY_VECTORS, "TRANSPOSE_A": 1, "COLUMN_SUMS": 1},
}

MULTIPLY_ADDS = ("FFMA", "HMMA", "DFMA")
INSTRUCTION = re.compile(r"\s+/\*[0-9a-f]+\*/\s+(?:@!?\w+ )?([A-Z][A-Z0-9]*)(?:.*`\((\.L_\w+)\))?")


class Variant(NamedTuple):
    """A variant of a kernel: how the table calls it, and the compiler's options."""

    name: str
    options: Mapping[str, object]


class Instruction(NamedTuple):
    """An instruction: its opcode without modifiers, and for a branch the label that it goes to."""

    opcode: str
    target: str | None


class Mix(NamedTuple):
    """A kernel on an architecture: what ptxas says, and how often each opcode is in the main loop."""

    kernel: str
    taken: Resources
    loop: Counter[str]

    def share(self, opcode: str) -> float:
        """Return the share of an opcode in the main loop."""
        return self.loop[opcode] / max(self.loop.total(), 1)


def variants(kernel: str, candidates: bool = False) -> Iterator[Variant]:
    """Yield the variants of a source in float32, with the tiles in use or those that `gpunet tune` tries."""
    rung = "mma" if kernel == "matmul_mma" else "tiled"
    tiles = CANDIDATES[FLOAT32] if candidates and rung == "tiled" else [tile for tile, _ in TILES[rung, FLOAT32]]
    if kernel == f"matmul_{rung}":
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
    """Compile a variant of a source and return the mix of each kernel in it.

    Raises:
        CompileError: the source is not there or does not compile.
        MissingPackageError: there is no NVRTC or no nvdisasm; says how to get it.
    """
    path = kernels_path() / f"{kernel}.cu"
    flags = [f"-D{name}={value}" for name, value in variant.options.items()]
    cubin, resources = compile_cubin(read_source(path), path.name, arch, flags)
    loops = {name: main_loop(lines) for name, lines in functions(disassemble(cubin))}
    return [Mix(name, taken, loops[name]) for name, taken in resources.items()]


def disassemble(cubin: bytes) -> str:
    """Return the assembly of machine code.

    Raises:
        MissingPackageError: there is no nvdisasm; says how to get it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        command = [nvdisasm(), "--print-code", "--no-dataflow", path]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def nvdisasm() -> Path:
    """Return the path of nvdisasm: of its Python package, else of a CUDA toolkit on PATH."""
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
    """Return how often each opcode is in the main loop of a function; nothing where it has no loop."""
    code: list[Instruction] = []
    labels: dict[str, int] = {}
    for line in lines:
        if found := INSTRUCTION.match(line):
            code.append(Instruction(found[1], found[2]))
        elif line.startswith(".L_"):
            labels[line.rstrip(":")] = len(code)
    loops = _loops(code, labels)
    bodies = (Counter(code[i].opcode for i in _own(loop, loops)) for loop in loops)
    return max(
        bodies, key=lambda body: (sum(body[opcode] for opcode in MULTIPLY_ADDS), body.total()), default=Counter()
    )


def _loops(code: Sequence[Instruction], labels: Mapping[str, int]) -> list[range]:
    """Return the loops: from the target of a backward branch to the last branch that goes there."""
    ends = {}
    for i, instruction in enumerate(code):
        start = labels.get(instruction.target or "", len(code))
        if start < i:  # not a branch to itself, which only fills the end of a function
            ends[start] = i + 1
    return [range(start, stop) for start, stop in ends.items()]


def _own(loop: range, loops: Iterable[range]) -> Iterator[int]:
    """Yield the places in a loop that are in no loop inside it."""
    inside = [other for other in loops if other != loop and other.start in loop and other.stop <= loop.stop]
    return (i for i in loop if not any(i in other for other in inside))


def row(variant: Variant, mix: Mix) -> Iterator[object]:
    """Yield the cells of a line of the table."""
    others = [f"{opcode} {count}" for opcode, count in mix.loop.most_common() if opcode not in MULTIPLY_ADDS]
    yield from (f"`{mix.kernel}`", variant.name, mix.taken.registers, mix.taken.spilled, mix.taken.shared)
    yield mix.loop.total()
    yield from (f"{100 * mix.share(opcode):.1f} %" for opcode in ("FFMA", "HMMA"))
    yield ", ".join(others[:6])


HEAD = ("kernel", "variant", "registers", "spilled bytes", "shared bytes", "loop", "FFMA", "HMMA", "most of the rest")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 where something is missing or does not compile."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.instruction_mix", description=__doc__.splitlines()[0])
    parser.add_argument("kernels", nargs="*", default=KERNELS, metavar="KERNEL", help="files of kernels/ without .cu")
    parser.add_argument("--arch", default="sm_90", help="default: %(default)s")
    parser.add_argument("--candidates", action="store_true", help="with every tile that `gpunet tune` tries")
    wanted = parser.parse_args(arguments)
    try:
        rows = (
            list(row(variant, mix))
            for kernel in wanted.kernels
            for variant in variants(kernel, wanted.candidates)
            for mix in measure(kernel, variant, wanted.arch)
        )
        for line in markdown_table(HEAD, rows):
            print(line, flush=True)
    except GpunetError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A kernel of the user's own: what its source says about its launch and its arguments."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from gpunet.bench.case import Call, Case
from gpunet.cuda import Kernel, read_source
from gpunet.cuda.arithmetic import evaluate, parse_arithmetic
from gpunet.device import Array
from gpunet.errors import ArgumentError

LAUNCH = re.compile(r"^\s*//\s*launch:\s*grid\s*\((.*)\),\s*block\s*\((.*)\)\s*$", re.MULTILINE)
CONSTANT = re.compile(r"^\s*(?:#define\s+(\w+)\s+|constexpr\s+int\s+(\w+)\s*=\s*)(\d+)\b", re.MULTILINE)


class OwnKernel:
    """A kernel in a file, named as "my.cu:my_kernel".

    It gets its arguments by the names of its parameters, and its launch by a line of the source before it:

        // launch: grid (ceil_div(m, TILE) * ceil_div(n, TILE)), block (TILE, TILE)

    in whose expressions stand its integer arguments, constants (`#define TILE 16`, `constexpr int TILE = 16;`) and
    `ceil_div`.

    Args:
        spec: file and kernel.

    Raises:
        ArgumentError: `spec` is not of that form, or there is no such line.
        CompileError: there is no such file, or no such kernel in it.
    """

    def __init__(self, spec: str):
        path, colon, self.name = spec.rpartition(":")
        if not colon or not path or not self.name.isidentifier():
            raise ArgumentError(f"kernel {spec!r}: give a file and a kernel in it, such as my.cu:my_kernel.")
        self.kernel = Kernel(Path(path).resolve(), self.name)
        self.source = read_source(self.kernel.path)
        self.parameters = [parameter.name for parameter in self.kernel.signature.parameters]
        begin = re.search(rf"__global__[^;{{]*?\b{self.name}\s*\(", self.source)
        launches = LAUNCH.findall(self.source[: begin.start() if begin else 0])
        if not launches:
            raise ArgumentError(
                f"{path}: no launch is stated for {self.name}; put a line like "
                "`// launch: grid (ceil_div(m, 16) * ceil_div(n, 16)), block (256)` before it."
            )
        self.grid, self.block = launches[-1]
        self.constants = {define or constant: int(value) for define, constant, value in CONSTANT.findall(self.source)}

    def serves(self, case: Case) -> bool:
        """Say whether the kernel is meant for a case: its source speaks of each macro that is switched on there."""
        return case.arguments is not None and all(
            re.search(rf"\b{macro}\b", self.source) for macro, value in (case.options or {}).items() if value == 1
        )

    def prepare(self, case: Case, xp: ModuleType, **operands: Array) -> Call:
        """Bind the kernel to the operands of a case; a call launches it.

        Raises:
            ArgumentError: a parameter that the case has no argument for, or a launch that cannot be worked out.
            GpunetError: as for `gpunet.cuda.Kernel.prepare`.
        """
        assert case.arguments is not None
        arguments, results = case.arguments(xp, **operands)
        if unknown := [name for name in self.parameters if name not in arguments]:
            raise ArgumentError(
                f"{self.name}: no argument for {', '.join(unknown)}; {case.op} gives {', '.join(arguments)}."
            )
        known = self.constants | {name: value for name, value in arguments.items() if isinstance(value, int)}
        grid, block = self._dimensions(self.grid, known), self._dimensions(self.block, known)
        given = [arguments[name] for name in self.parameters]
        launch = self.kernel.prepare(grid, block, *given, options=case.options)

        def call() -> tuple[Array, ...]:
            launch()
            return results

        return call

    def _dimensions(self, expressions: str, known: Mapping[str, Any]) -> tuple[int, ...]:
        functions = {"ceil_div": lambda a, b: -(-a // b)}
        try:
            return tuple(map(int, evaluate(parse_arithmetic(f"({expressions},)", functions), known, functions)))
        except (SyntaxError, NameError, ZeroDivisionError, TypeError) as error:
            raise ArgumentError(f"{self.name}: its launch ({expressions}) cannot be worked out: {error}.") from None

"""Run a user's own kernel with the launch and arguments that its source declares."""

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

    Its parameters get the arguments of a case with their names. A comment before the kernel declares its launch:

        // launch: grid (ceil_div(m, TILE) * ceil_div(n, TILE)), block (TILE, TILE)

    The expressions may use the kernel's integer arguments, constants of the source (`#define TILE 16`,
    `constexpr int TILE = 16;`) and `ceil_div`. A source without this line raises `ArgumentError`.
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
                f"{path}: no launch is declared for {self.name}; put a line like "
                "`// launch: grid (ceil_div(m, 16) * ceil_div(n, 16)), block (256)` before it."
            )
        self.grid, self.block = launches[-1]
        self.constants = {define or constant: int(value) for define, constant, value in CONSTANT.findall(self.source)}

    def serves(self, case: Case) -> bool:
        """Return whether the kernel supports a case: its source contains every macro that the case sets to 1."""
        return case.arguments is not None and all(
            re.search(rf"\b{macro}\b", self.source) for macro, value in (case.options or {}).items() if value == 1
        )

    def prepare(self, case: Case, xp: ModuleType, **operands: Array) -> Call:
        """Bind the kernel to the operands of a case; a call launches it.

        Raises:
            ArgumentError: a parameter has no argument in the case, or the launch cannot be evaluated.
        """
        assert case.arguments is not None
        arguments, results = case.arguments(xp, **operands)
        if unknown := [name for name in self.parameters if name not in arguments]:
            raise ArgumentError(
                f"{self.name}: no argument for {', '.join(unknown)}; {case.op} has {', '.join(arguments)}."
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
            raise ArgumentError(f"{self.name}: its launch ({expressions}) cannot be evaluated: {error}.") from None

"""Read the symbols of a compiled library: `__shared__` and `__device__` variables, source lines of addresses."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from gpunet.simulator.compiler import NAMED


class SharedVariable(NamedTuple):
    """A `__shared__` variable, its offset in static shared memory, and the function that declares it, or ""."""

    offset: int
    nbytes: int
    name: str
    function: str


class DeviceVariable(NamedTuple):
    """A `__device__` variable and its offset from the table of kernels."""

    offset: int
    nbytes: int
    name: str


class Symbols:
    """The symbols of the library at `path`."""

    def __init__(self, path: Path):
        self.path = path

    @cached_property
    def shared_variables(self) -> list[SharedVariable]:
        """The `__shared__` variables, sorted by offset. They are the library's thread-local variables."""
        variables = set()
        for line in _output("readelf", "-sW", self.path):
            # "    12: 0000000000000040  4096 TLS  LOCAL  DEFAULT  20 _ZZ6matmulE2As"
            match = re.match(r"\s*\d+: ([0-9a-f]+)\s+(\d+) TLS .* _Z(\w+)$", line)
            if match and "shared_anchor" not in match[3]:
                variables.add(SharedVariable(int(match[1], 16), int(match[2]), *_declaration(match[3])))
        return sorted(variables)

    @cached_property
    def device_variables(self) -> list[DeviceVariable]:
        """The `__device__` variables: the objects in the sections .data and .bss."""
        lines = _output("readelf", "-SsWC", self.path)
        # "  [24] .bss              NOBITS          0000000000004180 003180 0001e0 00  WA  0   0 32"
        sections = {m[1] for line in lines if (m := re.match(r"\s*\[\s*(\d+)\] \.(?:data|bss) ", line))}
        # "    25: 000000000000403c     4 OBJECT  LOCAL  DEFAULT   23 counter"
        objects = [m for line in lines if (m := re.match(r"\s*\d+: (\w+)\s+([1-9]\d*) OBJECT .* (\d+) (\S.*)$", line))]
        table = next(int(m[1], 16) for m in objects if m[4] == "gpunet_kernels")
        return [DeviceVariable(int(m[1], 16) - table, int(m[2]), m[4]) for m in objects if m[3] in sections]

    def shared_variables_of(self, kernel: str, kernels: Iterable[str]) -> list[SharedVariable]:
        """Return the variables that `kernel` may use: its own, and those of all device functions."""
        others = {_without_arguments(other) for other in kernels} - {_without_arguments(kernel)}
        return [v for v in self.shared_variables if v.function not in others]

    def name_shared(self, text: str) -> str:
        """Replace each `{static 64}` in a text by the name of a `__shared__` variable and an offset in it."""
        return re.sub(r"\{static (\d+)\}", lambda m: self._variable(int(m[1])), text)

    def frames(self, addresses: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
        """Return the functions and lines ("file:line") at each address, innermost inlined call first.

        The simulator's headers are left out.
        """
        frames: dict[str, list[tuple[str, str]]] = {address: [] for address in addresses}
        lines = iter(_output("addr2line", "-aifC", "-e", self.path, *frames) if frames else ())
        for text in lines:
            if text.startswith("0x"):
                found = frames[f"{int(text, 16):x}"]
                continue
            file, _, line = next(lines).split(" ")[0].rpartition(":")
            if not Path(file).is_relative_to(NAMED):
                found.append((_plain_name(text), f"{Path(file).name}:{line}"))
        return frames

    def _variable(self, offset: int) -> str:
        for v in self.shared_variables:
            if v.offset <= offset < v.offset + v.nbytes:
                return f"{v.name} at byte {offset - v.offset}"
        return f"static memory at byte {offset}"


def _declaration(mangled: str) -> tuple[str, str]:
    """Return a variable's name and its function: "s" and "nets::scale" for "ZN4nets5scaleEPfE1s".

    The function is empty for a variable at file scope ("L2As").
    """
    local = re.fullmatch(r"Z(\w+)E\d+(\w+?)(?:_\d+)?", mangled)
    if local is None:
        return re.sub(r"^\D*\d+", "", mangled), ""
    function, name = local.groups()
    names, rest = [], function.removeprefix("N")
    while length := re.match(r"\d+", rest):
        end = length.end() + int(length[0])
        names.append(rest[length.end() : end])
        rest = rest[end:]
    return name, "::".join(part for part in names if part != "_GLOBAL__N_1")


def _without_arguments(kernel: str) -> str:
    """Return "nets::scale" for "nets::scale<float>" and "nets::scale(float*)"."""
    return re.split("[<(]", kernel)[0].strip()


def _plain_name(function: str) -> str:
    """Return "reduce" for "float reduce<8>(float*, int)"."""
    while (shorter := re.sub(r"<[^<>]*>|\([^()]*\)( const)?$", "", function)) != function:
        function = shorter
    return function.split(" ")[-1]


def _output(tool: str, *arguments: str | Path) -> list[str]:
    """Run a tool of binutils, on which g++ depends too, and return its output lines."""
    return subprocess.run([tool, *arguments], capture_output=True, text=True, check=True).stdout.splitlines()

"""Read a kernel's source: its declaration and the headers that it includes."""

from __future__ import annotations

import functools
import re
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from gpunet.cuda.arithmetic import parse_arithmetic
from gpunet.device import kernels_path
from gpunet.errors import CompileError
from gpunet.files import check_regular

DTYPES: dict[str, np.dtype[Any]] = {
    "float": np.dtype(np.float32),
    "double": np.dtype(np.float64),
    "int": np.dtype(np.int32),
    "Int": np.dtype(np.int64),  # defined in kernels/cpu/common.h
    "long long": np.dtype(np.int64),
    "unsigned": np.dtype(np.uint32),
    "unsigned long long": np.dtype(np.uint64),
    "signed char": np.dtype(np.int8),
    "unsigned char": np.dtype(np.uint8),
    "short": np.dtype(np.int16),
    "unsigned short": np.dtype(np.uint16),
    "bool": np.dtype(bool),
}
CTYPES = {dtype: ctype for ctype, dtype in DTYPES.items()}
OPEN = ("T", "S")
"""Types that a source leaves open. T is the type of the first array of type T; S is the type of the option SOURCE."""


class Declaration(NamedTuple):
    """How the functions of a kind begin in their source.

    Attributes:
        begin: a regular expression up to the name, which replaces %s.
        text: the same for an error message.
    """

    begin: str
    text: str


CUDA_KERNEL = Declaration(r'extern\s+"C"\s+__global__[^;{]*?\b%s', 'kernel extern "C" __global__ ... %s(...)')


class Parameter(NamedTuple):
    """A declared parameter of a kernel."""

    name: str
    ctype: str
    pointer: bool
    const: bool
    size: CodeType | None
    optional: bool


@functools.cache
def read_source(path: Path) -> str:
    """Return a source with its headers inlined, so that a compiler's cache notices their changes.

    Raises:
        CompileError: the file or a header that it includes cannot be read.
    """
    return _expanded(path, set())


def _expanded(path: Path, seen: set[Path]) -> str:
    seen.add(path)
    try:
        check_regular(path)
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise CompileError(f"{path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise CompileError(f"{path} is not UTF-8 text: {error}.") from None
    lines = [f'#line 1 "{path.name}"']
    for number, line in enumerate(text.splitlines(), 1):
        if include := re.fullmatch(r'\s*#include\s+"([^"]+)".*', line):
            header = path.parent / include[1]
            if not header.exists():  # a user's own file may include gpunet's headers
                header = kernels_path() / include[1]
            lines += [*([] if header in seen else [_expanded(header, seen)]), f'#line {number + 1} "{path.name}"']
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def parse_parameters(source: str, name: str, declaration: Declaration = CUDA_KERNEL) -> tuple[Parameter, ...]:
    """Return the parameters of the function `name` as its source declares them.

    Raises:
        CompileError: no such function, an unsupported parameter type, or a size with unknown names.
    """
    found = re.search(rf"{declaration.begin % name}\s*\((.*?)\)\s*\{{", source, re.DOTALL)
    if found is None:
        raise CompileError(f"no {declaration.text % name} in the source.")
    parameters = tuple(
        _parameter(name, declared, comment)
        for line in found[1].splitlines()
        for code, _, comment in [line.partition("//")]
        for declared in code.split(",")
        if declared.strip()
    )
    known = {p.name for p in parameters if not p.pointer} | {"grid_x", "grid_y", "grid_z"}
    for p in parameters:
        if p.size is not None and (unknown := set(p.size.co_names) - known):
            raise CompileError(f"{name}: the size of {p.name} uses {', '.join(unknown)}, not a scalar parameter.")
    return parameters


def parse_flops(source: str, name: str, declaration: Declaration = CUDA_KERNEL) -> CodeType | None:
    """Return the expression of the comment line "FLOPs: ..." before the function `name`, or None."""
    found = re.search(rf"// FLOPs: (.+)\n(?://.*\n)*{declaration.begin % name}", source)
    if found is None:
        return None
    try:
        return parse_arithmetic(found[1])
    except SyntaxError as error:
        raise CompileError(f'{name}: the line "FLOPs: {found[1]}" is not arithmetic: {error}.') from None


def _parameter(function: str, declared: str, comment: str) -> Parameter:
    words = re.sub(r"\b(const|__restrict__)\b", " ", declared).replace("*", " * ").split()
    ctype, parameter = " ".join(word for word in words[:-1] if word != "*"), words[-1]
    if ctype not in OPEN and ctype not in DTYPES:
        raise CompileError(f"{function}: the type of {declared.strip()!r} is not one of T, {', '.join(DTYPES)}.")
    size = re.match(r"\s*\[(.+?)\]", comment)
    try:
        code = parse_arithmetic(size[1]) if size else None
    except SyntaxError:
        raise CompileError(f"{function}: the size of {parameter} is not an expression: {comment.strip()!r}.") from None
    return Parameter(parameter, ctype, "*" in words, "const" in declared.split(), code, "or null" in comment)

"""Turn preprocessed CUDA into C++: the few words that a header cannot define, and the table of kernels."""

from __future__ import annotations

import re
from dataclasses import dataclass

from gpunet.simulator.shared_declarations import rewrite_shared, split

_KERNEL = re.compile(r"__global__\s+(?P<head>[\w\s:*&]*?)\b(?P<name>\w+)\s*\(")
_LAUNCH_BOUNDS = re.compile(r"\b__launch_bounds__\s*\(")


@dataclass(frozen=True)
class KernelDeclaration:
    """A kernel as its source declares it; the parameters' types are the compiler's to say."""

    name: str
    parameters: tuple[str, ...]
    max_threads: str


def rewrite(text: str) -> str:
    """Return the preprocessed source as C++ that g++ compiles with `runtime/device.h`, the kernel table at its end.

    Line numbers do not move.
    """
    kernels, text = find_kernels(text)
    text = rewrite_shared(text)
    # A kernel that is inlined into its uninstrumented caller would not be checked.
    text = re.sub(r"\b__global__\b", "__attribute__((noinline))", text)
    return text + _kernel_table(kernels)


def _kernel_table(kernels: list[KernelDeclaration]) -> str:
    """Return the definition of the table that the engine reads, an array of `KernelEntry` that ends in an empty one."""
    rows = "".join(
        f'  {{"{k.name}", simulator::types_of(&{k.name}), "{",".join(k.parameters)}", {k.max_threads}, '
        f"simulator::call<&{k.name}>}},\n"
        for k in kernels
    )
    table = 'extern "C" __attribute__((visibility("default"))) const KernelEntry gpunet_kernels[]'
    return f'\n# 1 "kernel table"\n#include "export.h"\n{table} = {{\n{rows}  {{}}\n}};\n'


def find_kernels(text: str) -> tuple[list[KernelDeclaration], str]:
    """Return the kernels that `text` defines (templates and mere declarations excepted) and `text` without bounds."""
    kernels = {}
    position = 0
    while (position := text.find("__global__", position)) >= 0:
        text, max_threads = _take_launch_bounds(text, position)
        match = _KERNEL.match(text, position)
        position += len("__global__")
        if match is None:
            continue
        end = _closing(text, match.end() - 1)
        is_template = text[: match.start()].rstrip().endswith(">")
        if not is_template and text[end + 1 :].lstrip().startswith("{"):
            names = _parameter_names(text[match.end() : end])
            kernels[match["name"]] = KernelDeclaration(match["name"], names, max_threads)
    return list(kernels.values()), text


def _take_launch_bounds(text: str, start: int) -> tuple[str, str]:
    """Remove the `__launch_bounds__` of the declaration at `start`; also return its first argument."""
    bounds = _LAUNCH_BOUNDS.search(text, start, _declaration_end(text, start))
    if bounds is None:
        return text, "1024"
    end = _closing(text, bounds.end() - 1)
    first = split(text[bounds.end() : end])[0]
    newlines = "\n" * text.count("\n", bounds.start(), end)
    return text[: bounds.start()] + newlines + text[end + 1 :], first


def _declaration_end(text: str, start: int) -> int:
    """Return where the body or the end of the declaration at `start` is."""
    match = re.compile("[{;]").search(text, start)
    return match.start() if match else len(text)


def _closing(text: str, opening: int) -> int:
    """Return the place of the parenthesis that closes the one at `opening` (or the text's end where none does)."""
    depth = 0
    for i in range(opening, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    return len(text)


def _parameter_names(text: str) -> tuple[str, ...]:
    declared = (part.partition("=")[0] for part in split(text))
    return tuple(re.findall(r"\w+", part)[-1] for part in declared if part.strip() not in ("", "void"))

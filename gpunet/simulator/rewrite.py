"""Rewrite preprocessed CUDA as C++: keywords that a header cannot define, and a table of the kernels."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gpunet.simulator.inline_ptx import translate_ptx
from gpunet.simulator.kernel_declarations import Kernel, find_kernels
from gpunet.simulator.shared_declarations import rewrite_shared
from gpunet.simulator.unsupported import refuse_unsupported


def rewrite(text: str, expressions: Sequence[str] = ()) -> str:
    """Rewrite preprocessed CUDA as C++ for `runtime/device.h`, with the kernel table at the end.

    Line numbers do not change. `expressions` are instances of templates, such as "scale<float>". What is not simulated
    raises `Refusal`.
    """
    refuse_unsupported(text)
    kernels, text = find_kernels(translate_ptx(text), expressions)
    text = rewrite_shared(text)
    text = re.sub(r"\b__global__\b", "GPUNET_KERNEL", text)
    return text + _kernel_table(kernels)


def _kernel_table(kernels: list[Kernel]) -> str:
    """Return the definition of the table that the engine reads, an array of `KernelEntry` with an empty last one.

    An entry is defined in its kernel's namespace, whose types the kernel's name and parameters may use.
    """
    entries = "".join(_entry(f"gpunet_entry{i}", kernel) for i, kernel in enumerate(kernels))
    rows = "".join(f"{_scope(kernel)}::gpunet_entry{i}, " for i, kernel in enumerate(kernels))
    table = 'extern "C" __attribute__((visibility("default"))) const KernelEntry gpunet_kernels[]'
    return f'\n# 1 "kernel table"\n#include "export.h"\n{entries}{table} = {{{rows}{{}}}};\n'


def _entry(name: str, k: Kernel) -> str:
    entry = (
        f'constexpr ::KernelEntry {name} = {{"{k.name}", ::simulator::types_of({_address(k)}), '
        f'"{",".join(k.parameters)}", {k.max_threads}, ::simulator::call<{_address(k)}>}};'
    )
    return f"namespace {_scope(k)} {{ {entry} }}\n" if _scope(k) else f"{entry}\n"


def _scope(kernel: Kernel) -> str:
    return re.split("[<(]", kernel.name)[0].rpartition("::")[0]


def _address(kernel: Kernel) -> str:
    if kernel.types is None:
        return f"&{kernel.name}"
    return f"static_cast<void (*)({kernel.types})>(&{kernel.name.partition('(')[0]})"

"""Turn preprocessed CUDA into C++: the few words that a header cannot define, and the table of kernels."""

from __future__ import annotations

import re
from collections.abc import Sequence

from gpunet.simulator.inline_ptx import translate_ptx
from gpunet.simulator.kernel_declarations import Kernel, find_kernels
from gpunet.simulator.shared_declarations import rewrite_shared
from gpunet.simulator.unsupported import refuse_unsupported


def rewrite(text: str, expressions: Sequence[str] = ()) -> str:
    """Return the preprocessed source as C++ that g++ compiles with `runtime/device.h`, the kernel table at its end.

    Line numbers do not move. `expressions` name instances of templates, such as "scale<float>".

    Raises:
        Refusal: something that is not simulated.
    """
    refuse_unsupported(text)
    kernels, text = find_kernels(translate_ptx(text), expressions)
    text = rewrite_shared(text)
    text = re.sub(r"\b__global__\b", "GPUNET_KERNEL", text)
    return text + _kernel_table(kernels)


def _kernel_table(kernels: list[Kernel]) -> str:
    """Return the definition of the table that the engine reads, an array of `KernelEntry` that ends in an empty one."""
    rows = "".join(
        f'  {{"{k.name}", simulator::types_of({_address(k)}), "{",".join(k.parameters)}", {k.max_threads}, '
        f"simulator::call<{_address(k)}>}},\n"
        for k in kernels
    )
    table = 'extern "C" __attribute__((visibility("default"))) const KernelEntry gpunet_kernels[]'
    return f'\n# 1 "kernel table"\n#include "export.h"\n{table} = {{\n{rows}  {{}}\n}};\n'


def _address(kernel: Kernel) -> str:
    if kernel.types is None:
        return f"&{kernel.name}"
    return f"static_cast<void (*)({kernel.types})>(&{kernel.name.partition('(')[0]})"

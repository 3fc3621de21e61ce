"""C++ kernels for the CPU, compiled at first use with the machine's compiler for its processor.

Without a compiler, or with `GPUNET_NATIVE=0`, NumPy computes everything; `gpunet info` shows which.
"""

from gpunet.native.blas import Blas, find_blas, tile_rows
from gpunet.native.compiler import find_compiler, why_unavailable
from gpunet.native.kernel import Kernel, Node, address, library
from gpunet.native.program import Program
from gpunet.native.runtime import Binding

__all__ = [
    "Binding",
    "Blas",
    "Kernel",
    "Node",
    "Program",
    "address",
    "find_blas",
    "find_compiler",
    "library",
    "tile_rows",
    "why_unavailable",
]

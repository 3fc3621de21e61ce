"""A simulated GPU: a module with CuPy's API whose kernels run on the CPU.

Replace `import cupy as cp` by `import gpunet.simulator as cp`. Arrays, `RawModule`, `RawKernel`, streams, events and
graphs behave as CuPy's do. `counters` counts the copies, synchronizations and launches that a GPU would make. In
`check_mode()` kernels are checked for races, invalid accesses and uninitialized reads (README.md in this folder).

Stream capture is stricter than CuPy's: it refuses allocations, because a memory pool may reuse the memory before the
graph is replayed.
"""

from gpunet.simulator import cuda
from gpunet.simulator.array import ndarray
from gpunet.simulator.engine import Counts
from gpunet.simulator.functions import NAMESPACE
from gpunet.simulator.memory import check_mode, checking
from gpunet.simulator.module import RawKernel, RawModule, counting
from gpunet.simulator.stream import Counters, counters

globals().update(NAMESPACE)

__all__ = [
    "Counters",
    "Counts",
    "RawKernel",
    "RawModule",
    "check_mode",
    "checking",
    "counters",
    "counting",
    "cuda",
    "ndarray",
    *NAMESPACE,
]

"""A simulated GPU: a module with the face of CuPy whose kernels run on the CPU.

`import gpunet.simulator as cp` where a program has `import cupy as cp`: arrays, `RawModule` and `RawKernel`, streams,
events and graphs behave as CuPy's do. What a GPU would copy, wait for or launch is counted in `counters`; with
`check_mode()` kernels are watched for races, wrong addresses and reads of what was never written.

It is stricter than CuPy in a capture: taking memory is refused there, since a pool may hand the same memory out again
before the graph is replayed.
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

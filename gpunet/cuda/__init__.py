"""Compile a CUDA source and launch its kernels with checked arguments.

The signature of a kernel in its `.cu` file is its only declaration, and every launch is checked against it:

    extern "C" __global__ void scale(
        const T* x,         // [rows * n]
        const T* factors,   // [n] or null
        T* y,               // [rows * n]
        int rows, int n)

A pointer takes a C-contiguous array of its dtype with at least the number of elements in brackets (an expression of the
integer parameters and of grid_x, grid_y, grid_z), or None if the comment says "or null". A scalar takes a Python or
NumPy number. `T` is the dtype of the arrays, which the compiler gets as `-DREAL=float`; the source defines
`using T = REAL;`. A kernel is compiled once per T, set of options and device.

A comment line such as "// FLOPs: 2 * rows * n" before the kernel gives the FLOPs of a launch.

    SCALE = Kernel("scale.cu", "scale")
    SCALE((blocks,), (256,), x, None, y, rows, n, options={"TILE": 32})
"""

from gpunet.cuda.kernel import MAX_ELEMENTS, MAX_GRID, NULL, Kernel
from gpunet.cuda.source import CTYPES, DTYPES, Parameter, parse_parameters, read_source
from gpunet.cuda.trace import Launch, traced_launches

__all__ = [
    "CTYPES",
    "DTYPES",
    "MAX_ELEMENTS",
    "MAX_GRID",
    "NULL",
    "Kernel",
    "Launch",
    "Parameter",
    "parse_parameters",
    "read_source",
    "traced_launches",
]

"""A stand-in for the module `cupy`, to test gpunet's CUDA path without a GPU.

Its arrays wrap NumPy arrays. They raise wherever CuPy raises or would synchronise implicitly: on conversion to a NumPy
array, `float()`, `bool()`, a mix of NumPy and CuPy arrays, an array of a GPU that is not current, and a keyword that
CuPy's function lacks. Only listed functions and keywords of CuPy 14.2 exist. There are two GPUs. Kernels do nothing
(gpunet.simulator runs kernels). `cuda.faulty` names kernels with a sticky error: as on a GPU, every later
synchronisation, copy and launch raises it.
"""

from __future__ import annotations

import math
import threading
import time
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import numpy as np

GPUS = 2
__version__ = "14.2.0"

UFUNCS = """abs add divide equal exp expm1 greater greater_equal isfinite log log1p maximum minimum multiply negative
    reciprocal sqrt subtract tanh"""
FUNCTIONS = dict.fromkeys(UFUNCS.split(), ("out", "casting", "dtype")) | {
    "arange": ("dtype",),
    "argmax": ("axis", "out", "keepdims"),
    "copyto": ("casting", "where"),
    "dot": ("out",),
    "empty": ("dtype", "order"),
    "empty_like": ("dtype", "order", "shape"),
    "matmul": ("out", "casting", "dtype"),
    "sum": ("axis", "dtype", "out", "keepdims"),
    "take": ("axis", "out"),
    "vdot": (),
    "zeros": ("dtype", "order"),
    "zeros_like": ("dtype", "order", "shape"),
}
METHODS = {
    "all": ("axis", "out", "keepdims"),
    "any": ("axis", "out", "keepdims"),
    "argmax": ("axis", "out", "keepdims"),
    "astype": ("order", "copy"),
    "fill": (),
    "max": ("axis", "out", "keepdims"),
    "min": ("axis", "out", "keepdims"),
    "sum": ("axis", "dtype", "out", "keepdims"),
    "take": ("axis", "out"),
}
STATUS = {1: "cudaErrorInvalidValue", 35: "cudaErrorInsufficientDriver", 700: "cudaErrorIllegalAddress"} | {
    701: "cudaErrorLaunchOutOfResources",
    702: "cudaErrorLaunchTimeout",
    719: "cudaErrorLaunchFailure",
}
VIEWS = ("reshape", "swapaxes", "view")
ATTRIBUTES = ("dtype", "flags", "itemsize", "nbytes", "ndim", "shape", "size", "strides")

_thread = threading.local()


def _current() -> int:
    return getattr(_thread, "index", 0)


def _unwrap(value: object) -> object:
    """Return the NumPy array of an array; return anything else unchanged."""
    if isinstance(value, ndarray):
        if value.device.id != _current():
            raise ValueError(f"the array is on GPU {value.device.id}, the current one is {_current()}")
        return value._host
    if isinstance(value, np.ndarray):
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    return tuple(map(_unwrap, value)) if isinstance(value, tuple) else value


def _call(function: object, keywords: tuple[str, ...], *args: object, **options: object) -> object:
    if options.keys() - set(keywords):
        raise TypeError(f"{function}: CuPy takes the keywords {keywords}, got {list(options)}")
    with np.errstate(all="ignore"):
        result = function(*map(_unwrap, args), **{name: _unwrap(value) for name, value in options.items()})
    if options.get("out") is not None:
        return options["out"]
    return ndarray(result) if isinstance(result, np.ndarray | np.generic) else result


def _operator(name: str) -> object:
    function = getattr(np.ndarray, f"__{name}__")
    return lambda *args: _call(function, (), *args)


class Device:
    """A GPU by its index; current inside a `with` block."""

    compute_capability = "90"

    def __init__(self, index: int):
        self.id = index
        self._before: list[int] = []

    def __enter__(self) -> Device:
        self._before.append(_current())
        _thread.index = self.id
        return self

    def __exit__(self, *_: object) -> None:
        _thread.index = self._before.pop()

    def synchronize(self) -> None:
        """Raise the error of a faulty kernel; there is nothing to wait for."""
        _check()


class CUDARuntimeError(RuntimeError):
    """An error of the CUDA runtime by its status, with a message like CuPy's."""

    def __init__(self, status: int):
        super().__init__(f"{STATUS[status]}: said in CUDA's words")
        self.status = status


class CUDADriverError(CUDARuntimeError):
    """An error of the CUDA driver."""


def _check(error: type[CUDARuntimeError] = CUDARuntimeError) -> None:
    """Raise the sticky error of a faulty kernel, if there is one."""
    if cuda.status:
        raise error(cuda.status)


class Event:
    """A CUDA event; `cuda.clock` gives its time."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def record(self) -> None:
        self.seconds = cuda.clock()

    def synchronize(self) -> None:
        """Do nothing: all earlier work is done."""

    @property
    def done(self) -> bool:
        """Whether the GPU has already reached the event."""
        return cuda.overtakes()


class ndarray:
    """An array in the memory of one GPU, by default the current one."""

    __array_ufunc__ = None  # NumPy's functions and operators raise

    def __init__(self, host: np.ndarray, device: Device | None = None):
        self._host = np.asarray(host)
        self.device = device or Device(_current())

    def __array__(self, *_: object, **__: object) -> np.ndarray:
        raise TypeError("Implicit conversion of a CuPy array is not allowed.")

    __float__ = __int__ = __bool__ = __index__ = __array__
    __add__, __radd__, __sub__, __rsub__ = map(_operator, ("add", "radd", "sub", "rsub"))
    __mul__, __rmul__, __truediv__, __rtruediv__ = map(_operator, ("mul", "rmul", "truediv", "rtruediv"))

    def __len__(self) -> int:
        return len(self._host)

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    def __getitem__(self, key: object) -> ndarray:
        return ndarray(self._host[_unwrap(key)], self.device)

    def __setitem__(self, key: object, value: object) -> None:
        _unwrap(self)[_unwrap(key)] = _unwrap(value)

    def __getattr__(self, name: str) -> object:
        if name in ATTRIBUTES:
            return getattr(self._host, name)
        if name in VIEWS:
            return lambda *shape: ndarray(getattr(self._host, name)(*shape), self.device)
        if name in METHODS:
            return partial(_call, getattr(np.ndarray, name), METHODS[name], self)
        raise AttributeError(name)

    @property
    def data(self) -> SimpleNamespace:
        return SimpleNamespace(ptr=self._host.ctypes.data)

    @property
    def T(self) -> ndarray:
        return ndarray(self._host.T, self.device)

    def copy(self) -> ndarray:
        return ndarray(self._host.copy())  # on the current GPU

    def set(self, host: np.ndarray) -> None:
        if type(host) is not np.ndarray or (host.dtype, host.shape) != (self.dtype, self.shape):
            raise TypeError(f"{host!r} cannot be set to an array of {self.dtype}, {self.shape}.")
        _unwrap(self)[...] = host


class RawKernel:
    """A CUDA kernel; the stand-in implements only the kernel `probe`."""

    def __init__(self, code: str, name: str):
        assert f"void {name}(int* out, int n)" in code

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: tuple[ndarray, np.int32]) -> None:
        _unwrap(args[0])[:] = np.arange(args[1])


class RawModule:
    """A CUDA source; its kernels only check that their arrays are on the current GPU."""

    def __init__(self, code: str, options: tuple[str, ...], enable_cooperative_groups: bool):
        self.code = code

    def compile(self) -> None:
        """Do nothing."""

    def get_function(self, name: str) -> object:
        assert name in self.code

        def launch(grid: tuple[int, ...], block: tuple[int, ...], args: tuple[object, ...], shared_mem: int) -> None:
            if cuda.captured is not None:
                cuda.captured.append(partial(launch, grid, block, args, shared_mem))
                return
            _check(CUDADriverError)
            if name in cuda.refused:
                raise CUDADriverError(cuda.refused[name])
            _unwrap(args)
            cuda.launches.append(_current())
            cuda.status = cuda.faulty.get(name, 0)

        return launch


class Stream:
    """A stream; during capture, launches are recorded in a graph."""

    def __init__(self, non_blocking: bool = False):
        assert non_blocking

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        cuda.captured = None

    def begin_capture(self) -> None:
        cuda.captured = []

    def end_capture(self) -> Graph:
        launches, cuda.captured = cuda.captured, None
        return Graph(launches)


class Graph:
    """Captured launches."""

    def __init__(self, launches: list[object]):
        self._launches = launches

    def launch(self) -> None:
        for launch in self._launches:
            launch()


def asarray(a: object, dtype: object = None) -> ndarray:
    _check()
    if isinstance(a, ndarray) and a.device.id == _current():
        return a if dtype in (None, a.dtype) else a.astype(dtype)
    return ndarray(np.array(a._host if isinstance(a, ndarray) else a, dtype))


def asnumpy(a: ndarray) -> np.ndarray:
    cuda.reads += 1
    _check()
    return a._host.copy()


def __getattr__(name: str) -> object:
    if name in FUNCTIONS:
        return partial(_call, getattr(np, name), FUNCTIONS[name])
    raise AttributeError(f"cupy has no {name!r} in this stand-in")


cuda = SimpleNamespace(
    launches=[],
    reads=0,
    faulty={},  # by kernel name: the status of its sticky error
    refused={},  # by kernel name: the status with which its launch fails
    status=0,
    captured=None,
    Stream=Stream,
    using_allocator=lambda allocator: nullcontext(),
    Device=Device,
    clock=time.perf_counter,
    overtakes=lambda: False,
    Event=Event,
    alloc_pinned_memory=bytearray,
    get_current_stream=lambda: SimpleNamespace(record=Event),
    get_elapsed_time=lambda start, stop: (stop.seconds - start.seconds) * 1e3,
    driver=SimpleNamespace(CUDADriverError=CUDADriverError),
    nvrtc=SimpleNamespace(getVersion=lambda: (12, 9)),
    runtime=SimpleNamespace(
        CUDARuntimeError=CUDARuntimeError,
        getDeviceCount=lambda: GPUS,
        getDeviceProperties=lambda index: {
            "name": b"stand-in",
            "multiProcessorCount": 132,
            "l2CacheSize": 2**16,
            "totalGlobalMem": 2**30,
        },
        memGetInfo=lambda: (2**30, 2**30),
        runtimeGetVersion=lambda: 12090,
        driverGetVersion=lambda: 12090,
    ),
)
special = SimpleNamespace(erf=partial(_call, lambda x, out: np.copyto(out, np.vectorize(math.erf, "d")(x)), ()))

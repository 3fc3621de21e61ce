"""Compare a kernel of a file with others by a spec: first their results, then their times in turns.

On CUDA the calls are timed; a kernel that writes to its inputs gets the results of its previous call. On the
simulated GPU the kernels run in check mode, and bytes and barriers are counted.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gpunet.bench.check import Output, check, compare
from gpunet.bench.child import call_with_limit
from gpunet.bench.nvrtc import STANDARD_HEADERS
from gpunet.bench.signature import compiler_options, name_expression, parameter_of, read_kernels, typed
from gpunet.bench.spec import Case, Versus, flat, read_spec
from gpunet.bench.spec_child import show_prints
from gpunet.bench.timing import EventClock, Spread, interleave, ratios
from gpunet.device import Array, Device, get_device
from gpunet.errors import GpunetError, KernelError
from gpunet.simulator.engine import Counts

Call: TypeAlias = Callable[[], Mapping[str, Any]]
"""Computes once and returns the results on the device, by the names of the spec's `reference`."""


class Measured(NamedTuple):
    """The check and the times of a kernel, or of a function to compare it with.

    Attributes:
        seconds: of a call, on CUDA.
        speedup: how many times faster than the spec's kernel, in the same rounds; None for that one.
        counts: of a launch on the simulated GPU; None for a function.
    """

    name: str
    fault: str
    seconds: Spread | None = None
    speedup: Spread | None = None
    counts: Counts | None = None


def count(
    path: Path, spec_path: Path, macros: Mapping[str, str], number: int, case: Case, limit: float
) -> list[Measured]:
    """Check the kernels and functions of a case on the simulated GPU, each in a child process.

    Takes arguments of `time` and `check`; errors as for `check`.
    """
    rows = []
    for name, other in _others(case).items():
        if callable(other):
            try:
                fault = call_with_limit(limit, _fault_on_sim, spec_path, macros, number, name)
            except KernelError as error:
                fault = str(error)
            rows.append(Measured(name, fault))
        else:
            counts, findings = check(path, case._replace(kernel=other), limit)
            fault = next((finding.text for finding in findings if finding.grade == "error"), "")
            rows.append(Measured(name, fault, counts=counts))
    return rows


def _fault_on_sim(spec_path: Path, macros: Mapping[str, str], number: int, name: str) -> str:
    """Return the fault of a function of the spec on the simulated GPU; runs in the child."""
    show_prints()
    case, device = read_spec(spec_path, macros)[number], get_device("sim")
    function = case.versus[name]
    assert callable(function)
    with _reporting(device):
        return _fault(case, _function(case, function, device))


def time(
    path: Path, spec_path: Path, macros: Mapping[str, str], number: int, device_name: str, seconds: float
) -> list[Measured]:
    """Check and time the kernels and functions of a case on CUDA. Call it in a child process: a kernel may crash it.

    Args:
        number: the index of the case.
        device_name: "cuda" or "cuda:N".

    Raises:
        KernelError: the GPU reports an error; else as for `check`.
    """
    show_prints()
    case, device = read_spec(spec_path, macros)[number], get_device(device_name)
    with device.activate(), _reporting(device):
        calls = {
            name: _function(case, other, device) if callable(other) else _launch(path, case, other, device)
            for name, other in _others(case).items()
        }
        faults = {name: _fault(case, call) for name, call in calls.items()}
        right = {name: call for name, call in calls.items() if not faults[name]}
        times = interleave(right, EventClock(device), seconds) if right else {}
    own = times.get(case.kernel)
    return [
        Measured(
            name,
            fault,
            seconds=Spread.of(times[name]) if name in times else None,
            speedup=ratios(times[name], own) if own and name in times and name != case.kernel else None,
        )
        for name, fault in faults.items()
    ]


@contextmanager
def _reporting(device: Device) -> Iterator[None]:
    """Raise an error of the GPU or of CuPy's compiler as a `KernelError`, in one line."""
    try:
        yield
    except GpunetError:
        raise
    except (Exception, SystemExit) as error:  # CuPy's compiler, loader and driver each raise their own
        raise KernelError(f"on {device.name}: {type(error).__name__}: {' '.join(str(error).split())}") from error


def _others(case: Case) -> dict[str, Versus]:
    return {case.kernel: case.kernel, **case.versus}


def _fault(case: Case, call: Call) -> str:
    """Call once and return the fault."""
    got = {name: _on_host(a) for name, a in flat(call(), case.inputs).items()}
    for name, expected in case.expected.items():
        if name not in got or got[name].shape != expected.shape:
            return f"{name} must have the shape {expected.shape}, got {got[name].shape if name in got else 'none'}"
        output = Output(got[name], np.ones(expected.shape, bool))
        if text := compare(name, output, expected, case.rtol, case.atol):
            return text.rstrip(".")
    return ""


def _on_host(a: Any) -> np.ndarray:
    """Return an array of CuPy, of the simulated GPU or of PyTorch as a NumPy array."""
    if hasattr(a, "detach"):
        return np.asarray(a.detach().cpu())
    return np.asarray(a.get() if hasattr(a, "get") else a)


def _placed(inputs: Mapping[str, Any], device: Device) -> dict[str, Any]:
    """Return inputs with their arrays on a device."""

    def place(value: Any) -> Any:
        if isinstance(value, list | tuple):
            return [place(item) for item in value]
        return device.asarray(value) if isinstance(value, np.ndarray) else value

    return {name: place(value) for name, value in inputs.items()}


def _blank(xp: ModuleType, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return an array whose bits are all one: NaN or -1, which no correct result is."""
    return xp.full(math.prod(shape) * dtype.itemsize, 0xFF, np.uint8).view(dtype).reshape(shape)


def _function(case: Case, function: Callable[..., Any], device: Device) -> Call:
    """Return a call of a function of the spec, with inputs on a device."""
    inputs = _placed(case.inputs, device)
    answer = function(**inputs)
    return answer if callable(answer) else partial(function, **inputs)


def _launch(path: Path, case: Case, kernel: str, device: Device) -> Call:
    """Return a launch of a kernel, with inputs on a device."""
    case, parameters = typed(path, case._replace(kernel=kernel))
    xp, inputs, by_name = device.xp, _placed(case.inputs, device), {p.name: p for p in parameters}
    passed = flat(inputs)
    for name in case.expected.keys() - passed.keys():
        passed[name] = _blank(xp, case.expected[name].shape, by_name[parameter_of(name)].dtype)
    for p in parameters:
        if p.table:
            passed[p.name] = device.asarray(np.array([a.data.ptr for a in inputs[p.name]], np.uint64))
    expression = name_expression(case.kernel)
    function = xp.RawModule(
        code=read_kernels(path),
        options=("-std=c++17", *STANDARD_HEADERS, *compiler_options(path, case.options)),
        enable_cooperative_groups=case.cooperative,
        name_expressions=(expression,),
    ).get_function(expression)
    if case.shared > function.max_dynamic_shared_size_bytes:
        function.max_dynamic_shared_size_bytes = case.shared
    args = tuple(np.uint64(0) if passed[p.name] is None else passed[p.name] for p in parameters)
    results = {name: passed[name] for name in case.expected}

    def call() -> Mapping[str, Any]:
        function(case.grid, case.block, args, shared_mem=case.shared)
        return results

    return call

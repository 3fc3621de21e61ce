"""Run a user's kernel on the simulated GPU in check mode, and compare its results with a NumPy reference."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpunet import simulator
from gpunet.bench.child import call_with_limit
from gpunet.bench.spec import Case
from gpunet.cuda import read_source
from gpunet.errors import ArgumentError, DTypeError, KernelError, ShapeError
from gpunet.simulator.engine import Counts, load
from gpunet.simulator.findings import Finding
from gpunet.simulator.limits import MAX_SHARED_BYTES_OPT_IN
from gpunet.simulator.parameters import Buffer, Parameter

ROUNDINGS = 64
"""Default tolerance, in units of the rounding error of the dtype. The error of a sum of n random terms and the sum
itself both grow as the square root of n, so this relative bound serves any size."""


class Output(NamedTuple):
    """An array after a launch; `written` marks the elements that were written."""

    array: np.ndarray
    written: np.ndarray


def read_kernels(path: Path) -> str:
    """Return the source of a file with kernels, with its headers inlined.

    Raises:
        ArgumentError: the file has no kernel.
        CompileError: it cannot be read.
    """
    source = read_source(path.absolute())  # read_source caches by path
    if not re.search(r"\b__global__\b", source):
        raise ArgumentError(f'{path}: the file has no kernel; one begins with extern "C" __global__ void name(...).')
    return source


def compiler_options(source: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the compiler's options for macros; REAL is float if the source says `using T = REAL`."""
    real = {"REAL": "float"} if re.search(r"\busing\s+T\s*=\s*REAL\b", source) else {}
    return tuple(f"-D{name}={value}" for name, value in {**real, **options}.items())


def expressions(kernel: str) -> tuple[str, ...]:
    """Return the name expressions for the compiler: it instantiates a template only if it is named."""
    return (kernel,) if "<" in kernel else ()


def check(path: Path, case: Case, limit: float) -> tuple[Counts | None, list[Finding]]:
    """Return the counts of a launch and the findings: those of check mode, and the worst mismatch of each array.

    The kernel runs in a child process. Compiling it does not count against the limit. The counts are None if the launch
    did not end.

    Args:
        limit: time limit in seconds.

    Raises:
        ArgumentError: names that don't fit the kernel's parameters, or a launch that no GPU supports.
        DTypeError: an input with another dtype than its parameter.
        ShapeError: an array with different shapes in inputs and reference.
        CompileError: the source does not compile.
        DeviceError: no compiler for the simulated GPU.
    """
    source = read_kernels(path)
    options = compiler_options(source, case.options)
    kernels = load(source, path.name, options, "check", expressions(case.kernel)).kernels
    if case.kernel not in kernels:
        raise ArgumentError(f"{path}: no kernel {case.kernel!r}; it has {', '.join(kernels) or 'none but templates'}.")
    parameters = kernels[case.kernel].parameters
    case = case._replace(inputs=_arguments(case, parameters))
    try:
        counts, findings, outputs = call_with_limit(limit, _launch, source, path.name, options, case)
    except KernelError as error:
        return None, [Finding("error", "time limit", str(error).rstrip("."))]
    differences = [compare(name, outputs[name], case.expected[name], case.rtol, case.atol) for name in outputs]
    return counts, findings + [Finding("error", "wrong result", text.rstrip(".")) for text in differences if text]


def compare(name: str, output: Output, expected: np.ndarray, rtol: float | None, atol: float | None) -> str | None:
    """Return the worst mismatch as text, or None if all elements agree.

    An element agrees if |got - expected| <= atol + rtol·|expected|. By default, rtol is `ROUNDINGS` times the rounding
    error of the array's dtype, and atol is rtol times the largest |expected|. Integers must be equal.
    """
    got = output.array
    if not output.written.all():
        index = _place(name, output.written.argmin(), got.shape)
        return f"{index} was never written ({(~output.written).sum():,} of {got.size:,} elements were not)."
    rounding = ROUNDINGS * float(np.finfo(got.dtype).eps) if got.dtype.kind == "f" else 0.0
    rtol = rounding if rtol is None else rtol
    if atol is None:
        atol = rounding * float(np.abs(expected, where=np.isfinite(expected), out=np.zeros(got.shape)).max(initial=0))
    same = (got == expected) | ((got != got) & (expected != expected))
    with np.errstate(invalid="ignore", over="ignore"):
        tolerance = atol + rtol * np.abs(expected.astype(np.float64))
        error = np.abs(got.astype(np.float64) - expected)
        wrong = ~same & ~((error <= tolerance) & (tolerance > 0) & np.isfinite(tolerance))
        excess = np.where(wrong, np.nan_to_num(error - tolerance, nan=np.inf), -1)
    if not wrong.any():
        return None
    worst = np.unravel_index(excess.argmax(), got.shape)
    return (
        f"{_place(name, excess.argmax(), got.shape)}: got {got[worst]}, expected {expected[worst]}: the worst of "
        f"{wrong.sum():,} of {got.size:,} elements that are off by more than {atol:.2g} + {rtol:.2g} * |expected|."
    )


def _place(name: str, flat: Any, shape: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(str(i) for i in np.unravel_index(flat, shape))}]"


def _arguments(case: Case, parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    """Return the arguments for the parameters that are inputs, checked against the kernel's signature."""
    by_name = {p.name: p for p in parameters}
    for where, names in (("inputs", case.inputs), ("reference", case.expected)):
        if unknown := [name for name in names if name not in by_name]:
            raise ArgumentError(f"{where}: {case.kernel} has no parameter {unknown[0]!r}; it has {', '.join(by_name)}.")
    for name, expected in case.expected.items():
        if not by_name[name].pointer or by_name[name].const:
            raise ArgumentError(f"reference: {name} is not an array that {case.kernel} writes.")
        if expected.dtype.kind not in "biuf":
            raise DTypeError(f"reference: {name} must be an array of numbers, got {expected.dtype}.")
        if name in case.inputs and np.shape(case.inputs[name]) != expected.shape:
            shapes = f"{np.shape(case.inputs[name])} in inputs, {expected.shape} in reference"
            raise ShapeError(f"{name} has the shape {shapes}; they must be equal.")
    if missing := [name for name in by_name if name not in case.inputs and name not in case.expected]:
        raise ArgumentError(
            f"inputs: {case.kernel} also takes {', '.join(missing)}; add it to inputs, or to reference if the kernel "
            "writes it."
        )
    return {name: _argument(by_name[name], given) for name, given in case.inputs.items()}


def _argument(p: Parameter, given: Any) -> Any:
    if p.pointer:
        if given is None:
            return None
        if not isinstance(given, np.ndarray) or given.dtype != p.dtype:
            what = getattr(given, "dtype", type(given).__name__)
            raise DTypeError(f"inputs: {p.name} must be an array of {p.dtype}, got {what}.")
        return np.ascontiguousarray(given)
    if p.dtype.kind == "V":
        if not isinstance(given, np.ndarray | np.void) or given.nbytes != p.dtype.itemsize:
            raise DTypeError(
                f"inputs: {p.name} is a struct of {p.dtype.itemsize} bytes: give a record or an array of that size."
            )
        return given
    if not isinstance(given, int | float | np.number | np.bool_):
        raise DTypeError(f"inputs: {p.name} must be a number, got {type(given).__name__}.")
    value = np.array(given).astype(p.dtype)[()]
    if p.dtype.kind != "f" and value != given:
        raise ArgumentError(f"inputs: {p.name}={given!r} does not fit {p.dtype}.")
    return value


def _launch(
    source: str, name: str, options: tuple[str, ...], case: Case
) -> tuple[Counts, list[Finding], dict[str, Output]]:
    """Launch the kernel in check mode and return its counts, findings and outputs; runs in the child."""
    kernel = load(source, name, options, "check", expressions(case.kernel)).kernels[case.kernel]
    kernel.max_dynamic_shared_size_bytes = MAX_SHARED_BYTES_OPT_IN
    with simulator.check_mode():
        arrays = {
            p.name: simulator.asarray(case.inputs[p.name])  # type: ignore[attr-defined]
            if p.name in case.inputs
            else simulator.empty(case.expected[p.name].shape, p.dtype)  # type: ignore[attr-defined]
            for p in kernel.parameters
            if p.pointer and case.inputs.get(p.name, p) is not None
        }
        buffers = {n: Buffer(a.data.ptr, a.nbytes, a.data.mem.written.ctypes.data) for n, a in arrays.items()}
        args = [buffers.get(p.name, case.inputs.get(p.name)) for p in kernel.parameters]
        counts, findings = kernel.inspect(
            case.grid, case.block, args, shared_bytes=case.shared, cooperative=case.cooperative
        )
    return counts, findings, {name: _output(arrays[name]) for name in case.expected}


def _output(a: Any) -> Output:
    written = a.data.mem.written[: a.nbytes].reshape(*a.shape, a.itemsize).all(axis=-1)
    return Output(simulator.asnumpy(a), written)  # type: ignore[attr-defined]

"""Run a user's kernel on the simulated GPU in check mode, and compare what it computes with a NumPy reference."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpunet import simulator
from gpunet.bench.child import call_with_limit
from gpunet.bench.spec import Case, flat
from gpunet.cuda import read_source
from gpunet.errors import ArgumentError, DTypeError, KernelError, ShapeError
from gpunet.simulator.engine import Counts, load
from gpunet.simulator.findings import Finding
from gpunet.simulator.limits import MAX_SHARED_BYTES_OPT_IN
from gpunet.simulator.parameters import Buffer, Parameter

ROUNDINGS = 64
"""How many roundings of its dtype a result may be off where the spec sets no tolerance. The error of a sum of n random
terms grows as the square root of n, the sum itself likewise: a relative bound that serves any size."""


class Output(NamedTuple):
    """An array after a launch; `written` says which elements hold a value."""

    array: np.ndarray
    written: np.ndarray


def read_kernels(path: Path) -> str:
    """Return the source of a file with kernels, its headers in place.

    Raises:
        ArgumentError: there is no kernel in it.
        CompileError: it cannot be read.
    """
    source = read_source(path.absolute())  # what was read is kept by its path
    if not re.search(r"\b__global__\b", source):
        raise ArgumentError(f'{path}: no kernel in it; one begins with extern "C" __global__ void name(...).')
    return source


def compiler_options(source: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the compiler's options for macros; REAL is float where the source goes by `using T = REAL`."""
    real = {"REAL": "float"} if re.search(r"\busing\s+T\s*=\s*REAL\b", source) else {}
    return tuple(f"-D{name}={value}" for name, value in {**real, **options}.items())


def expressions(kernel: str) -> tuple[str, ...]:
    """Return what a compiler must be told of a kernel's name: an instance of a template is made because it is named."""
    return (kernel,) if "<" in kernel else ()


def check(path: Path, case: Case, limit: float) -> tuple[Counts | None, list[Finding]]:
    """Return what a launch did, and what is found: the findings of check mode and the worst mismatch of each array.

    The kernel runs in a child process. Compiling it does not count against the limit. Where the launch did not end
    there are no counts.

    Args:
        path: the CUDA source.
        case: the launch and what it should compute.
        limit: seconds.

    Raises:
        ArgumentError: names that don't fit the kernel's parameters, or a launch that no GPU takes.
        DTypeError: an input of another dtype than its parameter.
        ShapeError: an array that has another shape as input than in the reference.
        CompileError: the source does not compile.
        DeviceError: no compiler for the simulated GPU; says what to do.
    """
    source = read_kernels(path)
    options = compiler_options(source, case.options)
    kernels = load(source, path.name, options, "check", expressions(case.kernel)).kernels
    case = _typed(path, case, {name: kernel.parameters for name, kernel in kernels.items()})
    try:
        counts, findings, outputs = call_with_limit(limit, _launch, source, path.name, options, case)
    except KernelError as error:
        return None, [Finding("error", "no end", str(error).rstrip("."))]
    differences = [compare(name, outputs[name], case.expected[name], case.rtol, case.atol) for name in outputs]
    return counts, findings + [Finding("error", "wrong result", text.rstrip(".")) for text in differences if text]


def compare(name: str, output: Output, expected: np.ndarray, rtol: float | None, atol: float | None) -> str | None:
    """Return the worst mismatch in words, or None where all elements agree.

    An element agrees where |got - expected| <= atol + rtol·|expected|. By default, rtol is `ROUNDINGS` times the
    rounding of the array's dtype and atol that times the largest |expected|; whole numbers must be equal.
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


def _typed(path: Path, case: Case, kernels: Mapping[str, tuple[Parameter, ...]]) -> Case:
    """Return the case with its arguments held to the kernel's signature, and of overloaded kernels the one they fit."""
    if case.kernel in kernels:
        return case._replace(inputs=_arguments(case, kernels[case.kernel]))
    overloads = [name for name in kernels if name.partition("(")[0] == case.kernel]
    if not overloads:
        raise ArgumentError(f"{path}: no kernel {case.kernel!r}; it has {', '.join(kernels) or 'none but templates'}.")
    fitting = []
    for name in overloads:
        with suppress(ArgumentError, DTypeError, ShapeError):
            fitting.append(case._replace(kernel=name, inputs=_arguments(case, kernels[name])))
    if len(fitting) != 1:
        raise ArgumentError(
            f"{path}: {len(fitting) or 'none'} of the kernels {', '.join(overloads)} fit the inputs; name one of them."
        )
    return fitting[0]


def _arguments(case: Case, parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    """Return what is passed for the parameters that are inputs, held to the kernel's signature."""
    by_name, given = {p.name: p for p in parameters}, flat(case.inputs)
    for where, names in (("inputs", case.inputs), ("reference", case.expected)):
        if unknown := [name for name in names if _parameter_of(name) not in by_name]:
            raise ArgumentError(f"{where}: {case.kernel} has no parameter {unknown[0]!r}; it has {', '.join(by_name)}.")
    for name, expected in case.expected.items():
        parameter = by_name[_parameter_of(name)]
        if not parameter.pointer or parameter.const or parameter.table == (name in by_name):
            raise ArgumentError(f"reference: {name} is no array that {case.kernel} writes.")
        if expected.dtype.kind not in "biuf":
            raise DTypeError(f"reference: {name} must be an array of numbers, got {expected.dtype}.")
        if name in given and np.shape(given[name]) != expected.shape:
            shapes = f"{np.shape(given[name])} in inputs, {expected.shape} in reference"
            raise ShapeError(f"{name} has the shape {shapes}; they must be equal.")
    if missing := [name for name in by_name if name not in case.inputs and name not in case.expected]:
        raise ArgumentError(
            f"inputs: {case.kernel} also takes {', '.join(missing)}; a number or an array is missing there, or in "
            "reference an array that is to be written."
        )
    return {name: _argument(by_name[name], given) for name, given in case.inputs.items()}


def _parameter_of(name: str) -> str:
    """Return "x" for the array "x[2]" of a parameter `float** x`."""
    return name.partition("[")[0]


def _argument(p: Parameter, given: Any) -> Any:
    if p.table:
        if not isinstance(given, list | tuple):
            raise DTypeError(f"inputs: {p.name} must be a list of arrays, got {type(given).__name__}.")
        return [_argument(replace(p, name=f"{p.name}[{i}]", table=False), array) for i, array in enumerate(given)]
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
        raise ArgumentError(f"inputs: {p.name}={given!r} is no {p.dtype}.")
    return value


def _launch(
    source: str, name: str, options: tuple[str, ...], case: Case
) -> tuple[Counts, list[Finding], dict[str, Output]]:
    """Launch the kernel in check mode and return what it did, what was found and what it wrote; runs in the child."""
    os.dup2(2, 1)  # what the kernel prints goes to stderr
    kernel = load(source, name, options, "check", expressions(case.kernel)).kernels[case.kernel]
    kernel.max_dynamic_shared_size_bytes = MAX_SHARED_BYTES_OPT_IN
    with simulator.check_mode():
        by_name, given = {p.name: p for p in kernel.parameters}, flat(case.inputs)
        arrays = {
            name: simulator.asarray(array)  # type: ignore[attr-defined]
            for name, array in given.items()
            if by_name[_parameter_of(name)].pointer and array is not None
        }
        for name in [name for name in case.expected if name not in given]:
            arrays[name] = simulator.empty(case.expected[name].shape, by_name[name].dtype)  # type: ignore[attr-defined]
        args = [_passed(p, arrays, case.inputs.get(p.name)) for p in kernel.parameters]
        counts, findings = kernel.inspect(
            case.grid, case.block, args, shared_bytes=case.shared, cooperative=case.cooperative
        )
    return counts, findings, {name: _output(arrays[name]) for name in case.expected}


def _passed(p: Parameter, arrays: dict[str, Any], given: Any) -> Any:
    """Return what a launch takes for a parameter; the table of a list of arrays lies in `arrays` by its name."""
    if p.table and given is not None:
        items = [arrays[f"{p.name}[{i}]"] for i in range(len(given))]
        arrays[p.name] = simulator.asarray(np.array([a.data.ptr for a in items], np.uint64))  # type: ignore[attr-defined]
        return replace(_buffer(arrays[p.name]), targets=tuple(map(_buffer, items)))
    return _buffer(arrays[p.name]) if p.name in arrays else given


def _buffer(a: Any) -> Buffer:
    return Buffer(a.data.ptr, a.nbytes, a.data.mem.written.ctypes.data)


def _output(a: Any) -> Output:
    written = a.data.mem.written[: a.nbytes].reshape(*a.shape, a.itemsize).all(axis=-1)
    return Output(simulator.asnumpy(a), written)  # type: ignore[attr-defined]

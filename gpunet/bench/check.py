"""Run a user's kernel on the simulated GPU in check mode, and compare its results with a NumPy reference."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gpunet import simulator
from gpunet.bench.child import call_with_limit
from gpunet.bench.signature import compiler_options, expressions, parameter_of, read_kernels, typed
from gpunet.bench.spec import Case, flat
from gpunet.errors import KernelError
from gpunet.simulator.engine import Counts, load
from gpunet.simulator.findings import Finding
from gpunet.simulator.limits import MAX_SHARED_BYTES_OPT_IN
from gpunet.simulator.parameters import Buffer, Parameter

ROUNDINGS = 64
"""Default tolerance, in units of the rounding error of the dtype. The error of a sum of n random terms and the sum
itself both grow as the square root of n, so this relative bound serves any size."""


class Output(NamedTuple):
    """An array after a launch, and which of its elements were written."""

    array: np.ndarray
    written: np.ndarray


def check(path: Path, case: Case, limit: float) -> tuple[Counts | None, list[Finding]]:
    """Launch a kernel in a child process. Return its counts (None if it did not end) and the findings.

    The findings are those of check mode, and the worst mismatch of each array.

    Args:
        limit: time limit in seconds, without compiling.

    Raises:
        ArgumentError: names that don't fit the kernel's parameters, or a launch that no GPU supports.
        DTypeError, ShapeError: an array that doesn't fit its parameter or its counterpart in inputs and reference.
        CompileError, DeviceError: as for `simulator.RawModule.compile`.
    """
    source, options = read_kernels(path), compiler_options(path, case.options)
    case = typed(path, case)[0]._replace(versus={})  # its functions cannot be pickled
    try:
        counts, findings, outputs = call_with_limit(limit, _launch, source, path.name, options, case)
    except KernelError as error:
        return None, [Finding("error", "time limit", str(error).rstrip("."))]
    differences = [compare(name, outputs[name], case.expected[name], case.rtol, case.atol) for name in outputs]
    return counts, findings + [Finding("error", "wrong result", text.rstrip(".")) for text in differences if text]


def compare(name: str, output: Output, expected: np.ndarray, rtol: float | None, atol: float | None) -> str | None:
    """Return the worst mismatch as text, or None if all elements agree.

    An element agrees if |got - expected| <= atol + rtol·|expected|; integers must be equal. By default, rtol is
    `ROUNDINGS` times the dtype's rounding error, and atol is rtol times the largest |expected|.
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
        f"{wrong.sum():,} of {got.size:,} elements wrong (tolerance {atol:.2g} + {rtol:.2g} * |expected|); the worst: "
        f"{_place(name, excess.argmax(), got.shape)} is {_rounded(got[worst], got.dtype)}, "
        f"expected {_rounded(expected[worst], got.dtype)}."
    )


def _rounded(value: Any, dtype: np.dtype[Any]) -> str:
    """Return a number with the decimal digits that `dtype` can hold."""
    return f"{value:.{np.finfo(dtype).precision + 1}g}" if dtype.kind == "f" else str(value)


def _place(name: str, flat: Any, shape: tuple[int, ...]) -> str:
    return f"{name}[{', '.join(str(i) for i in np.unravel_index(flat, shape))}]"


def _launch(
    source: str, name: str, options: tuple[str, ...], case: Case
) -> tuple[Counts, list[Finding], dict[str, Output]]:
    """Launch the kernel in check mode and return its counts, findings and outputs; runs in the child."""
    os.dup2(2, 1)  # what the kernel prints goes to stderr
    kernel = load(source, name, options, "check", expressions(case.kernel)).kernels[case.kernel]
    kernel.max_dynamic_shared_size_bytes = MAX_SHARED_BYTES_OPT_IN
    with simulator.check_mode():
        by_name, given = {p.name: p for p in kernel.parameters}, flat(case.inputs)
        arrays = {
            name: simulator.asarray(array)  # type: ignore[attr-defined]
            for name, array in given.items()
            if by_name[parameter_of(name)].pointer and array is not None
        }
        for name in [name for name in case.expected if name not in given]:
            arrays[name] = simulator.empty(case.expected[name].shape, by_name[name].dtype)  # type: ignore[attr-defined]
        args = [_passed(p, arrays, case.inputs.get(p.name)) for p in kernel.parameters]
        counts, findings = kernel.inspect(
            case.grid, case.block, args, shared_bytes=case.shared, cooperative=case.cooperative
        )
    return counts, findings, {name: _output(arrays[name]) for name in case.expected}


def _passed(p: Parameter, arrays: dict[str, Any], given: Any) -> Any:
    """Return the argument of a launch for a parameter; store the pointer table of a list of arrays in `arrays`."""
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

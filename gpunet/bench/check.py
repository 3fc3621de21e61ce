"""Run a user's kernel on the simulated GPU in check mode, and compare what it computes with a NumPy reference."""

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
"""How many roundings of its dtype a result may be off where the spec sets no tolerance. The error of a sum of n random
terms grows as the square root of n, the sum itself likewise: a relative bound that serves any size."""


class Output(NamedTuple):
    """An array after a launch; `written` says which elements hold a value."""

    array: np.ndarray
    written: np.ndarray


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
    source, options = read_kernels(path), compiler_options(path, case.options)
    case = typed(path, case)[0]._replace(versus={})  # its functions cannot be pickled
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

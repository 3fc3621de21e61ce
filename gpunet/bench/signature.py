"""Read a user's kernels, and check a case's arguments against its kernel's signature."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.bench.spec import Case, flat
from gpunet.cuda import read_source
from gpunet.errors import ArgumentError, DTypeError, ShapeError
from gpunet.simulator.engine import load
from gpunet.simulator.parameters import Parameter


def read_kernels(path: Path) -> str:
    """Return the source of a file with kernels, with its headers inlined."""
    source = read_source(path.absolute())  # read_source caches by path
    if not re.search(r"\b__global__\b", source):
        raise ArgumentError(f'{path}: the file has no kernel; one begins with extern "C" __global__ void name(...).')
    return source


def compiler_options(path: Path, options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return macros as compiler options; REAL is float by default in a source with `using T = REAL`."""
    real = {"REAL": "float"} if re.search(r"\busing\s+T\s*=\s*REAL\b", read_kernels(path)) else {}
    return tuple(f"-D{name}={value}" for name, value in {**real, **options}.items())


def expressions(kernel: str) -> tuple[str, ...]:
    """Return the template instances to name to the compiler, which makes no others."""
    return (kernel,) if "<" in kernel else ()


def name_expression(kernel: str) -> str:
    """Return the C++ expression that names a kernel to NVRTC; a cast for an overload such as "scale(float*)"."""
    name, parenthesis, types = kernel.partition("(")
    return f"(void (*)({types}){name}" if parenthesis else kernel


def typed(path: Path, case: Case) -> tuple[Case, tuple[Parameter, ...]]:
    """Return the case with checked arguments, and its kernel's parameters; errors as for `check.check`.

    Of several kernels with that name, the returned case names the one that the arguments fit.
    """
    options = compiler_options(path, case.options)
    loaded = load(read_kernels(path), path.name, options, "check", expressions(case.kernel)).kernels
    kernels = {name: kernel.parameters for name, kernel in loaded.items()}
    if case.kernel in kernels:
        return case._replace(inputs=_arguments(case, kernels[case.kernel])), kernels[case.kernel]
    overloads = [name for name in kernels if name.partition("(")[0] == case.kernel]
    if not overloads:
        names = ", ".join(kernels) or "only templates: name an instance, as in scale<float>"
        raise ArgumentError(f"{path}: no kernel {case.kernel!r}; it has {names}.")
    fitting = []
    for name in overloads:
        with suppress(ArgumentError, DTypeError, ShapeError):
            fitting.append((case._replace(kernel=name, inputs=_arguments(case, kernels[name])), kernels[name]))
    if len(fitting) != 1:
        raise ArgumentError(
            f"{path}: {len(fitting) or 'none'} of the kernels {', '.join(overloads)} fit the inputs; name one of them."
        )
    return fitting[0]


def _arguments(case: Case, parameters: tuple[Parameter, ...]) -> dict[str, Any]:
    """Return the inputs of the case, checked against its kernel's signature."""
    by_name, given = {p.name: p for p in parameters}, flat(case.inputs)
    for where, names in (("inputs", case.inputs), ("reference", case.expected)):
        if unknown := [name for name in names if parameter_of(name) not in by_name]:
            raise ArgumentError(f"{where}: {case.kernel} has no parameter {unknown[0]!r}; it has {', '.join(by_name)}.")
    for name, expected in case.expected.items():
        parameter = by_name[parameter_of(name)]
        if not parameter.pointer or parameter.const or parameter.table == (name in by_name):
            raise ArgumentError(f"reference: {name} is not an array that {case.kernel} writes.")
        if parameter.dtype.kind == "V":
            raise DTypeError(f"reference: {name} is an array of structs, which are not compared.")
        if expected.dtype.kind not in "biuf":
            raise DTypeError(f"reference: {name} must be an array of numbers, got {expected.dtype}.")
        if name in given and np.shape(given[name]) != expected.shape:
            shapes = f"{np.shape(given[name])} in inputs, {expected.shape} in reference"
            raise ShapeError(f"{name} has the shape {shapes}; they must be equal.")
    if missing := [name for name in by_name if name not in case.inputs and name not in case.expected]:
        raise ArgumentError(
            f"inputs: {case.kernel} also takes {', '.join(missing)}; add it to inputs, or to reference if the kernel "
            "writes it."
        )
    return {name: _argument(by_name[name], given) for name, given in case.inputs.items()}


def _element(p: Parameter) -> str:
    return f"structs of {p.dtype.itemsize} bytes" if p.dtype.kind == "V" else str(p.dtype)


def parameter_of(name: str) -> str:
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
        if p.dtype.kind == "V" and isinstance(given, np.ndarray) and given.nbytes % p.dtype.itemsize == 0:
            return np.ascontiguousarray(given).reshape(-1).view(np.uint8)  # CuPy has no arrays of structs
        if not isinstance(given, np.ndarray) or given.dtype != p.dtype:
            what = getattr(given, "dtype", type(given).__name__)
            raise DTypeError(f"inputs: {p.name} must be an array of {_element(p)}, got {what}.")
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

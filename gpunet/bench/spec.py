"""Read the spec of a check: a small Python file with the launch of a kernel and its expected results.

    import numpy as np

    kernel, block = "scale", (256,)
    cases = [1, 256, 1000]

    def grid(n):
        return (-(-n // 256),)

    def inputs(rng, n):
        return {"x": rng.standard_normal(n, np.float32), "factor": 2.0, "n": n}

    def reference(x, factor, n):
        return {"y": factor * x}

- `kernel` may be an instance of a template, with its namespaces: "nets::scale<float>".
- `inputs` returns arrays and numbers by the names of the kernel's parameters: None for a null pointer, an array for a
  struct, a list of arrays for a `float**`.
- `reference` receives them, floats in double precision, and returns the arrays that are expected after the launch. An
  array that is not an input is uninitialised memory.
- `cases` is a list of any values. Each is passed to `inputs`, after the random number generator, and to every other
  name that is a function. "auto" draws numbers around the block size, odd ones among them. Without `cases` there is
  one case, and no argument.
- `options` are macros for the compiler, `shared` is the dynamic shared memory in bytes, `cooperative` is for a kernel
  with a grid barrier, `rtol` and `atol` are tolerances, see `check.compare`.
- `versus` is what `gpunet bench` compares the kernel with: by name, another kernel of the file that takes the same
  arguments, or a function. The function receives the inputs as CuPy arrays, and returns what `reference` returns, or
  a function without arguments, which alone is timed:

      versus = {"naive kernel": "scale_naive", "CuPy": lambda x, factor, n: {"y": factor * x}}
"""

from __future__ import annotations

import copy
import difflib
import math
import runpy
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from gpunet.arguments import real
from gpunet.errors import ArgumentError

Versus: TypeAlias = str | Callable[..., Any]
"""The name of a kernel of the same file, or a function, with which a kernel is compared."""

NEEDED = ("kernel", "grid", "block", "inputs", "reference")


class Case(NamedTuple):
    """A launch and its expected results; see the module for the names that a spec also has.

    Attributes:
        label: the case as text; empty if the spec has no list of cases.
        grid: blocks along x, y, z.
        block: threads along x, y, z.
        expected: the arrays after the launch.
    """

    label: str
    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    options: dict[str, Any]
    shared: int
    cooperative: bool
    inputs: dict[str, Any]
    expected: dict[str, np.ndarray]
    rtol: float | None
    atol: float | None
    versus: Mapping[str, Versus]


def read_spec(path: Path, macros: Mapping[str, str] | None = None) -> list[Case]:
    """Return the cases of a spec, with `macros` among their options.

    Raises:
        ArgumentError: a missing name, an invalid value, or an error in its Python, with its line.
    """
    with errors_with_line(path):
        return read_cases(runpy.run_path(str(path)), path, macros or {})


def read_cases(spec: Mapping[str, Any], path: Path, macros: Mapping[str, str] | None = None) -> list[Case]:
    """Return the cases like `read_spec`, from the names that the file at `path` defines."""
    if missing := [name for name in NEEDED if name not in spec]:
        raise ArgumentError(f"{path}: {', '.join(missing)} is missing; a spec needs {', '.join(NEEDED)}.")
    if "cases" not in spec:
        return [_case(path, spec, macros or {})]
    with errors_with_line(path):
        auto = isinstance(spec["cases"], str) and spec["cases"] == "auto"
        sizes = _drawn_sizes(spec["block"]) if auto else spec["cases"]
        cases = [_case(path, spec, macros or {}, case) for case in sizes]
    if not cases:
        raise ArgumentError(f"{path}: cases is empty; add a case, or remove the name for a single case.")
    return cases


def _case(path: Path, spec: Mapping[str, Any], macros: Mapping[str, str], *case: Any) -> Case:
    def value(name: str, default: Any = None) -> Any:
        given = spec.get(name, default)
        with errors_with_line(path):
            return _called(path, _use_of_cases(spec), given, *case) if callable(given) else given

    def tolerance(name: str) -> float | None:
        given = value(name)
        return None if given is None else real(f"{path}: {name}", given, 0, closed="left")

    for name in ("inputs", "reference"):
        if not callable(spec[name]):
            raise ArgumentError(f"{path}: {name} must be a function.")
    with errors_with_line(path):
        inputs = _called(path, _use_of_cases(spec), spec["inputs"], np.random.default_rng(0), *case)
        _check_mapping(path, "inputs", inputs)
        advice = (
            f"reference receives everything that inputs returns, by name: write reference({', '.join(inputs)}), or "
            "change inputs."
        )
        doubles = {name: _double(given) for name, given in inputs.items()}
        expected = _called(path, advice, spec["reference"], **doubles)
        _check_mapping(path, "reference", expected)
        return Case(
            label=f"case {case[0]!r}" if case else "",
            kernel=str(value("kernel")),
            grid=_dimensions(path, "grid", value("grid")),
            block=_dimensions(path, "block", value("block")),
            options={**value("options", {}), **macros},
            shared=int(value("shared", 0)),
            cooperative=bool(value("cooperative", False)),
            inputs=dict(inputs),
            expected={name: np.asarray(array) for name, array in flat(expected, inputs).items()},
            rtol=tolerance("rtol"),
            atol=tolerance("atol"),
            versus=_versus(path, spec),
        )


def _drawn_sizes(block: Any) -> list[int]:
    """Return sizes around multiples of a block, and odd ones up to five blocks."""
    threads = 128 if callable(block) else math.prod(np.atleast_1d(block).tolist())
    odd = 2 * np.random.default_rng(0).integers(threads // 2, 5 * threads // 2, 2) + 1
    return sorted({1, max(1, threads - 1), threads, threads + 1, *odd.tolist()})


def even_sizes(cases: Sequence[Case]) -> str:
    """Return a notice if every whole number in the inputs of all cases is a multiple of the block, else ""."""
    sizes = [(n, case.block[0]) for case in cases for n in case.inputs.values() if type(n) is int and n > 1]
    if not sizes or any(n % width for n, width in sizes):
        return ""
    shown = ", ".join(str(n) for n in sorted({n for n, _ in sizes}))
    return (
        f"all sizes are multiples of the block ({shown}), so a missing guard such as if (i < n) is not seen: add "
        'an odd one to cases, or write cases = "auto".'
    )


def _versus(path: Path, spec: Mapping[str, Any]) -> dict[str, Versus]:
    given = spec.get("versus", {})
    if not isinstance(given, Mapping):
        raise ArgumentError(f"{path}: versus must be a dict of kernels and functions by name.")
    if wrong := [name for name, other in given.items() if not (callable(other) or isinstance(other, str))]:
        raise ArgumentError(f"{path}: versus: {wrong[0]} must be the name of a kernel or a function.")
    return dict(given)


def flat(values: Mapping[str, Any], like: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return `values` with "x[0]", "x[1]", ... for each list of arrays x in `like`, by default in `values`."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance((values if like is None else like).get(name), list | tuple):
            result |= {f"{name}[{i}]": array for i, array in enumerate(value)}
        else:
            result[name] = value
    return result


def _double(given: Any) -> Any:
    """Return a copy for the reference, which may modify it; floats in double precision."""
    if isinstance(given, list | tuple):
        return [_double(array) for array in given]
    if isinstance(given, np.ndarray | np.generic) and given.dtype.kind == "f":
        return given.astype(np.float64)
    return copy.copy(given)


def _check_mapping(path: Path, function: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise ArgumentError(
            f"{path}: {function} must return a dict by the kernel's parameters, got {type(value).__name__}."
        )


def _dimensions(path: Path, name: str, value: Any) -> tuple[int, ...]:
    given = value if isinstance(value, tuple | list) else (value,)
    if not 1 <= len(given) <= 3 or not all(isinstance(n, int | np.integer) and n >= 1 for n in given):
        raise ArgumentError(f"{path}: {name} must be one to three whole numbers of at least 1, got {value!r}.")
    return tuple(map(int, given))


def _use_of_cases(spec: Mapping[str, Any]) -> str:
    """Say what the spec's functions receive, in an error about one that takes other arguments."""
    if "cases" in spec:
        return "inputs receives the random number generator and the case, the other functions the case."
    similar = difflib.get_close_matches("cases", spec, 1, 0.8)
    return f"the spec has no `cases`; did you write `{similar[0]}` for it?" if similar else "the spec has no `cases`."


def _called(path: Path, advice: str, function: Callable[..., Any], /, *args: Any, **named: Any) -> Any:
    """Call a function of the spec; if it does not take these arguments, raise an `ArgumentError` with advice."""
    try:
        return function(*args, **named)
    except TypeError as error:
        if error.__traceback__ and error.__traceback__.tb_next:  # raised within the function
            raise
        raise ArgumentError(f"{path}: {error}; {advice}") from error


@contextmanager
def errors_with_line(path: Path, kinds: tuple[type[BaseException], ...] = (Exception, SystemExit)) -> Iterator[None]:
    """Turn an error in the spec's Python into an `ArgumentError` with its line."""
    try:
        yield
    except ArgumentError:
        raise
    except kinds as error:
        lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == str(path)]
        line = error.lineno if isinstance(error, SyntaxError) else next(reversed(lines), None)
        raise ArgumentError(f"{path}{f':{line}' if line else ''}: {type(error).__name__}: {error}") from error

"""The parameters of a kernel as its source declares them, and the check of a launch against them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import CodeType
from typing import Any

import numpy as np

from gpunet.arguments import counted
from gpunet.cuda.arithmetic import evaluate
from gpunet.cuda.source import (
    CTYPES,
    CUDA_KERNEL,
    DTYPES,
    Declaration,
    Parameter,
    parse_flops,
    parse_parameters,
    read_source,
)
from gpunet.errors import ArgumentError, DTypeError, ShapeError


class Signature:
    """The declaration of a kernel, read from its source when first needed.

    Args:
        declaration: how the declaration begins.
        skip: number of leading parameters that the caller does not pass.
    """

    def __init__(self, path: Path, name: str, declaration: Declaration = CUDA_KERNEL, skip: int = 0):
        self.path = path
        self.name = name
        self.declaration = declaration
        self.skip = skip

    @functools.cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """The declared parameters."""
        return parse_parameters(read_source(self.path), self.name, self.declaration)[self.skip :]

    @functools.cached_property
    def flops(self) -> CodeType | None:
        """The FLOPs of a launch, from the comment line "FLOPs: ..." before the kernel."""
        return parse_flops(read_source(self.path), self.name, self.declaration)

    def check(
        self, args: Sequence[Any], known: dict[str, int], max_elements: int
    ) -> tuple[dict[str, Any], np.dtype[Any]]:
        """Return the arguments by name, scalars as NumPy scalars of their type, and the dtype of T.

        Args:
            known: more integers that the declared sizes may use.
        """
        if len(args) != len(self.parameters):
            names = ", ".join(p.name for p in self.parameters)
            raise ArgumentError(
                f"{self.name}: {counted(len(args), 'argument')} given, {len(self.parameters)} expected: {names}."
            )
        given = list(zip(self.parameters, args, strict=True))
        dtype = next(
            (a.dtype for p, a in given if p.ctype == "T" and p.pointer and hasattr(a, "dtype")), DTYPES["float"]
        )
        if dtype not in CTYPES:
            raise DTypeError(
                f"{self.name}: arrays of {dtype} are not supported; use one of {', '.join(map(str, CTYPES))}."
            )
        scalars = {p.name: self._scalar(p, value, dtype) for p, value in given if not p.pointer}
        sizes = integers(scalars) | known
        for p, a in given:
            if p.pointer:
                self._check_array(p, a, dtype, sizes, max_elements)
        return {p.name: scalars.get(p.name, a) for p, a in given}, dtype

    def cost(self, args: Sequence[Any], known: dict[str, int]) -> tuple[int, int | None]:
        """Return the minimum bytes of a launch, each declared element touched once, and its declared FLOPs or None."""
        given = list(zip(self.parameters, args, strict=True))
        sizes = integers({p.name: value for p, value in given if not p.pointer}) | known
        nbytes = sum(
            (a.size if p.size is None else evaluate(p.size, sizes)) * a.itemsize
            for p, a in given
            if p.pointer and a is not None
        )
        return nbytes, None if self.flops is None else int(evaluate(self.flops, sizes))

    def arrays(self, args: Sequence[Any]) -> Iterator[tuple[Parameter, Any]]:
        """Yield (parameter, array) for the pointer parameters that are not None."""
        return ((p, a) for p, a in zip(self.parameters, args, strict=True) if p.pointer and a is not None)

    def _scalar(self, p: Parameter, value: Any, dtype: np.dtype[Any]) -> Any:
        wanted: Any = dtype if p.ctype == "T" else DTYPES[p.ctype]
        if not isinstance(value, int | float | np.integer | np.floating | np.bool_):
            raise DTypeError(f"{self.name}: {p.name} must be a number, got {type(value).__name__}.")
        try:
            return wanted.type(value if wanted.kind == "f" else operator.index(value))  # type: ignore[arg-type]
        except (TypeError, OverflowError):
            raise ArgumentError(f"{self.name}: {p.name}={value!r} does not fit {wanted}.") from None

    def _check_array(
        self, p: Parameter, a: Any, dtype: np.dtype[Any], sizes: Mapping[str, int], max_elements: int
    ) -> None:
        if a is None:
            if not p.optional:
                raise ArgumentError(f"{self.name}: {p.name} is None; pass an array.")
            return
        wanted = dtype if p.ctype == "T" else DTYPES.get(p.ctype, getattr(a, "dtype", None))
        if getattr(a, "dtype", None) != wanted:
            raise DTypeError(f"{self.name}: {p.name} must be an array of {wanted}, got {getattr(a, 'dtype', type(a))}.")
        if not a.flags.c_contiguous:
            raise ShapeError(
                f"{self.name}: {p.name} is not C-contiguous (strides {a.strides}); pass a C-contiguous copy."
            )
        if a.size > max_elements:
            raise ShapeError(f"{self.name}: {p.name} has {a.size} elements, the maximum is {max_elements}; split it.")
        if p.size is not None and a.size < (least := evaluate(p.size, sizes)):
            raise ShapeError(f"{self.name}: {p.name} has {a.size} elements, the launch needs {least}.")


def integers(scalars: Mapping[str, Any]) -> dict[str, int]:
    """Return the integers among named scalars, which the sizes of a declaration may use."""
    return {name: int(value) for name, value in scalars.items() if np.dtype(type(value)).kind in "iu"}

"""The checks of arguments that the operations share."""

from __future__ import annotations

from gpunet.device import Array
from gpunet.errors import DTypeError, ShapeError


def check_float(op: str, **arrays: Array | None) -> None:
    """Raise `DTypeError` unless the arrays given are all float32 or all float64."""
    given = {name: a.dtype for name, a in arrays.items() if a is not None}
    first = next(iter(given.values()))
    for name, dtype in given.items():
        if dtype.char not in "fd" or not dtype.isnative:
            raise DTypeError(f"{op}: {name} is {dtype}; use float32 or float64, for example {name}.astype('float32').")
        if dtype != first:
            raise DTypeError(
                f"{op}: dtypes differ: {', '.join(f'{n} is {d}' for n, d in given.items())}; make them one."
            )


def check_shape(op: str, shape: tuple[int, ...], **arrays: Array | None) -> None:
    """Raise `ShapeError` unless the arrays given have this shape."""
    for name, a in arrays.items():
        if a is not None and a.shape != shape:
            raise ShapeError(f"{op}: {name} has shape {a.shape}, expected {shape}.")

"""Entity embedding: numbers and categories become rows of features (Guo & Berkhahn 2016, arXiv 1604.06737).

    y = (x_1, …, x_n, W¹_{r(c_1)}, …, Wᵏ_{r(c_k)}),    dWʲ_r = Σ_{i: r(c_ij) = r} dyʲ_i

A row of x is n numbers and k categories. A known category c, a whole number from 0 to entries - 2, has row
r(c) = c + 1 of its table; any other value has row 0. The sums are added in a fixed order, without atomics, as in
`embedding_backward`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gpunet import native
from gpunet.cuda import Kernel
from gpunet.device import Array, array_module
from gpunet.errors import ShapeError
from gpunet.ops._embedding import embedding_backward
from gpunet.ops._gather import gather
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.recording import records_native
from gpunet.tape import Tape, empty, empty_like

FORWARD = Kernel("embedding.cu", "category_forward")
BACKWARD = Kernel("embedding.cu", "category_backward")

CPU_COPY = native.Kernel("embedding.cpp", "copy_columns")
CPU_FORWARD = native.Kernel("embedding.cpp", "category_forward")
CPU_BACKWARD = native.Kernel("embedding.cpp", "category_backward")


class Place(NamedTuple):
    """The position of a category, as the size arguments of its kernels.

    Attributes:
        column: the column of x with the category.
        entries, width: rows and features of its table.
        first: the first column of y with these features.
        width_x, width_y, rows: columns of x and y, and rows of x.
    """

    column: int
    entries: int
    width: int
    first: int
    width_x: int
    width_y: int
    rows: int

    @property
    def columns(self) -> tuple[slice, slice]:
        """The part of y with the features of the category."""
        return slice(None), slice(self.first, self.first + self.width)


def entity_embedding(x: Array, tables: Sequence[Array], *, tape: Tape | None = None) -> Array:
    """Return the numbers of each row, followed by the features of its categories.

    Args:
        x: (rows, numbers + categories). The last columns hold category indices; values that are not in the table, such
            as -1, NaN and fractions, are unknown.
        tables: for each category, (1 + known categories, features); row 0 is for unknown values.

    Example:
        >>> x = np.array([[0.5, 0], [0.5, -1]])  # a number; a category, 0 and unknown
        >>> gn.ops.entity_embedding(x, [np.array([[9.0, 9.0], [1.0, 2.0]])])
        array([[0.5, 1. , 2. ],
               [0.5, 9. , 9. ]])
    """
    xp = float_module("entity_embedding", x=x, **_named(tables))
    places = _places("entity_embedding", x, tables)
    numbers, y = x.shape[1] - len(tables), empty(tape, (len(x), _width(x, tables)), x.dtype, xp)
    if records_native(x, *tables):
        CPU_COPY(x, y, numbers, x.shape[1], y.shape[1], len(x), count=len(x))
        for place, table in zip(places, tables, strict=True):
            CPU_FORWARD(x, table, y, *place, count=len(x))
        return y
    xp.copyto(y[:, :numbers], x[:, :numbers])
    if xp is np:
        for place, table, rows in zip(places, tables, _rows_of_tables(x, tables, tape), strict=True):
            np.copyto(y[place.columns], gather(table, rows, tape=tape))
        return y
    x = operand(x, tape, xp)
    for place, table in zip(places, tables, strict=True):
        FORWARD((block_count(len(x) * place.width, THREADS),), (THREADS,), x, operand(table, tape, xp), y, *place)
    return y


def entity_embedding_backward(
    dy: Array,
    x: Array,
    dtables: Sequence[Array],
    *,
    table_gradients: bool = True,
    input_gradient: bool = True,
    tape: Tape | None = None,
) -> Array | None:
    """Write the gradients of the tables, and return that of x, for y = entity_embedding(x, tables).

    The gradient of x is zero in the columns of the categories.

    Args:
        dtables: C-contiguous, in the shapes of the tables.
        table_gradients: False leaves `dtables` unchanged.

    Example:
        >>> x, dtable = np.array([[0.5, 0], [0.5, -1]]), np.empty((2, 2))
        >>> gn.ops.entity_embedding_backward(np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]), x, [dtable])
        array([[1., 0.],
               [4., 0.]])
        >>> dtable
        array([[5., 6.],
               [2., 3.]])
    """
    op = "entity_embedding_backward"
    float_module(op, dy=dy, x=x, **_named(dtables))
    places = _places(op, x, dtables)
    check_shape(op, (len(x), _width(x, dtables)), dy=dy)
    if table_gradients:
        _write_gradients(dy, x, dtables, places, tape)
    return _input_gradient(dy, x, x.shape[1] - len(dtables), tape) if input_gradient else None


def _write_gradients(dy: Array, x: Array, dtables: Sequence[Array], places: list[Place], tape: Tape | None) -> None:
    """Write the gradients of the tables; arguments as for `entity_embedding_backward`."""
    xp = array_module(dy)
    if records_native(dy, x, *dtables):
        for place, dtable in zip(places, dtables, strict=True):
            CPU_BACKWARD(dy, x, dtable, *place)
    elif xp is np:
        for place, dtable, rows in zip(places, dtables, _rows_of_tables(x, dtables, tape), strict=True):
            embedding_backward(operand(dy[place.columns], tape, xp), rows, place.entries, dweight=dtable, tape=tape)
    else:
        given = operand(dy, tape, xp), operand(x, tape, xp)
        for place, dtable in zip(places, dtables, strict=True):
            grid = place.entries, math.ceil(place.width / (32 * 16 // dy.itemsize))
            BACKWARD(grid, (32, 8), *given, dtable, *place)


def _input_gradient(dy: Array, x: Array, numbers: int, tape: Tape | None) -> Array:
    """Return the gradient of x: that of its numbers, and zeros for its categories."""
    xp = array_module(x)
    dx = empty_like(tape, x, xp)
    dx.fill(0)
    xp.copyto(dx[:, :numbers], dy[:, :numbers])
    return dx


def _named(tables: Sequence[Array]) -> dict[str, Array]:
    return {f"tables[{k}]": table for k, table in enumerate(tables)}


def _places(op: str, x: Array, tables: Sequence[Array]) -> list[Place]:
    """Return the position of each category.

    Raises:
        ShapeError: the shapes don't fit.
    """
    for name, table in _named(tables).items():
        if table.ndim != 2 or not len(table):
            raise ShapeError(f"{op}: {name} must be (1 + known categories, features), got shape {table.shape}.")
    if x.ndim != 2 or x.shape[1] < len(tables):
        raise ShapeError(f"{op}: x must be (rows, numbers + {len(tables)} categories), got shape {x.shape}.")
    numbers, width_y = x.shape[1] - len(tables), _width(x, tables)
    places, first = [], numbers
    for k, table in enumerate(tables):
        places.append(Place(numbers + k, len(table), table.shape[1], first, x.shape[1], width_y, len(x)))
        first += table.shape[1]
    return places


def _width(x: Array, tables: Sequence[Array]) -> int:
    """Return the number of columns of y."""
    width: int = x.shape[1] + sum(table.shape[1] - 1 for table in tables)
    return width


def _rows_of_tables(x: Array, tables: Sequence[Array], tape: Tape | None) -> Array:
    """Return the table row of each category, (categories, rows), on the CPU."""
    known = np.array([[len(table) - 1] for table in tables], x.dtype)
    categories = x[:, x.shape[1] - len(tables) :].T
    k = empty(tape, (len(tables), len(x)), x.dtype, np)
    whole = empty(tape, k.shape, np.dtype(bool), np)
    np.rint(categories, out=k)
    np.equal(k, categories, out=whole)
    np.fmax(k, -1, out=k)  # fmax and fmin ignore NaN
    np.fmin(k, known, out=k)
    np.add(k, 1, out=k)
    np.fmod(k, known + 1, out=k)
    np.multiply(k, whole, out=k)
    rows = empty(tape, k.shape, np.dtype(np.intp), np)
    np.copyto(rows, k, casting="unsafe")
    return rows

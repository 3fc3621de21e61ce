"""Record the NumPy calls of a training step, and replay them without the Python code that made them.

A small net's step is about forty NumPy calls of half a microsecond each, and the Python between them takes longer. So a
step is recorded once, over fixed buffers: its arrays are `RecordedArray`s, which append each call on them to a list.

    with recording() as calls:
        ordinary_array_code(RecordedArray.of(x), ...)
    for call in calls:
        call()

Array code that branches on array values (`float(a)`, `if a.max() > 1`) raises `NotRecordableError`. Other calls, such
as drawing random numbers, are recorded with `do`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, NoReturn

import numpy as np

from gpunet.errors import StateError

Call = Callable[[], Any]
"""A NumPy call with its arguments."""

ABOUT_ARRAYS = {np.shape, np.ndim, np.size, np.result_type, np.can_cast, np.may_share_memory, np.shares_memory}
"""Functions that read an array's shape or dtype, not its values."""

SIZED_BY_VALUES = {np.argwhere, np.bincount, np.compress, np.extract, np.flatnonzero, np.nonzero, np.unique}
"""Functions whose result has a shape that depends on the values of their arguments."""

REDUCE = {"axis": 0, "dtype": None, "out": None, "keepdims": False}
"""Positional parameters of a ufunc's `reduce` after the array, with their defaults. The next one, `initial`, has no
default that can be passed explicitly."""


OPT_OUT = "set recordable = False on the layer"
ADVICE = f"use np.where, or {OPT_OUT}"


class NotRecordableError(StateError):
    """The step cannot be recorded, for example because it reads array values."""


class _Thread(threading.local):
    calls: list[Any] | None = None
    native: bool = False


_thread = _Thread()

_rebinding = threading.RLock()


def rebinding() -> AbstractContextManager[Any]:
    """Return the lock to hold while a model's arrays are replaced by recording views.

    Without it, a second thread could restore the plain arrays, whose values would be recorded as constants.
    """
    return _rebinding


def _renew_lock() -> None:
    """Replace the lock in a forked child; another thread of the parent may have held it."""
    global _rebinding
    _rebinding = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_lock)


@contextmanager
def recording(native: bool = False) -> Iterator[list[Any]]:
    """Record this thread's calls on `RecordedArray`s inside the block; yields the list of calls.

    Args:
        native: record a native node (`gpunet.native`), not NumPy calls, for an operation that has a C++ kernel.
    """
    calls: list[Any] = []
    _thread.calls, _thread.native = calls, native
    try:
        yield calls
    finally:
        _thread.calls, _thread.native = None, False


def note(node: Any) -> None:
    """Append a call or a native node to the recording."""
    assert _thread.calls is not None, "no step is being recorded"
    _thread.calls.append(node)


def do(call: Call) -> None:
    """Run a call now; while recording, append it instead, to run at each replay."""
    if _thread.calls is None:
        call()
    else:
        _thread.calls.append(call)


def recorded(a: Any) -> Any:
    """Return a recording view of `a` while recording, else `a`."""
    return a if _thread.calls is None else RecordedArray.of(a)


def is_recording() -> bool:
    """Return whether this thread is recording a step."""
    return _thread.calls is not None


def records_native(*arrays: Any) -> bool:
    """Return whether native nodes are being recorded and all arrays (`None`s aside) are C-contiguous and aligned."""
    return _thread.native and all(a is None or (a.flags.c_contiguous and a.flags.aligned) for a in arrays)


class RecordedArray(np.ndarray):
    """An array that records calls on it. Its views and the results of its calls are `RecordedArray`s too."""

    @staticmethod
    def of(a: np.ndarray) -> RecordedArray:
        """Return a recording view of `a`."""
        return a.view(RecordedArray)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        common = np.result_type(*(a.dtype for a in inputs if isinstance(a, np.ndarray)))
        if common.kind == "f":  # NumPy converts a 0-d array faster than a Python number
            inputs = tuple(np.array(a, common) if type(a) in (int, float) else a for a in inputs)
        if len(options.get("out", ())) == 1:
            (options["out"],) = options["out"]
        return _record(getattr(ufunc, method) if method != "__call__" else ufunc, inputs, options)

    def __array_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Iterable[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        if func in ABOUT_ARRAYS:
            return func(*_plain(tuple(args), {}), **_plain(dict(kwargs), {}))
        if func in SIZED_BY_VALUES:
            self._reject_selection()
        return _record(func, args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        for index in key if isinstance(key, tuple) else (key,):
            if isinstance(index, np.ndarray) and index.dtype == bool:
                self._reject_selection()
        return _record(np.ndarray.__getitem__, (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        _record(np.ndarray.__setitem__, (self, key, value), {})

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def _reject_read(self, *args: Any) -> NoReturn:
        raise NotRecordableError(f"the step reads array values, which change on every replay; {ADVICE}.")

    def _reject_selection(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotRecordableError(f"the number of selected elements changes on every replay; {ADVICE}.")

    __bool__ = __float__ = __int__ = __index__ = __complex__ = _reject_read
    item = tolist = tobytes = _reject_read  # type: ignore[assignment]
    nonzero = compress = _reject_selection


def _method(name: str) -> Callable[..., Any]:
    function = getattr(np.ndarray, name)

    def method(self: RecordedArray, *args: Any, **kwargs: Any) -> Any:
        return _record(function, (self, *args), kwargs)

    return method


# methods that call neither __array_ufunc__ nor __array_function__, and may copy
_METHODS = """argmax argmin argpartition argsort astype choose copy cumprod cumsum dot fill flatten partition put ravel
    repeat reshape round searchsorted sort take trace"""
for _name in _METHODS.split():
    setattr(RecordedArray, _name, _method(_name))


def _record(function: Callable[..., Any], arguments: Iterable[Any], options: Mapping[str, Any]) -> Any:
    """Run a call on the plain arrays and record it; return its result as a `RecordedArray`."""
    given: dict[int, RecordedArray] = {}
    args: tuple[Any, ...] = _plain(tuple(arguments), given)
    kwargs: dict[str, Any] = _plain(dict(options), given)
    result = function(*args, **kwargs)
    calls = _thread.calls
    if calls is None:
        return result
    if isinstance(kwargs.get("out"), np.ndarray):
        result = kwargs["out"]  # the product of two vectors returns a scalar even with `out`
    if result is None or any(result is a for a in (*args, *kwargs.values())):  # the result is in an argument
        calls.append(_direct(function, args, kwargs))
        return result.view(RecordedArray) if isinstance(result, np.ndarray) else result
    if isinstance(result, np.ndarray) and any(np.may_share_memory(result, a) for a in given.values()):
        return result.view(RecordedArray)  # a view needs no call at a replay
    if not isinstance(result, np.ndarray | np.generic | int | float):
        raise NotRecordableError(f"{function.__name__} returns a {type(result).__name__}, which cannot be recorded.")
    kept = np.array(result)
    if function is np.vdot and all(a.flags.c_contiguous and a.dtype == kept.dtype for a in args):
        calls.append(partial(args[0].reshape(-1).dot, args[1].reshape(-1), kept))
    elif isinstance(getattr(function, "__self__", function), np.ufunc):
        calls.append(_direct(function, args, {**kwargs, "out": kept}))
    else:
        calls.append(partial(_keep, kept, partial(function, *args, **kwargs)))
    return kept.view(RecordedArray)


def _plain(x: Any, given: dict[int, RecordedArray]) -> Any:
    """Return `x` with each `RecordedArray` replaced by its plain array; collect the former in `given`.

    The key is the id of the plain array.
    """
    if isinstance(x, RecordedArray):
        bare = x.view(np.ndarray)
        given[id(bare)] = x
        return bare
    if type(x) is dict:
        return {name: _plain(value, given) for name, value in x.items()}
    return type(x)(_plain(value, given) for value in x) if type(x) in (tuple, list) else x


def _direct(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """Return the call in its fastest form.

    `np.dot` becomes the array's method, which skips the `__array_function__` dispatch. Arguments are positional,
    because a `partial` with keywords is slower; `maximum` and `minimum` are exceptions, because NumPy warns about their
    third positional argument.
    """
    if function is np.dot and len(args) == 2 and isinstance(args[0], np.ndarray):
        return partial(args[0].dot, args[1], *kwargs.values())  # the one keyword left is `out`
    if isinstance(function, np.ufunc) and function not in (np.maximum, np.minimum) and kwargs.keys() == {"out"}:
        return partial(function, *args, kwargs["out"])
    if isinstance(getattr(function, "__self__", None), np.ufunc) and function.__name__ == "reduce":
        given = {name: value for name, value in kwargs.items() if name != "where" or value is not True}
        if given.keys() <= REDUCE.keys():
            return partial(function, *args, *{**REDUCE, **given}.values())
    return partial(function, *args, **kwargs)


def _keep(kept: np.ndarray, call: Call) -> None:
    kept[...] = call()

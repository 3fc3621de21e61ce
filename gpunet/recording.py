"""Record the calls of a step on the CPU as they are made, and make them again without the code that made them.

For a small net a step is some forty NumPy calls of half a microsecond each, and the Python between them costs more than
they do. So a step that runs over fixed buffers is recorded once: its arrays are `RecordedArray`s, which note every call
that they take part in, bound to the plain arrays behind them. Making the calls again is a loop over a list.

    with recording() as calls:
        ordinary_array_code(RecordedArray.of(x), ...)
    for call in calls:
        call()

A step is recorded over buffers of zeros, before its first batch: what array code computes while it is recorded is
thrown away. Array code that branches on array values (`if a.max() > 1`, `float(a)`) cannot be recorded and raises
`NotRecordableError`. A call that is not one on arrays, such as drawing random numbers, goes through `do`.

With `recording(native=True)` operations that have a C++ kernel note a node of it (`gpunet.native`) in place of NumPy
calls.
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
"""Functions that look at the shape or the type of an array, not at its values."""

SIZED_BY_NUMBERS = {np.argwhere, np.bincount, np.compress, np.extract, np.flatnonzero, np.nonzero, np.unique}
"""Functions whose result has a size that depends on the values of their arguments."""


REDUCE = {"axis": 0, "dtype": None, "out": None, "keepdims": False}
"""The positional parameters of a ufunc's `reduce` after its array, with their defaults. The next one, `initial`, has no
default that could be passed."""


class NotRecordableError(StateError):
    """The step cannot be recorded, for instance because it looks at array values; "auto" runs it eagerly instead."""


class _Thread(threading.local):
    calls: list[Any] | None = None
    native: bool = False


_thread = _Thread()


_rebinding = threading.RLock()


def rebinding() -> AbstractContextManager[Any]:
    """Return the lock to hold while layers see other arrays than their own, which record.

    A second thread that gave them their own ones back would have numbers recorded as constants.
    """
    return _rebinding


def _renew_lock() -> None:
    """Make the lock anew in the child of a fork, as another thread may have held it."""
    global _rebinding
    _rebinding = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_lock)


@contextmanager
def recording(native: bool = False) -> Iterator[list[Any]]:
    """Note the calls on `RecordedArray`s that this thread makes inside the block, in the list given.

    Args:
        native: whether operations note native nodes where they have a C++ kernel.
    """
    calls: list[Any] = []
    _thread.calls, _thread.native = calls, native
    try:
        yield calls
    finally:
        _thread.calls, _thread.native = None, False


def note(node: Any) -> None:
    """Add a call or a native node to the step that is being recorded."""
    assert _thread.calls is not None, "no step is being recorded"
    _thread.calls.append(node)


def do(call: Call) -> None:
    """Make a call now or, where a step is being recorded, at each replay."""
    if _thread.calls is None:
        call()
    else:
        _thread.calls.append(call)


def recorded(a: Any) -> Any:
    """Return a view of `a` that records where a recording is on, else `a`."""
    return a if _thread.calls is None else RecordedArray.of(a)


def is_recording() -> bool:
    """Return whether this thread is recording a step."""
    return _thread.calls is not None


def records_native(*arrays: Any) -> bool:
    """Return whether a step is being recorded with native nodes, and a kernel can take the arrays given.

    A kernel takes C-contiguous, aligned arrays; `None`s are passed over.
    """
    return _thread.native and all(a is None or (a.flags.c_contiguous and a.flags.aligned) for a in arrays)


class RecordedArray(np.ndarray):
    """An array whose calls are recorded. Its views and the results of its calls are such arrays, too."""

    @staticmethod
    def of(a: np.ndarray) -> RecordedArray:
        """Return a view of `a` that records."""
        return a.view(RecordedArray)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        common = np.result_type(*(a.dtype for a in inputs if isinstance(a, np.ndarray)))
        if common.kind == "f":  # an array of shape () goes in faster than a Python number
            inputs = tuple(np.array(a, common) if type(a) in (int, float) else a for a in inputs)
        if len(options.get("out", ())) == 1:
            (options["out"],) = options["out"]
        return _record(getattr(ufunc, method) if method != "__call__" else ufunc, inputs, options)

    def __array_function__(
        self, func: Callable[..., Any], types: Iterable[type], args: Iterable[Any], kwargs: Mapping[str, Any]
    ) -> Any:
        if func in ABOUT_ARRAYS:
            return func(*_plain(tuple(args), {}), **_plain(dict(kwargs), {}))
        if func in SIZED_BY_NUMBERS:
            self._select()
        return _record(func, args, kwargs)

    def __getitem__(self, key: Any) -> Any:
        for index in key if isinstance(key, tuple) else (key,):
            if isinstance(index, np.ndarray) and index.dtype == bool:
                self._select()
        return _record(np.ndarray.__getitem__, (self, key), {})

    def __setitem__(self, key: Any, value: Any) -> None:
        _record(np.ndarray.__setitem__, (self, key, value), {})

    def __iter__(self) -> Iterator[Any]:
        return (self[i] for i in range(len(self)))

    def _look(self, *args: Any) -> NoReturn:
        raise NotRecordableError("the step looks at numbers, which change from step to step.")

    def _select(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise NotRecordableError("how many elements are selected changes from step to step; use np.where.")

    __bool__ = __float__ = __int__ = __index__ = __complex__ = _look
    item = tolist = tobytes = _look  # type: ignore[assignment]
    nonzero = compress = _select


def _method(name: str) -> Callable[..., Any]:
    function = getattr(np.ndarray, name)

    def method(self: RecordedArray, *args: Any, **kwargs: Any) -> Any:
        return _record(function, (self, *args), kwargs)

    return method


# methods that go neither through a ufunc nor through a function of NumPy, and may copy
_METHODS = """argmax argmin argpartition argsort astype choose copy cumprod cumsum dot fill flatten partition put ravel
    repeat reshape round searchsorted sort take trace"""
for _name in _METHODS.split():
    setattr(RecordedArray, _name, _method(_name))


def _record(function: Callable[..., Any], arguments: Iterable[Any], options: Mapping[str, Any]) -> Any:
    """Make a call on the plain arrays and note it; return its result as a `RecordedArray`."""
    given: dict[int, RecordedArray] = {}
    args: tuple[Any, ...] = _plain(tuple(arguments), given)
    kwargs: dict[str, Any] = _plain(dict(options), given)
    result = function(*args, **kwargs)
    calls = _thread.calls
    if calls is None:
        return result
    if isinstance(kwargs.get("out"), np.ndarray):
        result = kwargs["out"]  # a product of vectors returns a number as well
    if result is None or any(result is a for a in (*args, *kwargs.values())):  # it was written into an argument
        calls.append(_direct(function, args, kwargs))
        return result.view(RecordedArray) if isinstance(result, np.ndarray) else result
    if isinstance(result, np.ndarray) and any(np.may_share_memory(result, a) for a in given.values()):
        return result.view(RecordedArray)  # a view needs no call
    if not isinstance(result, np.ndarray | np.generic | int | float):
        raise NotRecordableError(f"{function.__name__} gives a {type(result).__name__}, which cannot be recorded.")
    kept = np.array(result)
    if function is np.vdot and all(a.flags.c_contiguous and a.dtype == kept.dtype for a in args):
        calls.append(partial(args[0].reshape(-1).dot, args[1].reshape(-1), kept))
    elif isinstance(getattr(function, "__self__", function), np.ufunc):
        calls.append(_direct(function, args, {**kwargs, "out": kept}))
    else:
        calls.append(partial(_keep, kept, partial(function, *args, **kwargs)))
    return kept.view(RecordedArray)


def _plain(x: Any, given: dict[int, RecordedArray]) -> Any:
    """Return `x` with the plain arrays in it in place of the recorded ones, which go into `given` by their ids."""
    if isinstance(x, RecordedArray):
        bare = x.view(np.ndarray)
        given[id(bare)] = x
        return bare
    if type(x) is dict:
        return {name: _plain(value, given) for name, value in x.items()}
    return type(x)(_plain(value, given) for value in x) if type(x) in (tuple, list) else x


def _direct(function: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """Return the call in the form that NumPy runs fastest.

    A product is a method of its array, which skips NumPy's dispatch to other libraries. Arguments are passed by
    position, as a `partial` with keywords is slower; except for `maximum` and `minimum`, where NumPy warns about a
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
